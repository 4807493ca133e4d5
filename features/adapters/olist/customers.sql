-- One row per seller and state of knowledge. A seller becomes one with the won deal or with the first item, whichever is first.
-- The sellers' file holds the state of everybody who ever sold something: a state known before the first item would tell that
-- there will be one. So a seller won but not yet selling has a first version without it.
with deals as (
    select seller_id, min(cast(won_date as timestamp)) as won_at from olist_closed_deals_dataset group by all
),
items as (
    select seller_id, min(cast(shipping_limit_date as timestamp)) as first_item_at from olist_order_items_dataset group by all
),
sellers as (
    select seller_id, won_at, first_item_at, least(won_at, first_item_at) as created_at from deals full join items using (seller_id)
)
select seller_id as customer_id, created_at, created_at as known_at, null as state
from sellers
where first_item_at is null or won_at < first_item_at
union all
select seller_id, created_at, first_item_at, seller_state
from sellers
left join olist_sellers_dataset using (seller_id)
where first_item_at is not null
