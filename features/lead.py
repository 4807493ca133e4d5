"""The features of a lead: what is known about it, what it did, what was sent to it."""

from __future__ import annotations

from features.feature import Feature, View, change, ratio, view, where, windowed

PROFILE = view(
    "lead_profile", "lead", "leads",
    Feature("lead_age_days", "age", "created_at", unit="days", meaning="days since the lead was created",
            high="This lead has been open for long", low="This lead is fresh"),
    Feature("lead_is_open", "holds", where=where("converted_at is null", "lost_at is null"),
            meaning="whether the lead was neither won nor lost yet", high="The lead is open", low="The lead is closed"),
    Feature("lead_is_customer", "holds", where=where("customer_id is not null"),
            meaning="whether the lead already was a customer when it was created",
            high="Already a customer", low="Not a customer yet"),
    Feature("lead_created_weekday", "weekday", "created_at", unit="1 (Monday) to 7", meaning="the day of the week the lead came in",
            high="Came in late in the week", low="Came in early in the week"),
    Feature("lead_created_hour", "hour", "created_at", unit="hour, UTC", meaning="the hour of the day the lead came in",
            high="Came in late in the day", low="Came in early in the day"),
)  # fmt: skip


def _did(measure: str, words: str, *only: str, windows: tuple[int | None, ...] = (7, 30, 90)) -> list[Feature]:
    """Counts of one kind of interaction."""
    return windowed(
        measure, "count", windows, only=only, meaning=f"{words} {{window}}",
        high=f"{words[0].upper()}{words[1:]} {{window}}: many", low=f"{words[0].upper()}{words[1:]} {{window}}: few or none",
    )  # fmt: skip


ENGAGEMENT = view(
    "lead_engagement", "lead", "interactions",
    _did("interactions", "contacts of any kind", windows=(7, 30, 90, None)),
    _did("inbound", "contacts the lead began", "direction = 'inbound'"),
    _did("emails_sent", "e-mails sent to the lead", "kind = 'sent'", windows=(30, 90)),
    _did("emails_opened", "e-mails opened", "kind = 'open'", windows=(7, 30, 90)),
    _did("emails_clicked", "links clicked in e-mails", "kind = 'click'"),
    _did("web_visits", "visits to the web site", "channel = 'web'", "kind = 'visit'"),
    _did("price_views", "looks at prices", "kind = 'price_view'", windows=(7, 30)),
    _did("configurations", "cars configured", "kind = 'configurator'", windows=(7, 30)),
    _did("forms", "forms filled in", "kind = 'form'", windows=(7, 30)),
    _did("chats", "chats", "kind = 'chat'", windows=(30,)),
    _did("calls_inbound", "calls from the lead", "kind = 'call'", "direction = 'inbound'", windows=(7, 30)),
    _did("calls_outbound", "calls to the lead", "kind = 'call'", "direction = 'outbound'", windows=(7, 30)),
    _did("meetings", "meetings", "kind = 'meeting'", windows=(30,)),
    _did("test_drives", "test drives", "kind = 'test_drive'", windows=(7, 30, 90)),
    _did("quotes", "quotes given", "kind = 'quote'", windows=(7, 30, 90)),
    windowed("channels", "distinct", (30, 90), column="channel", meaning="different channels used {window}",
             high="Reached through several channels {window}", low="Reached through few channels {window}"),
    windowed("interactions", "days_since_last", (None,), unit="days", meaning="days since the last contact",
             high="No contact for a while", low="In contact just now"),
    windowed("interactions", "days_since_first", (None,), unit="days", meaning="days since the first contact",
             high="First contact was long ago", low="First contact was recent"),
    windowed("inbound", "days_since_last", (None,), only=("direction = 'inbound'",), unit="days",
             meaning="days since the lead last got in touch", high="The lead has been silent", low="The lead got in touch lately"),
    windowed("channel", "latest", (None,), column="channel", meaning="the channel of the last contact"),
    windowed("kind", "latest", (None,), column="kind", meaning="the kind of the last contact"),
    change("interactions", 7, meaning="contacts of the last 7 days against the 7 before",
           high="Contacts have risen this week", low="Contacts have fallen this week"),
    change("web_visits", 30, only=("channel = 'web'", "kind = 'visit'"), meaning="web visits of the last 30 days against the 30 before",
           high="Web visits have risen over the last 30 days", low="Web visits have fallen over the last 30 days"),
    ratio("emails_opened_ratio_90d", "emails_opened_count_90d", "emails_sent_count_90d",
          meaning="e-mails opened per e-mail sent in the last 90 days", high="Opens our e-mails", low="Hardly opens our e-mails"),
)  # fmt: skip

CAMPAIGNS = view(
    "lead_campaigns", "lead", "campaign_members",
    windowed("campaigns_joined", "count", (90, None), meaning="campaigns the lead was part of {window}",
             high="Part of several campaigns {window}", low="Part of few campaigns {window}"),
    windowed("campaigns_responded", "count", (90, None), at="responded_at", meaning="campaigns the lead responded to {window}",
             high="Responds to campaigns {window}", low="Did not respond to campaigns {window}"),
    windowed("campaigns_responded", "days_since_last", (None,), at="responded_at", unit="days",
             meaning="days since the lead last responded to a campaign",
             high="Last response to a campaign was long ago", low="Responded to a campaign lately"),
    windowed("campaign", "latest", (None,), column="campaign", meaning="the last campaign the lead was added to"),
)  # fmt: skip

CHANGES = view(
    "lead_changes", "lead", "attribute_history",
    windowed("attributes_changed", "count", (30, 90), meaning="changes to the lead's record {window}",
                   high="The record was worked on {window}", low="The record was not touched {window}"),
    only=where("entity = 'lead'"),
)  # fmt: skip

VIEWS: tuple[View, ...] = (PROFILE, ENGAGEMENT, CAMPAIGNS, CHANGES)
