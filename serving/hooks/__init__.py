"""A CRM's own webhooks: read, checked, mapped to attributes, scored after the answer, and the scores sent back."""
