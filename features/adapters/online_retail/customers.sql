-- One row per customer, known from the first invoice on, with the country as it stood on that invoice.
select
    cast(cast(CustomerID as double) as bigint) as customer_id,
    min(InvoiceDate) as created_at,
    first(Country order by InvoiceDate, InvoiceNo, Country) as country,
from invoices
where CustomerID is not null
group by all
