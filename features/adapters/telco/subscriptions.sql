-- One subscription per customer. It ended for those with Churn = Yes, in the 30 days after 2018-01-01 (see adapter.toml).
select
    customerID as subscription_id,
    customerID as customer_id,
    timestamp '2017-12-31' - to_months(cast(tenure as integer)) as started_at,
    case when cast(Churn as varchar) in ('Yes', 'true') then timestamp '2018-01-16' end as ended_at,
    timestamp '2017-12-31' as known_at,
    Contract as plan,
    InternetService as tier,
    MonthlyCharges as price,
from "Telco-Customer-Churn"
