-- One row per lead. It is won when it is qualified, which is when the first opportunity that came of it was made; without one, and
-- where it was disqualified, when it was last modified, because a lead that is closed can no longer be edited.
with opportunities as (
    select originatingleadid as leadid, cast(createdon as timestamptz) as made_at from opportunity where originatingleadid is not null
    union all
    select lead.leadid, cast(opportunity.createdon as timestamptz)
    from lead
    join opportunity on opportunity.opportunityid = lead.qualifyingopportunityid
),
qualified as (
    select leadid, min(made_at) as qualified_at from opportunities group by all
),
labels as (
    select attributename, attributevalue, first("value" order by "value") as label
    from stringmap
    where objecttypecode = 'lead'
    group by all
)
select
    lead.leadid as lead_id,
    lead.createdon as created_at,
    null as customer_id,
    case when lower(lead.statecode) in ('1', 'qualified')
        then greatest(
            coalesce(qualified.qualified_at, cast(lead.modifiedon as timestamptz)), try_cast(lead.createdon as timestamptz)
        ) end as converted_at,
    case when lower(lead.statecode) in ('2', 'disqualified') then cast(lead.modifiedon as timestamptz) end as lost_at,
    case when lower(lead.statecode) in ('2', 'disqualified') then coalesce(reasons.label, lead.statuscode) end as lost_reason,
    coalesce(sources.label, lead.leadsourcecode) as lead_source,
    lead.* exclude (leadid, createdon, modifiedon, statecode, statuscode, leadsourcecode, qualifyingopportunityid),
from lead
left join qualified on qualified.leadid = lead.leadid
left join labels reasons on reasons.attributename = 'statuscode' and reasons.attributevalue = lead.statuscode
left join labels sources on sources.attributename = 'leadsourcecode' and sources.attributevalue = lead.leadsourcecode
