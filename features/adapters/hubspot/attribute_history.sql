-- One row per change of a property of a contact or a company. What names a person is left out. The history that a merged contact
-- had of its own counts for the one it became at last, known from the last merge on.
with entries as (
    select
        'lead' as entity,
        coalesce(lead_id, contact_id) as entity_id,
        lower(name) as field,
        value,
        cast("timestamp" as timestamptz) as changed_at,
        merged_at,
    from contact_property_history
    left join identities on identities.id = contact_id
    union all
    select 'customer', company_id, lower(name), value, cast("timestamp" as timestamptz), null from company_property_history
),
known as (
    select distinct 'lead' as entity, lead_id as entity_id from identities
    union all
    select 'customer', id from company
)
select entity, entity_id, field, value, changed_at as valid_from, greatest(changed_at, merged_at) as known_at
from entries
semi join known using (entity, entity_id)
where not regexp_matches(field, '(name|(phone|mobile)(_?number)?|emails?|fax|street|zip|postal_?code|address)\d*$')
qualify row_number() over (partition by entity, entity_id, field, changed_at order by merged_at nulls first, value) = 1
