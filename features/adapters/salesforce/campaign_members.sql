-- One row per member of a campaign. A lead that was converted stays the lead here.
select
    campaign_member.id as campaign_member_id,
    lead.id as lead_id,
    account.id as customer_id,
    campaign_member.created_date as joined_at,
    coalesce(campaign.name, campaign_id) as campaign,
    first_responded_date as responded_at,
from campaign_member
left join campaign on campaign.id = campaign_id
left join (select id from lead) lead on lead.id = campaign_member.lead_id
left join contact on lead.id is null and contact.id = campaign_member.contact_id
left join (select id from account) account on account.id = contact.account_id
where lead.id is not null or account.id is not null
