-- One row per won deal of a company: the primary one (association type 5 in HubSpot) if it has several. It is won when its history
-- first shows it in its present stage; without a history, on its close date. Its amount is the one it had then; without a history
-- of it today's, which is known only from its last modification on. A deal that was merged into another is that other one.
with stages as (
    select deal_id, value as stage_id, cast("timestamp" as timestamptz) as entered_at
    from deal_property_history
    where lower(name) = 'dealstage'
    union all
    select deal_id, value, cast(date_entered as timestamptz) from deal_stage
),
entered as (
    select deal_id, stage_id, min(entered_at) as entered_at from stages group by all
),
won as (
    select
        deal.deal_id,
        cast(property_closedate as timestamptz) as closed_at,
        greatest(
            coalesce(entered.entered_at, cast(property_closedate as timestamptz)), cast(property_createdate as timestamptz)
        ) as won_at,
        property_amount as amount,
        cast(coalesce(property_hs_lastmodifieddate, _fivetran_synced) as timestamptz) as modified_at,
        property_dealtype as category,
    from deal
    join deal_pipeline_stage stage on stage.stage_id = deal_pipeline_stage_id
    left join entered on entered.deal_id = deal.deal_id and entered.stage_id = deal_pipeline_stage_id
    where try_cast(closed_won as boolean)
    and deal.deal_id not in (select merged_deal_id from merged_deal where merged_deal_id is not null)
),
amounts as (
    select won.deal_id, arg_max(value, cast("timestamp" as timestamptz)) as amount
    from won
    join deal_property_history history on history.deal_id = won.deal_id
    where lower(name) = 'amount' and value is not null and cast("timestamp" as timestamptz) <= won_at
    group by all
),
owners as (
    select deal_id, company.id as customer_id
    from deal_company
    join (select id from company) company on company.id = company_id
    qualify row_number() over (partition by deal_id order by type_id is not distinct from '5' desc, company.id) = 1
)
select
    won.deal_id as order_id,
    customer_id,
    least(closed_at, won_at) as occurred_at,
    greatest(won_at, case when amounts.deal_id is null then modified_at end) as known_at,
    coalesce(amounts.amount, won.amount) as amount,
    category,
from won
join owners on owners.deal_id = won.deal_id
left join amounts on amounts.deal_id = won.deal_id
where coalesce(amounts.amount, won.amount) is not null
