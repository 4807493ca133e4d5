select
    'V' || vehicle_no as vehicle_id,
    'C' || customer_no as customer_id,
    delivered as created_at,
    given_away as sold_at,
    model,
    "year" as model_year,
    case lower(trim(drive)) when 'ev' then 'electric' else lower(trim(drive)) end as fuel,
    state as "condition",
    price
from vehicles
