-- One row per sales order and state of knowledge, from its confirmation on, without tax. A cancelled order is one of nothing from
-- then on. Of an order that was there at the first pull only the last amount is known.
with confirmed as (
    select *, row_number() over (partition by id order by cast(write_date as timestamp)) = 1 as is_first
    from sale_order
    where state in ('sale', 'done')
),
first as (
    select id, min(cast(date_order as timestamp)) as ordered_at, min(cast(write_date as timestamp)) as seen_at
    from confirmed
    group by id
)
select
    sale_order.id as order_id,
    commercial_partner_id as customer_id,
    ordered_at as occurred_at,
    case when state = 'cancel' then 0 else cast(amount_untaxed as decimal(18, 4)) end as amount,
    case when cast(write_date as timestamp) = seen_at then coalesce(known_at, ordered_at) else known_at end as known_at,
from sale_order
join first on first.id = sale_order.id and cast(write_date as timestamp) >= seen_at
join (select id as partner_id, arg_max(commercial_partner_id, write_date) as commercial_partner_id from res_partner group by id)
    using (partner_id)
where state in ('sale', 'done', 'cancel') and commercial_partner_id is not null and date_order is not null
