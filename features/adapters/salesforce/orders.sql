-- One row per line of a won opportunity, or per won opportunity without lines. It is won when its history first shows it in its
-- present stage; without a history when the stage last changed, or when the day it was closed on was over. Its amount is the
-- one of the history at that moment; otherwise today's, which is known only from its last modification on.
with stages as (
    select
        opportunity_id,
        stage_name as stage,
        coalesce(cast(_fivetran_start as timestamptz), cast(created_date as timestamptz)) as entered_at,
        amount,
    from opportunity_history
    union all
    select opportunity_id, new_value, cast(created_date as timestamptz), null
    from opportunity_field_history
    where lower(replace(field, '_', '')) = 'stagename'
),
entered as (
    select
        opportunity_id,
        stage,
        min(entered_at) as won_at,
        min(entered_at) filter (where amount is not null) as amount_at,
        first(amount order by entered_at) filter (where amount is not null) as amount,
    from stages
    group by all
),
won as (
    select
        opportunity.id,
        opportunity.account_id,
        cast(opportunity.close_date as timestamptz) as closed_at,
        greatest(
            coalesce(
                greatest(entered.won_at, entered.amount_at),
                cast(opportunity.last_stage_change_date as timestamptz),
                cast(opportunity.close_date as timestamptz) + interval 1 day - interval 1 microsecond
            ),
            cast(opportunity.created_date as timestamptz)
        ) as won_at,
        entered.amount as amount_then,
        opportunity.amount as amount_now,
        coalesce(
            cast(opportunity.last_modified_date as timestamptz),
            cast(opportunity.system_modstamp as timestamptz),
            cast(opportunity._fivetran_synced as timestamptz)
        ) as modified_at,
        opportunity.type,
    from opportunity
    join (select id from account) account on account.id = opportunity.account_id
    left join entered on entered.opportunity_id = opportunity.id and entered.stage = opportunity.stage_name
    where try_cast(opportunity.is_won as boolean)
),
lines as (
    select
        line.id as order_id,
        won.account_id,
        won.closed_at,
        greatest(
            won.won_at,
            cast(line.created_date as timestamptz),
            coalesce(cast(line.last_modified_date as timestamptz), cast(line.system_modstamp as timestamptz))
        ) as known_at,
        line.total_price as amount,
        product_2.family as category,
        line.quantity as quantity,
    from opportunity_line_item line
    join won on won.id = line.opportunity_id
    left join product_2 on product_2.id = line.product_2_id
),
whole as (
    select
        id,
        account_id,
        closed_at,
        case when amount_then is null then greatest(won_at, modified_at) else won_at end,
        coalesce(amount_then, amount_now),
        type,
        null,
    from won
    where coalesce(amount_then, amount_now) is not null
    and id not in (select opportunity_id from opportunity_line_item where opportunity_id is not null)
)
select
    order_id,
    account_id as customer_id,
    least(closed_at, known_at) as occurred_at,
    greatest(closed_at, known_at) as known_at,
    amount,
    category,
    quantity,
from (from lines union all from whole)
