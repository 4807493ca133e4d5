-- One row per change of an attribute, and one for what it was before the first change.
--
-- Field history (`Field`, `OldValue`, `NewValue`) tells of each field from the first entry on that it has for anybody: from then on
-- it was tracked. So what a record had at its creation, or when tracking began, is the old value of its first change, or today's if
-- it has none. A field without any entry may have been changed unseen: today's value of it is never projected into the past.
-- Where the files are versions of whole rows (`_fivetran_start`), a value holds from its version on.
with entries as (
    select
        'lead' as entity, lead_id as entity_id, field, old_value, new_value, cast(created_date as timestamptz) as changed_at
    from lead_history
    where field is not null
    union all
    select 'customer', account_id, field, old_value, new_value, cast(created_date as timestamptz)
    from account_history
    where field is not null
),
named as (
    select
        * replace (
            lower(regexp_replace(regexp_replace(field, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '_+', '_', 'g')) as field
        ),
    from entries
),
changes as (
    select * replace (case when field = 'owner' then 'owner_id' else field end as field)
    from named
    where field not in (
        'created', 'lead_converted', 'lead_merged', 'account_merged', 'owner_accepted', 'owner_assignment', 'locked', 'unlocked'
    )
    and not regexp_matches(field, '(name|phone|email|fax|street|postal_?code|address)(_c)?$')
    qualify row_number() over (
        partition by entity, entity_id, field, changed_at
        order by regexp_full_match(new_value, '[a-zA-Z0-9]{18}') desc, new_value desc
    ) = 1
),
records as (
    select 'lead' as entity, id as entity_id, cast(created_date as timestamptz) as created_at from lead
    union all
    select 'customer', id, coalesce(cast(created_date as timestamptz), cast(_fivetran_synced as timestamptz)) from account
),
today as (
    select
        'lead' as entity,
        id as entity_id,
        unnest([
            'status', 'rating', 'industry', 'country', 'state', 'annual_revenue', 'number_of_employees',
            'owner_id'
        ]) as field,
        unnest([
            status, rating, industry, country, state,
            annual_revenue, number_of_employees, owner_id
        ]) as value,
    from lead
    union all
    select
        'customer',
        id,
        unnest([
            'type', 'rating', 'industry', 'billing_country', 'billing_state', 'annual_revenue',
            'number_of_employees', 'owner_id', 'ownership'
        ]) as field,
        unnest([
            type, rating, industry, billing_country, billing_state,
            annual_revenue, number_of_employees, owner_id, ownership
        ]) as value,
    from account
),
exported as (
    select entity, field from today group by all having count(value) > 0
),
tracked as (
    select entity, field, min(changed_at) as tracked_since from changes group by all
),
firsts as (
    select entity, entity_id, field, min(changed_at) as changed_at, first(old_value order by changed_at) as value
    from changes
    group by all
),
initial as (
    select
        entity,
        entity_id,
        field,
        case when firsts.changed_at is null then today.value else firsts.value end as value,
        greatest(created_at, tracked_since) as valid_from,
    from today
    semi join exported using (entity, field)
    join tracked using (entity, field)
    join records using (entity, entity_id)
    left join firsts using (entity, entity_id, field)
    where firsts.changed_at is null or greatest(created_at, tracked_since) < firsts.changed_at
),
versions as (
    select
        'lead' as entity,
        lead_id as entity_id,
        cast(_fivetran_start as timestamptz) as valid_from,
        unnest([
            'status', 'rating', 'industry', 'country', 'state', 'annual_revenue', 'number_of_employees',
            'owner_id'
        ]) as field,
        unnest([
            status, rating, industry, country, state,
            annual_revenue, number_of_employees, owner_id
        ]) as value,
    from lead_history
    where _fivetran_start is not null
    union all
    select
        'customer',
        account_id,
        cast(_fivetran_start as timestamptz),
        unnest([
            'type', 'rating', 'industry', 'billing_country', 'billing_state', 'annual_revenue',
            'number_of_employees', 'owner_id', 'ownership'
        ]) as field,
        unnest([
            type, rating, industry, billing_country, billing_state,
            annual_revenue, number_of_employees, owner_id, ownership
        ]) as value,
    from account_history
    where _fivetran_start is not null
),
changed_versions as (
    from versions
    qualify value is distinct from lag(value) over (partition by entity, entity_id, field order by valid_from)
)
select entity, entity_id, field, value, valid_from
from (
    select entity, entity_id, field, new_value as value, changed_at as valid_from from changes
    union all
    from initial
    union all
    select entity, entity_id, field, value, valid_from from changed_versions
)
semi join records using (entity, entity_id)
