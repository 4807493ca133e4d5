-- One row per company, customer or prospect: who has bought is told by orders. Properties of today have the prefix `property_`.
with properties as (
    select columns('(?i)^(?:property_)?([^_].*)$') as 'property_\1', columns('^_') from company
)
select property_id as customer_id, property_createdate as created_at, properties.* exclude (property_id, property_createdate)
from properties
