select
    ticket_no as case_id,
    'C' || customer_no as customer_id,
    occurred as occurred_at,
    logged as known_at,
    lower(urgency) as priority,
    topic,
    closed as closed_at
from tickets
