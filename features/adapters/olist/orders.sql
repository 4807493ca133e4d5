-- One row per item sold. The only date of an item is the limit for handing it to the carrier, about six days after the purchase:
-- it counts as when it happened and when it was known.
select
    order_id || '-' || order_item_id as order_id,
    seller_id as customer_id,
    shipping_limit_date as occurred_at,
    price as amount,
    coalesce(product_category_name_english, product_category_name) as category,
from olist_order_items_dataset
left join (select product_id, product_category_name from olist_products_dataset) using (product_id)
left join product_category_name_translation using (product_category_name)
