select
    object as entity,
    case object when 'customer' then 'C' else 'L' end || number as entity_id,
    field,
    value,
    since as valid_from
from field_history
