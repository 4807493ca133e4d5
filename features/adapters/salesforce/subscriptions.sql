-- One row per contract that was activated. It ended when its last day was over: `renewed` if another contract of the account, known
-- by then, goes on. A contract without an end runs. renews_at is left out, because the end may have been changed since.
with contracts as (
    select
        contract.id,
        contract.account_id,
        cast(contract.start_date as timestamptz) as started_at,
        cast(contract.end_date as timestamptz) + interval 1 day as ended_at,
        greatest(
            cast(contract.created_date as timestamptz),
            coalesce(cast(contract.activated_date as timestamptz), cast(contract.start_date as timestamptz))
        ) as known_at,
        coalesce(contract.record_type_id, 'contract') as plan,
    from contract
    join (select id from account) account on account.id = contract.account_id
    where contract.start_date is not null
    and (contract.activated_date is not null or lower(contract.status_code) = 'activated')
),
renewed as (
    select distinct contracts.id
    from contracts
    join contracts next
        on next.account_id = contracts.account_id
        and next.id != contracts.id
        and next.started_at <= contracts.ended_at
        and next.known_at < contracts.ended_at
        and (next.ended_at is null or next.ended_at > contracts.ended_at)
)
select
    contracts.id as subscription_id,
    account_id as customer_id,
    started_at,
    known_at,
    ended_at,
    case when renewed.id is not null then 'renewed' when ended_at is not null then 'ended' end as end_reason,
    plan,
from contracts
left join renewed on renewed.id = contracts.id
