select
    answer_no as survey_id,
    'C' || customer_no as customer_id,
    occurred as occurred_at,
    logged as known_at,
    kind,
    score
from surveys
