-- One row per company, customer or prospect: who has bought is told by orders.
select id as customer_id, property_createdate as created_at, company.* exclude (id, property_createdate) from company
