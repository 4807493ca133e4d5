-- status is left out: it is the customer's state today, not at an as_of.
select
    'C' || customer_no as customer_id,
    created as created_at,
    entered as known_at,
    lower(trim(region)) as region,
    acquisition_channel,
    payment_method,
    customer_type,
    loyalty_status,
    birth_year
from contacts
