-- One row per contact: the lead that it is, or became when it was merged into another, and when the last of these merges was. A contact
-- that was merged into one that is in turn merged is the one it became at last.
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
)
select id, id as lead_id, cast(null as timestamptz) as merged_at from kept
union all
select chains.id, became, merged_at from chains join kept on kept.id = became
