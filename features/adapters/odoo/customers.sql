-- One row per commercial partner that ordered something: a customer since the first confirmed order, and known as one since then.
select commercial_partner_id as customer_id, min(cast(date_order as timestamp)) as created_at
from sale_order
join (select id as partner_id, arg_max(commercial_partner_id, write_date) as commercial_partner_id from res_partner group by id)
    using (partner_id)
where state in ('sale', 'done') and commercial_partner_id is not null and date_order is not null
group by all
