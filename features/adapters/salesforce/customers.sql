-- One row per account, customer or prospect: who has bought is told by orders and subscriptions. Where an export lacks the
-- creation, the account counts from when it was last synchronised, which is later than the truth and never earlier.
select
    id as customer_id,
    coalesce(cast(created_date as timestamptz), cast(_fivetran_synced as timestamptz)) as created_at,
    account.* exclude (
        id, created_date, type, rating, industry, billing_country, billing_state, annual_revenue, number_of_employees, owner_id,
        ownership
    ),
from account
