-- One row per change of a property of a contact or a company. What names a person is left out. The history that a merged contact
-- had of its own counts for the one it became at last, known from the last merge on.
with recursive merges as (
    select vid_to_merge as id, first(canonical_vid order by made_at, canonical_vid) as became, min(made_at) as merged_at
    from (select vid_to_merge, canonical_vid, cast("timestamp" as timestamptz) as made_at from contact_merge_audit)
    group by all
),
chains as (
    from merges
    union
    select chains.id, merges.became, greatest(chains.merged_at, merges.merged_at) from chains join merges on merges.id = chains.became
),
gone as (
    select trim(unnest(string_split(property_hs_merged_object_ids, ';'))) as id from contact
    union
    select id from merges
),
kept as (
    select id from contact anti join gone using (id)
),
merged as (
    select chains.id, became, merged_at from chains join kept on kept.id = became
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
    select 'lead' as entity, id as entity_id from kept
    union all
    select 'customer', id from company
)
select entity, entity_id, field, value, changed_at as valid_from, greatest(changed_at, merged_at) as known_at
from entries
semi join known using (entity, entity_id)
where not regexp_matches(field, '(name|(phone|mobile)(_?number)?|emails?|fax|street|zip|postal_?code|address)\d*$')
qualify row_number() over (partition by entity, entity_id, field, changed_at order by merged_at nulls first, value) = 1
