select * from campaign_members
