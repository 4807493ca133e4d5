-- One row per lead, and one more for every time it was given up or taken up again. The lead itself tells its conversion only to the
-- day; its history tells the instant. lead_source is the value at creation: the old one of the first change, if there was any.
with changes as (
    select
        lead_id,
        lower(replace(field, '_', '')) as field,
        old_value,
        new_value,
        cast(created_date as timestamptz) as changed_at,
    from lead_history
    where field is not null
),
converted as (
    select lead_id, min(changed_at) as converted_at from changes where field = 'leadconverted' group by all
),
sources as (
    select lead_id, first(old_value order by changed_at) as source from changes where field = 'leadsource' group by all
),
given_up as (
    select
        lead_id,
        changed_at,
        coalesce(lower(new_value) in ('unqualified', 'disqualified', 'closed - not converted'), false) as is_lost,
        coalesce(lower(old_value) in ('unqualified', 'disqualified', 'closed - not converted'), false) as was_lost,
    from changes
    where field = 'status'
),
states as (
    from (
        select id as lead_id, try_cast(created_date as timestamptz) as known_at, null as lost_at, false as is_change from lead
        union all
        select lead_id, changed_at, case when is_lost then changed_at end, true from given_up where is_lost != was_lost
    )
    qualify row_number() over (partition by lead_id, known_at order by is_change desc, lost_at nulls last) = 1
)
select
    states.lead_id,
    lead.created_date as created_at,
    states.known_at,
    null as customer_id,
    coalesce(
        converted.converted_at,
        case when lead.converted_date is not null
            then greatest(cast(lead.converted_date as timestamptz), try_cast(lead.created_date as timestamptz)) end,
        case when try_cast(lead.is_converted as boolean) then cast(lead.last_modified_date as timestamptz) end
    ) as converted_at,
    states.lost_at,
    null as lost_reason,
    case when sources.lead_id is null then lead.lead_source else sources.source end as lead_source,
    lead.* exclude (
        id, created_date, lead_source, status, rating, industry, country, state, annual_revenue, number_of_employees, owner_id
    ),
from states
join lead on lead.id = states.lead_id
left join converted on converted.lead_id = states.lead_id
left join sources on sources.lead_id = states.lead_id
