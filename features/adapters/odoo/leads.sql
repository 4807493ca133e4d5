-- One row per lead and state of knowledge; opportunities are leads too. That there is a lead is known since it was created. Being
-- won is a stage; being lost is being archived with a date of closing, which Odoo empties when a lead is opened again.
with stages as (
    select id, arg_max(is_won, write_date) as is_won from crm_stage group by id
),
reasons as (
    select id, arg_max(name, write_date) as name from crm_lost_reason group by id
),
leads as (
    select
        *,
        row_number() over (partition by id order by cast(write_date as timestamp)) = 1 as is_first,
        coalesce(is_won, 'false') = 'true' as won,
    from crm_lead
    left join (select id as stage_id, is_won from stages) using (stage_id)
)
select
    leads.id as lead_id,
    create_date as created_at,
    case when is_first then cast(create_date as timestamp) else greatest(known_at, cast(create_date as timestamp)) end as known_at,
    case when won then date_closed end as converted_at,
    case when not won and active = 'false' then date_closed end as lost_at,
    case when not won and active = 'false' then reasons.name end as lost_reason,
    utm_source.name as source,
    utm_medium.name as medium,
    utm_campaign.name as campaign,
    res_country.code as country,
    team_id as team,
    user_id as salesperson,
    type as kind,
    priority,
from leads
left join reasons on reasons.id = lost_reason_id
left join (select id, arg_max(name, write_date) as name from utm_source group by id) as utm_source on utm_source.id = source_id
left join (select id, arg_max(name, write_date) as name from utm_medium group by id) as utm_medium on utm_medium.id = medium_id
left join (select id, arg_max(name, write_date) as name from utm_campaign group by id) as utm_campaign
    on utm_campaign.id = campaign_id
left join (select id, arg_max(code, write_date) as code from res_country group by id) as res_country on res_country.id = country_id
