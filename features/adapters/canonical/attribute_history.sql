select * from attribute_history
