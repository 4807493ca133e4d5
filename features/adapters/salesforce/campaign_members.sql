-- One row per member of a campaign. On conversion Salesforce moves a lead's memberships to the new contact: those of before are given
-- back to the lead, as its activities are (see interactions.sql). A response has no time: it is known when its day is over.
select
    member.id as campaign_member_id,
    coalesce(lead.id, conversions.lead_id) as lead_id,
    case when lead.id is null and conversions.lead_id is null then account.id end as customer_id,
    member.created_date as joined_at,
    coalesce(campaign.name, member.campaign_id) as campaign,
    cast(member.first_responded_date as timestamptz) + interval 1 day - interval 1 microsecond as responded_at,
from campaign_member member
left join campaign on campaign.id = member.campaign_id
left join (select id from lead) lead on lead.id = member.lead_id
left join conversions
    on conversions.contact_id = member.contact_id
    and cast(member.created_date as timestamptz) < conversions.converted_at
    and cast(member.created_date as timestamptz) >= conversions.created_at
left join contact on contact.id = member.contact_id
left join (select id from account) account on account.id = contact.account_id
where lead.id is not null or conversions.lead_id is not null or account.id is not null
qualify row_number() over (partition by member.id order by conversions.converted_at, conversions.lead_id) = 1
