-- One row per contact, and one more for every time sales gave it up or took it up again (`hs_lead_status` UNQUALIFIED). It is won
-- when its lifecycle stage first becomes `customer`. A contact that was merged into another is that other one.
with merged as (
    select vid_to_merge as id from contact_merge_audit
    union
    select trim(unnest(string_split(property_hs_merged_object_ids, ';'))) from contact
),
history as (
    select contact_id, lower(name) as name, value, cast("timestamp" as timestamptz) as changed_at
    from contact_property_history
    where lower(name) in ('lifecyclestage', 'hs_lead_status')
),
won as (
    select contact_id, min(changed_at) as won_at from history where name = 'lifecyclestage' and lower(value) = 'customer' group by all
),
stances as (
    select contact_id, changed_at, upper(coalesce(value, '')) = 'UNQUALIFIED' as is_lost
    from history
    where name = 'hs_lead_status'
    qualify row_number() over (partition by contact_id, changed_at order by is_lost) = 1
),
changes as (
    from stances
    qualify is_lost != coalesce(lag(is_lost) over (partition by contact_id order by changed_at), false)
),
states as (
    from (
        select id as contact_id, try_cast(property_createdate as timestamptz) as known_at, null as is_lost, null as changed_at
        from contact
        union all
        select contact_id, greatest(changed_at, try_cast(property_createdate as timestamptz)), is_lost, changed_at
        from changes
        join (select id, property_createdate from contact) created on created.id = contact_id
    )
    qualify row_number() over (partition by contact_id, known_at order by changed_at desc nulls last) = 1
)
select
    contact.id as lead_id,
    contact.property_createdate as created_at,
    states.known_at,
    null as customer_id,
    case when won.won_at is not null or contact.property_hs_lifecyclestage_customer_date is not null
        then greatest(
            coalesce(won.won_at, cast(contact.property_hs_lifecyclestage_customer_date as timestamptz)),
            try_cast(contact.property_createdate as timestamptz)
        ) end as converted_at,
    case when states.is_lost then states.known_at end as lost_at,
    null as lost_reason,
    contact.property_hs_object_source as object_source,
    contact.* exclude (id, property_createdate, property_email, property_hs_object_source),
from states
join contact on contact.id = states.contact_id
anti join merged on merged.id = contact.id
left join won on won.contact_id = contact.id
