-- One row per change of a property of a contact or a company. What names a person is left out. The history that a merged contact
-- had of its own counts for the one it became, known from the merge on.
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
entries as (
    select
        'lead' as entity,
        coalesce(became, contact_id) as entity_id,
        lower(name) as field,
        value,
        cast("timestamp" as timestamptz) as changed_at,
        merged_at,
    from contact_property_history
    left join merged on merged.id = contact_id
    union all
    select 'customer', company_id, lower(name), value, cast("timestamp" as timestamptz), null from company_property_history
),
known as (
    select 'lead' as entity, id as entity_id from contact anti join gone using (id)
    union all
    select 'customer', id from company
)
select entity, entity_id, field, value, changed_at as valid_from, greatest(changed_at, merged_at) as known_at
from entries
semi join known using (entity, entity_id)
where not regexp_matches(field, '(name|phone|email|fax|street|zip|postal_?code|address)\d*$')
qualify row_number() over (partition by entity, entity_id, field, changed_at order by merged_at nulls first, value) = 1
