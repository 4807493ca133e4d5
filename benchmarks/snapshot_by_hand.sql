-- What an analyst would write for the same columns: one statement, one pass over each event table.
with as_ofs as (
    select unnest(generate_series(timestamp '2024-01-01', timestamp '2024-12-01', interval 1 month)) as as_of
),
spine as (
    select customer_id, as_of, (epoch_us(as_of) - epoch_us(created_at)) / 86400000000.0 as customer_age_days
    from read_parquet('{customers}') join as_ofs on created_at < as_of and known_at < as_of
),
o as (
    select customer_id, as_of,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 30 day) as orders_count_30d,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 90 day) as orders_count_90d,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 180 day) as orders_count_180d,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 365 day) as orders_count_365d,
        sum(amount) filter (occurred_at >= as_of - interval 30 day) as orders_amount_sum_30d,
        sum(amount) filter (occurred_at >= as_of - interval 90 day) as orders_amount_sum_90d,
        sum(amount) filter (occurred_at >= as_of - interval 180 day) as orders_amount_sum_180d,
        sum(amount) filter (occurred_at >= as_of - interval 365 day) as orders_amount_sum_365d,
        avg(amount) filter (amount > 0 and occurred_at >= as_of - interval 365 day) as orders_amount_mean_365d,
        max(amount) filter (occurred_at >= as_of - interval 365 day) as orders_amount_max_365d,
        sum(quantity) filter (occurred_at >= as_of - interval 90 day) as orders_quantity_sum_90d,
        sum(quantity) filter (occurred_at >= as_of - interval 365 day) as orders_quantity_sum_365d,
        count(distinct category) filter (occurred_at >= as_of - interval 90 day) as orders_category_distinct_90d,
        count(distinct category) filter (occurred_at >= as_of - interval 365 day) as orders_category_distinct_365d,
        arg_max(category, (occurred_at, order_id)) as orders_category_latest,
        (epoch_us(as_of) - epoch_us(max(occurred_at) filter (amount > 0))) / 86400000000.0 as orders_days_since_last,
        (epoch_us(as_of) - epoch_us(min(occurred_at) filter (amount > 0))) / 86400000000.0 as orders_days_since_first,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 60 day and occurred_at < as_of - interval 30 day) as before_30,
        count(*) filter (amount > 0 and occurred_at >= as_of - interval 180 day and occurred_at < as_of - interval 90 day) as before_90,
        sum(amount) filter (amount > 0 and occurred_at >= as_of - interval 90 day) as spent_90,
        sum(amount) filter (
            amount > 0 and occurred_at >= as_of - interval 180 day and occurred_at < as_of - interval 90 day
        ) as spent_before_90
    from read_parquet('{orders}') join as_ofs on occurred_at < as_of and known_at < as_of
    group by customer_id, as_of
),
i as (
    select customer_id, as_of,
        count(*) filter (kind = 'login' and occurred_at >= as_of - interval 7 day) as logins_count_7d,
        count(*) filter (kind = 'login' and occurred_at >= as_of - interval 30 day) as logins_count_30d,
        count(*) filter (kind = 'login' and occurred_at >= as_of - interval 90 day) as logins_count_90d,
        count(*) filter (kind = 'remote_start' and occurred_at >= as_of - interval 30 day) as remote_starts_count_30d,
        count(*) filter (kind = 'remote_start' and occurred_at >= as_of - interval 90 day) as remote_starts_count_90d,
        count(*) filter (kind = 'limit_reached' and occurred_at >= as_of - interval 30 day) as limits_reached_count_30d,
        count(*) filter (kind = 'limit_reached' and occurred_at >= as_of - interval 90 day) as limits_reached_count_90d,
        (epoch_us(as_of) - epoch_us(max(occurred_at) filter (kind = 'login'))) / 86400000000.0 as logins_days_since_last,
        count(*) filter (
            kind = 'login' and occurred_at >= as_of - interval 60 day and occurred_at < as_of - interval 30 day
        ) as logins_before_30,
        count(*) filter (
            kind = 'login' and occurred_at >= as_of - interval 180 day and occurred_at < as_of - interval 90 day
        ) as logins_before_90,
        count(*) filter (occurred_at >= as_of - interval 30 day) as interactions_count_30d,
        count(*) filter (occurred_at >= as_of - interval 90 day) as interactions_count_90d,
        count(*) filter (kind = 'open' and occurred_at >= as_of - interval 30 day) as emails_opened_count_30d,
        count(*) filter (kind = 'open' and occurred_at >= as_of - interval 90 day) as emails_opened_count_90d,
        count(*) filter (kind = 'click' and occurred_at >= as_of - interval 30 day) as emails_clicked_count_30d,
        count(*) filter (kind = 'click' and occurred_at >= as_of - interval 90 day) as emails_clicked_count_90d,
        count(*) filter (channel = 'web' and kind = 'visit' and occurred_at >= as_of - interval 30 day) as web_visits_count_30d,
        count(*) filter (channel = 'web' and kind = 'visit' and occurred_at >= as_of - interval 90 day) as web_visits_count_90d,
        count(*) filter (kind = 'unsubscribe' and occurred_at >= as_of - interval 365 day) as unsubscribes_count_365d,
        (epoch_us(as_of) - epoch_us(max(occurred_at))) / 86400000000.0 as interactions_days_since_last
    from read_parquet('{interactions}') join as_ofs on occurred_at < as_of and known_at < as_of
    group by customer_id, as_of
)
select
    spine.*, o.* exclude (customer_id, as_of, before_30, before_90, spent_90, spent_before_90),
    (orders_count_30d - before_30) / nullif(orders_count_30d + before_30, 0) as orders_change_30d,
    (orders_count_90d - before_90) / nullif(orders_count_90d + before_90, 0) as orders_change_90d,
    (spent_90 - spent_before_90)::double / nullif((spent_90 + spent_before_90)::double, 0) as orders_amount_change_90d,
    orders_count_90d / nullif(orders_count_365d, 0) as orders_recent_ratio,
    i.* exclude (customer_id, as_of, logins_before_30, logins_before_90),
    (logins_count_30d - logins_before_30) / nullif(logins_count_30d + logins_before_30, 0) as logins_change_30d,
    (logins_count_90d - logins_before_90) / nullif(logins_count_90d + logins_before_90, 0) as logins_change_90d
from spine left join o using (customer_id, as_of) left join i using (customer_id, as_of)
