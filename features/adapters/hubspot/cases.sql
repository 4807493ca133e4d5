-- One row per ticket of a company. Its priority is left out: it is today's, and rises while a ticket is worked on.
select
    ticket.id as case_id,
    company.id as customer_id,
    property_createdate as occurred_at,
    property_hs_ticket_category as topic,
    property_closed_date as closed_at,
from ticket
join ticket_company on ticket_id = ticket.id
join (select id from company) company on company.id = company_id
qualify row_number() over (partition by ticket.id order by company.id) = 1
