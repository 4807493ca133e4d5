-- One row per message to or from a lead; notes, tracked changes and Odoo's own notifications are none. Odoo keeps the time of an
-- incoming e-mail as its sender told it, so a message is known since Odoo has it.
select
    id as interaction_id,
    res_id as lead_id,
    least(cast(date as timestamp), cast(create_date as timestamp)) as occurred_at,
    cast(create_date as timestamp) as known_at,
    case when message_type in ('sms', 'whatsapp_message') then 'chat' else 'email' end as channel,
    case when message_type = 'email' then 'reply' else 'sent' end as kind,
    case when message_type = 'email' then 'inbound' else 'outbound' end as direction,
from mail_message
where model = 'crm.lead' and coalesce(is_internal, 'false') = 'false'
    and message_type in ('email', 'email_outgoing', 'comment', 'sms', 'whatsapp_message')
qualify row_number() over (partition by id order by write_date desc) = 1
