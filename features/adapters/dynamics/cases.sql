-- One row per case of an account or of one of its contacts. Its priority is left out: it is today's, and rises while a case is
-- worked on. A case that is not active was closed when it was last modified, or before.
with owners as (
    select accountid as id, accountid as customer_id from account
    union all
    select contact.contactid, account.accountid from contact join account on account.accountid = contact.parentcustomerid
),
labels as (
    select attributevalue, first("value" order by "value") as label
    from stringmap
    where objecttypecode = 'incident' and attributename = 'casetypecode'
    group by all
)
select
    incident.incidentid as case_id,
    owners.customer_id,
    incident.createdon as occurred_at,
    coalesce(labels.label, incident.casetypecode) as topic,
    case when lower(incident.statecode) not in ('0', 'active') then incident.modifiedon end as closed_at,
from incident
join owners on owners.id = incident.customerid
left join labels on labels.attributevalue = incident.casetypecode
