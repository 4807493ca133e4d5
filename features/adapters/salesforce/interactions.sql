-- One row per completed task, per calendar event and per opportunity that was opened.
--
-- On conversion Salesforce moves a lead's activities to the new contact. Left there, a lead without activities would be one that
-- converted; so what happened before the conversion is given back to the lead, and counts for no account. An open task is no contact
-- yet. What is logged later than it happened is known from then on, a meeting once it begins, a task of which only the day is told
-- when that day is over.
with activities as (
    select
        id,
        who_id,
        account_id,
        cast(created_date as timestamptz) as created_at,
        coalesce(
            cast(completed_date_time as timestamptz), cast(activity_date as timestamptz), cast(created_date as timestamptz)
        ) as occurred_at,
        case
            when lower(task_subtype) = 'call' or lower(type) like '%call%' then 'call'
            when lower(task_subtype) in ('email', 'listemail') or lower(type) like '%email%' then 'sent'
            when lower(type) like '%meeting%' then 'meeting'
            else 'task'
        end as kind,
        case when lower(call_type) in ('inbound', 'outbound') then lower(call_type) end as direction,
        case when completed_date_time is null
            then cast(activity_date as timestamptz) + interval 1 day - interval 1 microsecond end as day_over_at,
    from task
    where try_cast(is_closed as boolean) is distinct from false
    union all
    select
        id,
        who_id,
        account_id,
        cast(created_date as timestamptz),
        coalesce(
            cast(start_date_time as timestamptz), cast(activity_date_time as timestamptz), cast(created_date as timestamptz)
        ),
        case when lower(type) like '%call%' then 'call' else 'meeting' end,
        null,
        null,
    from event
    union all
    select id, null, account_id, cast(created_date as timestamptz), cast(created_date as timestamptz), 'opportunity', null, null
    from opportunity
),
owned as (
    select
        activities.*,
        coalesce(lead.id, conversions.lead_id) as lead_id,
        case when lead.id is null and conversions.lead_id is null then coalesce(activities.account_id, contact.account_id) end as customer_id,
    from activities
    left join (select id from lead) lead on lead.id = who_id
    left join contact on contact.id = who_id
    left join conversions
        on conversions.contact_id = who_id
        and activities.created_at < conversions.converted_at
        and activities.created_at >= conversions.created_at
    qualify row_number() over (partition by activities.id order by conversions.converted_at, conversions.lead_id) = 1
)
select
    owned.id as interaction_id,
    lead_id,
    account.id as customer_id,
    occurred_at,
    greatest(occurred_at, owned.created_at, day_over_at) as known_at,
    case kind when 'call' then 'phone' when 'sent' then 'email' when 'meeting' then 'meeting' else 'crm' end as channel,
    kind,
    direction,
from owned
left join (select id from account) account on account.id = owned.customer_id
where lead_id is not null or account.id is not null
