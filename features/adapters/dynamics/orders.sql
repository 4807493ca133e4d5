-- One row per line of a won opportunity, or per won opportunity without lines. It is won when the activity that closed it was made;
-- without one, when the day it was closed on was over. The amount is the one of that activity; otherwise today's, which is known
-- only from its last modification on.
with closings as (
    select
        opportunityid,
        arg_max(actualrevenue, cast(createdon as timestamptz)) as amount,
        max(cast(createdon as timestamptz)) as closed_at,
    from opportunityclose
    where opportunity_statecode is null or lower(opportunity_statecode) in ('1', 'won')
    group by all
),
won as (
    select
        opportunity.opportunityid as id,
        accounts.id as customer_id,
        coalesce(cast(opportunity.actualclosedate as timestamptz), closings.closed_at) as closed_on,
        greatest(
            coalesce(
                closings.closed_at,
                cast(opportunity.actualclosedate as timestamptz) + interval 1 day - interval 1 microsecond,
                cast(opportunity.modifiedon as timestamptz)
            ),
            cast(opportunity.createdon as timestamptz)
        ) as won_at,
        closings.amount as amount_then,
        opportunity.actualvalue as amount_now,
        cast(opportunity.modifiedon as timestamptz) as modified_at,
    from opportunity
    join (select accountid as id from account) accounts
        on accounts.id = coalesce(opportunity.parentaccountid, opportunity.customerid)
    left join closings on closings.opportunityid = opportunity.opportunityid
    where lower(opportunity.statecode) in ('1', 'won')
),
lines as (
    select
        line.opportunityproductid as order_id,
        won.customer_id,
        won.closed_on,
        greatest(won.won_at, cast(line.createdon as timestamptz), cast(line.modifiedon as timestamptz)) as known_at,
        line.extendedamount as amount,
        line.quantity,
    from opportunityproduct line
    join won on won.id = line.opportunityid
),
whole as (
    select
        id,
        customer_id,
        closed_on,
        case when amount_then is null then greatest(won_at, modified_at) else won_at end,
        coalesce(amount_then, amount_now),
        null,
    from won
    where coalesce(amount_then, amount_now) is not null
    and id not in (select opportunityid from opportunityproduct where opportunityid is not null)
)
select order_id, customer_id, least(closed_on, known_at) as occurred_at, known_at, amount, quantity
from (from lines union all from whole)
