-- What a lead said from when on. Of tracked stages the whole history is there: each change with what was before it, and the stage
-- of a lead without a change is the one that was seen first. It counts from the first change of any lead on, for then it is certain
-- that stages are tracked; a lead that is older may have moved before, unseen. Where no stage was ever changed, nothing is tracked, or
-- nothing of it was pulled: then nobody knows since when a lead is where it is. Other fields are known from the first pull on, see adapter.toml,
-- and then from each change that a pull found; of a lead that changed while the first pull was under way, what it said last.
with sources as (select id as source_id, arg_max(name, write_date) as source from utm_source group by id),
mediums as (select id as medium_id, arg_max(name, write_date) as medium from utm_medium group by id),
campaigns as (select id as campaign_id, arg_max(name, write_date) as campaign from utm_campaign group by id),
countries as (select id as country_id, arg_max(code, write_date) as country from res_country group by id),
stages as (select id as stage_id, arg_max(name, write_date) as stage from crm_stage group by id),
known as (
    select *, greatest(known_at, max(cast(write_date as timestamp)) filter (where known_at is null) over ()) as valid_from
    from crm_lead
),
versions as (
    select
        id, valid_from,
        source, medium, campaign, country, priority, team_id as team, user_id as salesperson, type as kind,
    from known
    left join sources using (source_id)
    left join mediums using (medium_id)
    left join campaigns using (campaign_id)
    left join countries using (country_id)
    qualify row_number() over (partition by id, valid_from order by cast(write_date as timestamp) desc) = 1
),
fields as (
    select id, valid_from, unnest([
        {field: 'source', value: source}, {field: 'medium', value: medium}, {field: 'campaign', value: campaign},
        {field: 'country', value: country}, {field: 'priority', value: priority}, {field: 'team', value: team},
        {field: 'salesperson', value: salesperson}, {field: 'kind', value: kind},
    ], recursive := true)
    from versions
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
tracked as (select min(changed_at) as since from changes),
before as (select id, arg_min(old_stage, (changed_at, number)) as old_stage from changes group by id),
leads as (
    select id, cast(min(create_date) as timestamp) as created_at, arg_min(stage_id, write_date) as stage_id from crm_lead group by id
),
staged as (
    select id, greatest(created_at, since) as valid_from, coalesce(old_stage, stage_id) as stage_id
    from leads left join before using (id) cross join tracked
    where since <= created_at or id not in (select id from changes where changed_at = since)
    union all
    select id, changed_at, arg_max(new_stage, number) from changes join leads using (id) where changed_at > created_at group by all
)
select 'lead' as entity, id as entity_id, field, value, valid_from
from fields
qualify value is distinct from lag(value) over (partition by id, field order by valid_from)
union all
select 'lead', id, 'stage', stage, valid_from
from staged
left join stages using (stage_id)
where exists (from changes)
