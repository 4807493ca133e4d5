-- One row per completed call, e-mail and task, per appointment, and per opportunity that was opened. What is entered later than it
-- happened is known from then on, an appointment once it begins. What regards a contact or an opportunity counts for its account.
with activities as (
    select
        activityid,
        regardingobjectid,
        'phone' as channel,
        'call' as kind,
        directioncode,
        cast(createdon as timestamptz) as created_at,
        cast(coalesce(actualend, createdon) as timestamptz) as occurred_at,
    from phonecall
    where statecode is null or lower(statecode) in ('1', 'completed')
    union all
    select
        activityid,
        regardingobjectid,
        'email',
        case when try_cast(directioncode as boolean) is distinct from false then 'sent' else 'received' end,
        directioncode,
        cast(createdon as timestamptz),
        cast(coalesce(senton, actualend, createdon) as timestamptz),
    from email
    where statecode is null or lower(statecode) in ('1', 'completed')
    union all
    select
        activityid,
        regardingobjectid,
        'crm',
        'task',
        null,
        cast(createdon as timestamptz),
        cast(coalesce(actualend, createdon) as timestamptz),
    from task
    where statecode is null or lower(statecode) in ('1', 'completed')
    union all
    select
        activityid,
        regardingobjectid,
        'meeting',
        'meeting',
        null,
        cast(createdon as timestamptz),
        cast(coalesce(scheduledstart, createdon) as timestamptz),
    from appointment
    where lower(statecode) not in ('2', 'canceled') or statecode is null
    union all
    select
        opportunityid,
        coalesce(parentaccountid, customerid),
        'crm',
        'opportunity',
        null,
        cast(createdon as timestamptz),
        cast(createdon as timestamptz),
    from opportunity
),
regarding as (
    select leadid as id, leadid as lead_id, null as customer_id from lead
    union all
    select accountid, null, accountid from account
    union all
    select contact.contactid, null, account.accountid
    from contact
    join account on account.accountid = contact.parentcustomerid
    union all
    select opportunity.opportunityid, null, account.accountid
    from opportunity
    join account on account.accountid = coalesce(opportunity.parentaccountid, opportunity.customerid)
)
select
    activityid as interaction_id,
    lead_id,
    customer_id,
    occurred_at,
    greatest(occurred_at, created_at) as known_at,
    channel,
    kind,
    case try_cast(directioncode as boolean) when true then 'outbound' when false then 'inbound' end as direction,
from activities
join regarding on regarding.id = activities.regardingobjectid
