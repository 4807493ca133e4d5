select
    movement_no as loyalty_event_id,
    'C' || customer_no as customer_id,
    occurred as occurred_at,
    logged as known_at,
    kind,
    points
from loyalty
