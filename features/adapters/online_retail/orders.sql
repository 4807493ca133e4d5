-- One row per invoice line of a known customer. An article may stand on an invoice more than once, even in equal lines, so the
-- lines of an article are numbered by their content. An article is not a kind of product, so there is no category.
select
    InvoiceNo || '-' || StockCode || '-' || row_number() over (
        partition by InvoiceNo, StockCode order by InvoiceDate, CustomerID, Quantity, UnitPrice, Description
    ) as order_id,
    cast(cast(CustomerID as double) as bigint) as customer_id,
    InvoiceDate as occurred_at,
    cast(Quantity as double) * cast(UnitPrice as double) as amount,
    Quantity as quantity,
    InvoiceNo like 'C%' as is_return,
from invoices
where CustomerID is not null
