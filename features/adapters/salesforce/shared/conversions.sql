-- One row per lead that was converted into a contact, and the instant: as its history tells, else when the day of it is over.
select
    id as lead_id,
    converted_contact_id as contact_id,
    cast(created_date as timestamptz) as created_at,
    coalesce(
        (
            select min(cast(h.created_date as timestamptz))
            from lead_history h
            where h.lead_id = lead.id and lower(replace(h.field, '_', '')) = 'leadconverted'
        ),
        cast(converted_date as timestamptz) + interval 1 day - interval 1 microsecond,
        cast(last_modified_date as timestamptz)
    ) as converted_at,
from lead
where converted_contact_id is not null
