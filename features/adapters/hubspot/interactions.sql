-- One row per call, e-mail, meeting, message or completed task and contact or company it is associated with, per marketing e-mail
-- event of a contact, and per form it sent. Notes are no contact. What is logged later than it happened is known from then on, a
-- meeting once it begins. A contact that was merged away counts for the one it became at last, known from the last merge on.
with engagements as (
    select
        engagement_id,
        'phone' as channel,
        'call' as kind,
        case when lower(property_hs_call_direction) in ('inbound', 'outbound') then lower(property_hs_call_direction) end as direction,
        cast(coalesce(property_hs_timestamp, property_hs_createdate) as timestamptz) as occurred_at,
        cast(property_hs_createdate as timestamptz) as created_at,
    from engagement_call
    union all
    select
        engagement_id,
        'email',
        case upper(property_hs_email_direction) when 'INCOMING_EMAIL' then 'received' else 'sent' end,
        case upper(property_hs_email_direction) when 'INCOMING_EMAIL' then 'inbound' when 'EMAIL' then 'outbound' end,
        cast(coalesce(property_hs_timestamp, property_hs_createdate) as timestamptz),
        cast(property_hs_createdate as timestamptz),
    from engagement_email
    union all
    select
        engagement_id,
        'meeting',
        'meeting',
        null,
        cast(coalesce(property_hs_meeting_start_time, property_hs_timestamp, property_hs_createdate) as timestamptz),
        cast(coalesce(property_hs_createdate, _fivetran_synced) as timestamptz),
    from engagement_meeting
    union all
    select
        engagement_id,
        'chat',
        'message',
        null,
        cast(coalesce(property_hs_timestamp, property_hs_createdate) as timestamptz),
        cast(property_hs_createdate as timestamptz),
    from engagement_communication
    union all
    select
        engagement_id,
        'crm',
        'task',
        null,
        cast(property_hs_task_completion_date as timestamptz),
        cast(property_hs_createdate as timestamptz),
    from engagement_task
    where property_hs_task_completion_date is not null
),
addresses as (
    select lower(trim(property_email)) as address, lead_id, merged_at
    from contact
    join identities using (id)
    qualify row_number() over (partition by address order by merged_at nulls first, id) = 1
),
contacts as (
    select
        'engagement-' || engagement_id || '-' || lead_id as interaction_id,
        lead_id,
        channel,
        kind,
        direction,
        null as campaign,
        occurred_at,
        greatest(occurred_at, created_at, merged_at) as known_at,
    from engagements
    join (
        select engagement_id, lead_id, max(merged_at) as merged_at
        from engagement_contact
        join identities on identities.id = contact_id
        group by all
    ) using (engagement_id)
    union all
    select
        'email-' || email_event.id,
        lead_id,
        'email',
        case
            when upper(email_event.type) = 'STATUSCHANGE' then 'unsubscribe'
            else lower(email_event.type)
        end,
        case when upper(email_event.type) in ('OPEN', 'CLICK', 'STATUSCHANGE') then 'inbound' else 'outbound' end,
        email_campaign_id,
        cast(created as timestamptz),
        greatest(cast(created as timestamptz), merged_at),
    from email_event
    join addresses on addresses.address = lower(trim(recipient))
    left join email_event_status_change status on status.id = email_event.id
    where upper(email_event.type) in ('SENT', 'OPEN', 'CLICK', 'BOUNCE')
    or (upper(email_event.type) = 'STATUSCHANGE' and upper(portal_subscription_status) = 'UNSUBSCRIBED')
    union all
    select
        'form-' || coalesce(conversion_id, form_id || '-' || lead_id || '-' || "timestamp"),
        lead_id,
        'web',
        'form',
        'inbound',
        null,
        cast("timestamp" as timestamptz),
        greatest(cast("timestamp" as timestamptz), max(merged_at)),
    from contact_form_submission
    join identities on identities.id = contact_id
    group by conversion_id, form_id, lead_id, "timestamp"
)
select interaction_id, lead_id, null as customer_id, occurred_at, known_at, channel, kind, direction, campaign
from contacts
union all
select
    'engagement-' || engagement_id || '-company-' || company.id,
    null,
    company.id,
    occurred_at,
    greatest(occurred_at, created_at),
    channel,
    kind,
    direction,
    null,
from engagements
join (select distinct engagement_id, company_id from engagement_company) using (engagement_id)
join (select id from company) company on company.id = company_id
