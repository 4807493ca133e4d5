select
    visit_no as service_visit_id,
    'C' || customer_no as customer_id,
    'V' || vehicle_no as vehicle_id,
    occurred as occurred_at,
    logged as known_at,
    pay_type,
    invoice as amount,
    odometer
from workshop_visits
