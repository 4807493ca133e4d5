-- One row per version of a contract: "changed" is when a renewal, a price rise or the end was entered.
select
    contract as subscription_id,
    'C' || customer_no as customer_id,
    "start" as started_at,
    "end" as ended_at,
    next_renewal as renews_at,
    changed as known_at,
    product as plan,
    tier,
    monthly_price as price,
    start_reason,
    end_reason
from contracts
