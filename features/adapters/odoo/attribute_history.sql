-- What a lead said from when on. Of tracked stages the whole history is there: each change with what was before it, and the stage
-- of a lead without a change is its only one. Other fields are known from the first pull on, see adapter.toml, and then from each
-- change that a pull found.
with pulled as (
    select max(cast(write_date as timestamp)) filter (where known_at is null) as first_pull from crm_lead
),
versions as (
    select *, coalesce(known_at, first_pull, cast(create_date as timestamp)) as valid_from from crm_lead cross join pulled
),
named as (
    select id, valid_from, 'source' as field, name as value
    from versions left join (select id as source_id, arg_max(name, write_date) as name from utm_source group by id) using (source_id)
    union all by name
    select id, valid_from, 'medium' as field, name as value
    from versions left join (select id as medium_id, arg_max(name, write_date) as name from utm_medium group by id) using (medium_id)
    union all by name
    select id, valid_from, 'campaign' as field, name as value
    from versions
    left join (select id as campaign_id, arg_max(name, write_date) as name from utm_campaign group by id) using (campaign_id)
    union all by name
    select id, valid_from, 'country' as field, code as value
    from versions left join (select id as country_id, arg_max(code, write_date) as code from res_country group by id) using (country_id)
    union all by name
    select id, valid_from, 'team' as field, team_id as value from versions
),
stages as (
    select id, arg_max(name, write_date) as name from crm_stage group by id
),
changes as (
    select
        mail_message.res_id as id,
        cast(mail_tracking_value.create_date as timestamp) as changed_at,
        mail_tracking_value.old_value_integer as old_stage,
        mail_tracking_value.new_value_integer as new_stage,
        cast(mail_tracking_value.id as bigint) as number,
    from mail_tracking_value
    join mail_message on mail_message.id = mail_tracking_value.mail_message_id and mail_message.model = 'crm.lead'
    join ir_model_fields on ir_model_fields.id = mail_tracking_value.field_id and ir_model_fields.name = 'stage_id'
    qualify row_number() over (partition by mail_tracking_value.id order by mail_tracking_value.write_date desc) = 1
),
leads as (
    select id, cast(min(create_date) as timestamp) as created_at, arg_max(stage_id, write_date) as stage_id from crm_lead group by id
),
staged as (
    select leads.id, created_at as valid_from, coalesce(first.old_stage, leads.stage_id) as stage
    from leads left join (select id, arg_min(old_stage, (changed_at, number)) as old_stage from changes group by id) as first using (id)
    union all
    select id, changed_at, arg_max(new_stage, number) from changes join leads using (id) where changed_at > created_at group by all
)
select 'lead' as entity, id as entity_id, field, value, valid_from
from named
qualify value is distinct from lag(value) over (partition by id, field order by valid_from)
    and row_number() over (partition by id, field, valid_from order by value) = 1
union all
select 'lead', staged.id, 'stage', stages.name, valid_from
from staged left join stages on stages.id = staged.stage
qualify row_number() over (partition by staged.id, valid_from order by staged.stage) = 1
