-- One row per audited change of a column of a lead or an account. Values are as the audit has them: options by their numbers. What
-- names a person is left out.
with entries as (
    select
        case lower(objecttypecode) when 'lead' then 'lead' when '4' then 'lead' else 'customer' end as entity,
        objectid as entity_id,
        cast(createdon as timestamptz) as changed_at,
        unnest(cast(json_extract(changedata, '$.changedAttributes[*]') as json[])) as change,
    from audit
    where lower(objecttypecode) in ('lead', 'account', '4', '1')
),
known as (
    select 'lead' as entity, leadid as entity_id from lead
    union all
    select 'customer', accountid from account
),
changes as (
    select
        entity,
        entity_id,
        lower(json_extract_string(change, '$.logicalName')) as field,
        json_extract_string(change, '$.newValue') as value,
        changed_at as valid_from,
    from entries
)
select *
from changes
semi join known using (entity, entity_id)
where not regexp_matches(field, '(name|phone|email|fax|line|street|postal_?code|address)\d*$')
qualify row_number() over (partition by entity, entity_id, field, valid_from order by value) = 1
