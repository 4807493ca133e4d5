-- One row per household and campaign: what was known of both before the campaign began, and whether the household redeemed one of
-- the campaign's coupons within {days} days. Campaigns of a month's history and more, whose outcomes are known by 2018-01-01.
with campaign as (
    select campaign_id, campaign_type, start_date::timestamp as as_of,
        date_diff('day', start_date::date, end_date::date) as campaign_days
    from '{data}/campaign_descriptions.parquet'
),
pair as (
    select household_id, * from '{data}/campaigns.parquet' join campaign using (campaign_id)
),
offer as (
    select campaign_id, count(distinct coupon_upc) as coupons_offered, count(distinct product_id) as products_offered
    from '{data}/coupons.parquet' group by all
),
offered_product as (
    select distinct campaign_id, product_id from '{data}/coupons.parquet'
),
redemption as (
    select household_id, campaign_id, redemption_date::timestamp as redeemed_at from '{data}/coupon_redemptions.parquet'
),
bought as (
    select pair.household_id, pair.campaign_id,
        count(*) as items_count,
        count(*) filter (where transaction_timestamp >= as_of - interval 30 day) as items_count_30d,
        count(*) filter (where transaction_timestamp >= as_of - interval 90 day) as items_count_90d,
        sum(sales_value) filter (where transaction_timestamp >= as_of - interval 30 day) as sales_sum_30d,
        sum(sales_value) filter (where transaction_timestamp >= as_of - interval 90 day) as sales_sum_90d,
        avg(sales_value) as sales_mean,
        avg(retail_disc) as discount_mean,
        count(*) filter (where coupon_disc > 0) as items_with_coupon,
        count(distinct basket_id) as baskets,
        count(distinct store_id) as stores,
        count(distinct department) as departments,
        avg((brand = 'Private')::int) as private_share,
        count(*) filter (where department = 'GROCERY') / count(*) as grocery_share,
        count(offered_product.product_id) as items_offered,
        date_diff('day', max(transaction_timestamp), any_value(as_of)) as days_since_last,
        date_diff('day', min(transaction_timestamp), any_value(as_of)) as days_since_first
    from pair
    join '{data}/transactions_sample.parquet' as item
        on item.household_id = pair.household_id and item.transaction_timestamp < pair.as_of
    left join '{data}/products.parquet' as product on product.product_id = item.product_id
    left join offered_product on offered_product.campaign_id = pair.campaign_id and offered_product.product_id = item.product_id
    group by all
),
past as (
    select pair.household_id, pair.campaign_id, count(*) as campaigns_before,
        count(*) filter (where earlier.campaign_type = pair.campaign_type) as campaigns_alike_before
    from pair join pair as earlier on earlier.household_id = pair.household_id and earlier.as_of < pair.as_of
    group by all
),
redeemed as (
    select pair.household_id, pair.campaign_id, count(*) as redemptions_before,
        count(distinct redemption.campaign_id) as campaigns_redeemed_before,
        date_diff('day', max(redeemed_at), any_value(as_of)) as days_since_redemption
    from pair join redemption on redemption.household_id = pair.household_id and redeemed_at < pair.as_of
    group by all
)
select pair.household_id as entity_id, as_of,
    exists (
        from redemption where redemption.household_id = pair.household_id and redemption.campaign_id = pair.campaign_id
            and redeemed_at >= as_of and redeemed_at < as_of + interval {days} day
    )::tinyint as label,
    campaign_type, campaign_days, coupons_offered, products_offered,
    coalesce(campaigns_before, 0) as campaigns_before, coalesce(campaigns_alike_before, 0) as campaigns_alike_before,
    coalesce(redemptions_before, 0) as redemptions_before, coalesce(campaigns_redeemed_before, 0) as campaigns_redeemed_before,
    days_since_redemption,
    bought.* exclude (household_id, campaign_id),
    age, income, home_ownership, marital_status, household_size, household_comp, kids_count
from pair
left join offer using (campaign_id)
left join bought using (household_id, campaign_id)
left join past using (household_id, campaign_id)
left join redeemed using (household_id, campaign_id)
left join '{data}/demographics.parquet' using (household_id)
where as_of >= '2017-02-01' and as_of + interval {days} day <= '2018-01-01'
order by as_of, pair.campaign_id, entity_id
