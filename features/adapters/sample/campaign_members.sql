select
    member as campaign_member_id,
    'L' || lead_no as lead_id,
    'C' || customer_no as customer_id,
    added as joined_at,
    coalesce(campaigns.name, code) as campaign,
    responded as responded_at
from campaign_members
left join campaigns using (code)
