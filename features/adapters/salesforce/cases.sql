-- One row per case of an account. Its priority is left out: it is today's, and rises while a case is worked on.
select
    "case".id as case_id,
    account_id as customer_id,
    "case".created_date as occurred_at,
    coalesce("case".type, reason) as topic,
    closed_date as closed_at,
from "case"
join (select id from account) account on account.id = account_id
