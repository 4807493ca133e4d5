select
    activity_no as interaction_id,
    'L' || lead_no as lead_id,
    'C' || customer_no as customer_id,
    occurred as occurred_at,
    logged as known_at,
    replace(lower(trim(channel)), '-', '') as channel,
    kind,
    lower(direction) as direction,
    campaign
from activities
