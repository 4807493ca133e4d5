select
    order_no as order_id,
    'C' || customer_no as customer_id,
    occurred as occurred_at,
    logged as known_at,
    net as amount,
    goods as category,
    pieces as quantity,
    discount,
    back as is_return
from orders
