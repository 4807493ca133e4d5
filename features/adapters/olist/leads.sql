-- One row per marketing-qualified lead. The day of the first contact is known when that day is over.
select
    mql_id as lead_id,
    first_contact_date as created_at,
    cast(first_contact_date as date) + interval 1 day - interval 1 microsecond as known_at,
    won_date as converted_at,
    origin,
    landing_page_id,
from olist_marketing_qualified_leads_dataset
left join (select mql_id, won_date from olist_closed_deals_dataset) using (mql_id)
