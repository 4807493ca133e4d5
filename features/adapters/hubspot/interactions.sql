-- One row per call, e-mail, meeting, message or completed task and contact or company it is associated with, per marketing e-mail
-- event of a contact, and per form it sent. Notes are no contact. What is logged later than it happened is known from then on, a
-- meeting once it begins. A contact that was merged away counts for the one it became, known from the merge on.
with merged as (
    select vid_to_merge as id, first(canonical_vid order by "timestamp") as became, min(cast("timestamp" as timestamptz)) as merged_at
    from contact_merge_audit
    group by all
),
gone as (
    select trim(unnest(string_split(property_hs_merged_object_ids, ';'))) as id from contact
    union
    select id from merged
),
leads as (
    select id, id as lead_id, null as merged_at from contact anti join gone using (id)
    union all
    select merged.id, became, merged_at from merged join (select id from contact) contact on contact.id = became anti join gone on gone.id = became
),
engagements as (
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
    select lower(trim(property_email)) as address, min(id) as contact_id from contact anti join gone using (id) group by all
),
contacts as (
    select
        'engagement-' || engagement_id || '-' || contact_id as interaction_id,
        contact_id,
        channel,
        kind,
        direction,
        null as campaign,
        occurred_at,
        greatest(occurred_at, created_at) as known_at,
    from engagements
    join (select distinct engagement_id, contact_id from engagement_contact) using (engagement_id)
    union all
    select
        'email-' || email_event.id,
        addresses.contact_id,
        'email',
        case
            when upper(email_event.type) = 'STATUSCHANGE' then 'unsubscribe'
            else lower(email_event.type)
        end,
        case when upper(email_event.type) in ('OPEN', 'CLICK', 'STATUSCHANGE') then 'inbound' else 'outbound' end,
        email_campaign_id,
        cast(created as timestamptz),
        cast(created as timestamptz),
    from email_event
    join addresses on addresses.address = lower(trim(recipient))
    left join email_event_status_change status on status.id = email_event.id
    where upper(email_event.type) in ('SENT', 'OPEN', 'CLICK', 'BOUNCE')
    or (upper(email_event.type) = 'STATUSCHANGE' and upper(portal_subscription_status) = 'UNSUBSCRIBED')
    union all
    select
        'form-' || coalesce(conversion_id, form_id || '-' || contact_id || '-' || "timestamp"),
        contact_id,
        'web',
        'form',
        'inbound',
        null,
        cast("timestamp" as timestamptz),
        cast("timestamp" as timestamptz),
    from contact_form_submission
)
select
    interaction_id,
    lead_id,
    null as customer_id,
    occurred_at,
    greatest(known_at, merged_at) as known_at,
    channel,
    kind,
    direction,
    campaign,
from contacts
join leads on leads.id = contact_id
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
