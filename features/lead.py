"""The features of a lead: what is known about it, what it did, what was sent to it."""

from __future__ import annotations

from functools import partial

from features.feature import Feature, View, change, counted, ratio, view, where, windowed

PROFILE = view(
    "lead_profile", "lead", "leads",
    Feature("lead_age_days", "age", "created_at", unit="days", meaning="days since the lead was created",
            high="This lead is older than most", low="This lead is younger than most"),
    Feature("lead_is_open", "holds", where=where("converted_at is null", "lost_at is null"),
            meaning="whether the lead was neither won nor lost yet", high="The lead is open", low="The lead is closed"),
    Feature("lead_is_customer", "holds", where=where("customer_id is not null"),
            meaning="whether the lead already was a customer when it was created",
            high="Already a customer", low="Not a customer yet"),
    Feature("lead_created_weekday", "weekday", "created_at", unit="1 (Monday) to 7", meaning="the day of the week the lead came in",
            high="Came in later in the week than most", low="Came in earlier in the week than most"),
    Feature("lead_created_hour", "hour", "created_at", unit="hour, UTC", meaning="the hour of the day the lead came in",
            high="Came in later in the day than most", low="Came in earlier in the day than most"),
)  # fmt: skip


_did = partial(counted, windows=(7, 30, 90))


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
             high="Reached through more channels {window} than most", low="Reached through fewer channels {window} than most"),
    windowed("interactions", "days_since_last", (None,), unit="days", meaning="days since the last contact",
             high="The last contact is longer ago than for most", low="The last contact is more recent than for most"),
    windowed("interactions", "days_since_first", (None,), unit="days", meaning="days since the first contact",
             high="The first contact is longer ago than for most", low="The first contact is more recent than for most"),
    windowed("inbound", "days_since_last", (None,), only=("direction = 'inbound'",), unit="days",
             meaning="days since the lead last got in touch", high="The lead has been silent for longer than most", low="The lead got in touch more recently than most"),
    windowed("channel", "latest", (None,), column="channel", meaning="the channel of the last contact"),
    windowed("kind", "latest", (None,), column="kind", meaning="the kind of the last contact"),
    change("interactions", 7, meaning="contacts of the last 7 days against the 7 before",
           high="Contacts have risen over the last 7 days", low="Contacts have fallen over the last 7 days"),
    change("web_visits", 30, only=("channel = 'web'", "kind = 'visit'"), meaning="web visits of the last 30 days against the 30 before",
           high="Web visits have risen over the last 30 days", low="Web visits have fallen over the last 30 days"),
    ratio("emails_opened_ratio_90d", "emails_opened_count_90d", "emails_sent_count_90d",
          meaning="e-mails opened per e-mail sent in the last 90 days", high="Opens more of our e-mails than most", low="Opens fewer of our e-mails than most"),
)  # fmt: skip

CAMPAIGNS = view(
    "lead_campaigns", "lead", "campaign_members",
    windowed("campaigns_joined", "count", (90, None), meaning="campaigns the lead was part of {window}",
             high="Part of more campaigns {window} than most", low="Part of no campaign {window}"),
    windowed("campaigns_responded", "count", (90, None), at="responded_at", meaning="campaigns the lead responded to {window}",
             high="Responded to more campaigns {window} than most", low="Responded to no campaign {window}"),
    windowed("campaigns_responded", "days_since_last", (None,), at="responded_at", unit="days",
             meaning="days since the lead last responded to a campaign",
             high="The last response to a campaign is longer ago than for most", low="The last response to a campaign is more recent than for most"),
    windowed("campaign", "latest", (None,), column="campaign", meaning="the last campaign the lead was added to"),
)  # fmt: skip

CHANGES = view(
    "lead_changes", "lead", "attribute_history",
    windowed("attributes_changed", "count", (30, 90), meaning="changes to the lead's record {window}",
                   high="More changes to the record {window} than for most", low="No change to the record {window}"),
    only=where("entity = 'lead'"),
)  # fmt: skip

VIEWS: tuple[View, ...] = (PROFILE, ENGAGEMENT, CAMPAIGNS, CHANGES)
