select
    'L' || lead_no as lead_id,
    created as created_at,
    imported as known_at,
    'C' || customer_no as customer_id,
    converted as converted_at,
    lost as lost_at,
    lost_reason,
    replace(lower(trim(source)), ' ', '') as source,
    region,
    dealer,
    product,
    budget,
    trade_in
from leads
