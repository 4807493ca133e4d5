"""The features of a customer: what they buy, use, complain about, drive, collect and pay."""

from __future__ import annotations

from functools import partial

from features.feature import Feature, View, change, counted, ratio, view, where, windowed

PROFILE = view(
    "customer_profile", "customer", "customers",
    Feature("customer_age_days", "age", "created_at", unit="days", meaning="days since the customer became one",
            high="A customer for longer than most", low="A newer customer than most"),
)  # fmt: skip

SUBSCRIPTIONS = view(
    "customer_subscriptions", "customer", "subscriptions",
    windowed("subscriptions_active", "count", (None,), only=("ended_at is null",), meaning="subscriptions running now",
             high="More subscriptions are running than for most", low="No subscription is running"),
    windowed("subscriptions_ended", "count", (365,), at="ended_at", meaning="subscriptions that ended {window}",
             high="Ended more subscriptions {window} than most", low="Ended no subscription {window}"),
    windowed("subscriptions_started", "count", (365,), meaning="subscriptions begun {window}",
             high="Began more subscriptions {window} than most", low="Began no subscription {window}"),
    windowed("upgrades", "count", (365,), only=("start_reason = 'upgrade'",), meaning="upgrades {window}",
             high="Upgraded more often {window} than most", low="Did not upgrade {window}"),
    Feature("subscriptions_mrr_now", "sum", "price", where("ended_at is null"), unit="money a month",
            meaning="what the customer pays a month now", high="Pays more a month than most", low="Pays less a month than most"),
    Feature("subscriptions_tenure_days", "days_since_first", unit="days", meaning="days since the first subscription began",
            high="A subscriber for longer than most", low="A newer subscriber than most"),
    Feature("subscriptions_current_days", "days_since_last", where=where("ended_at is null"), unit="days",
            meaning="days since the newest running subscription began",
            high="On the present plan for longer than most", low="On the present plan for a shorter time than most"),
    Feature("subscriptions_renewal_days", "days_until_next", "renews_at", where("ended_at is null"), unit="days",
            meaning="days until the next renewal", high="The next renewal is farther away than for most", low="The next renewal is nearer than for most"),
    Feature("subscriptions_plan_latest", "latest", "plan", where("ended_at is null"), dtype="category",
            meaning="the plan of the newest running subscription"),
    Feature("subscriptions_tier_latest", "latest", "tier", where("ended_at is null"), dtype="category",
            meaning="the tier of the newest running subscription"),
)  # fmt: skip

ORDERS = view(
    "customer_orders", "customer", "orders",
    windowed("orders", "count", (30, 90, 180, 365), only=("amount > 0",), meaning="order lines {window}",
             high="Orders more often {window} than most", low="No orders {window}"),
    windowed("orders_amount", "sum", (30, 90, 180, 365), column="amount", unit="money", meaning="worth of orders less returns {window}",
             high="Spent more {window} than most", low="Spent less {window} than most"),
    windowed("orders_amount", "mean", (365,), column="amount", only=("amount > 0",), unit="money",
             meaning="mean worth of an order line {window}", high="Larger orders {window} than most", low="Smaller orders {window} than most"),
    windowed("orders_amount", "max", (365,), column="amount", unit="money", meaning="the largest order line {window}",
             high="The largest order {window} is larger than for most", low="The largest order {window} is smaller than for most"),
    windowed("orders_quantity", "sum", (90, 365), column="quantity", unit="pieces", meaning="pieces ordered {window}",
             high="Ordered more pieces {window} than most", low="Ordered fewer pieces {window} than most"),
    windowed("orders_discount", "sum", (365,), column="discount", unit="money", meaning="discounts given {window}",
             high="Was given more discount {window} than most", low="Was given no discount {window}"),
    windowed("orders_category", "distinct", (90, 365), column="category", meaning="different kinds of products {window}",
             high="Buys from more categories {window} than most", low="Buys from fewer categories {window} than most"),
    windowed("orders_category", "latest", (None,), column="category", meaning="the kind of product ordered last"),
    windowed("returns", "count", (365,), only=("is_return = true",), meaning="returns {window}",
             high="Sent back more {window} than most", low="Sent nothing back {window}"),
    windowed("orders", "days_since_last", (None,), only=("amount > 0",), unit="days", meaning="days since the last order",
             high="The last order is longer ago than for most", low="The last order is more recent than for most"),
    windowed("orders", "days_since_first", (None,), only=("amount > 0",), unit="days", meaning="days since the first order",
             high="Has been ordering for longer than most", low="Began ordering more recently than most"),
    change("orders", 30, only=("amount > 0",), meaning="orders of the last 30 days against the 30 before",
           high="Orders have risen over the last 30 days", low="Orders have fallen over the last 30 days"),
    change("orders", 90, only=("amount > 0",), meaning="orders of the last 90 days against the 90 before",
           high="Orders have risen over the last 90 days", low="Orders have fallen over the last 90 days"),
    change("orders_amount", 90, kind="sum", column="amount", only=("amount > 0",),
           meaning="spending of the last 90 days against the 90 before",
           high="Spending has risen over the last 90 days", low="Spending has fallen over the last 90 days"),
    ratio("orders_recent_ratio", "orders_count_90d", "orders_count_365d", meaning="share of the year's orders that fell in the last 90 days",
          high="A larger share of the year's orders is recent than for most", low="A smaller share of the year's orders is recent than for most"),
)  # fmt: skip


_did = partial(counted, windows=(30, 90))


USAGE = view(
    "customer_usage", "customer", "interactions",
    _did("logins", "logins to the app", "kind = 'login'", windows=(7, 30, 90)),
    _did("remote_starts", "remote starts from the app", "kind = 'remote_start'"),
    _did("limits_reached", "limits of the plan reached", "kind = 'limit_reached'"),
    windowed("logins", "days_since_last", (None,), only=("kind = 'login'",), unit="days", meaning="days since the last login",
             high="The last login is longer ago than for most", low="The last login is more recent than for most"),
    change("logins", 30, only=("kind = 'login'",), meaning="logins of the last 30 days against the 30 before",
           high="Logins have risen over the last 30 days", low="Logins have fallen over the last 30 days"),
    change("logins", 90, only=("kind = 'login'",), meaning="logins of the last 90 days against the 90 before",
           high="Logins have risen over the last 90 days", low="Logins have fallen over the last 90 days"),
)  # fmt: skip

ENGAGEMENT = view(
    "customer_engagement", "customer", "interactions",
    _did("interactions", "contacts of any kind"),
    _did("emails_opened", "e-mails opened", "kind = 'open'"),
    _did("emails_clicked", "links clicked in e-mails", "kind = 'click'"),
    _did("web_visits", "visits to the web site", "channel = 'web'", "kind = 'visit'"),
    _did("calls_inbound", "calls from the customer", "kind = 'call'", "direction = 'inbound'"),
    _did("unsubscribes", "newsletters cancelled", "kind = 'unsubscribe'", windows=(365,)),
    windowed("interactions", "days_since_last", (None,), unit="days", meaning="days since the last contact",
             high="The last contact is longer ago than for most", low="The last contact is more recent than for most"),
)  # fmt: skip

CASES = view(
    "customer_cases", "customer", "cases",
    windowed("cases", "count", (30, 90, 365), meaning="cases opened {window}",
             high="Opened more cases {window} than most", low="Opened no case {window}"),
    windowed("cases_open", "count", (None,), only=("closed_at is null",), meaning="cases still open",
             high="More cases are open than for most", low="No case is open"),
    windowed("cases_urgent", "count", (90, 365), only=("priority in ('high', 'urgent')",), meaning="urgent cases {window}",
             high="Had more urgent cases {window} than most", low="Had no urgent case {window}"),
    windowed("cases", "days_since_last", (None,), unit="days", meaning="days since the last case",
             high="The last case is longer ago than for most", low="The last case is more recent than for most"),
    windowed("cases_topic", "latest", (None,), column="topic", meaning="what the last case was about"),
)  # fmt: skip

SURVEYS = view(
    "customer_surveys", "customer", "surveys",
    windowed("nps", "latest", (None,), column="score", only=("kind = 'nps'",), unit="0-10", meaning="the last answer to the NPS survey",
             high="A higher mark in the NPS survey than most", low="A lower mark in the NPS survey than most"),
    windowed("csat", "mean", (365,), column="score", only=("kind = 'csat'",), unit="1-5", meaning="mean satisfaction {window}",
             high="More content {window} than most", low="Less content {window} than most"),
    windowed("ces", "mean", (365,), column="score", only=("kind = 'ces'",), unit="1-7", meaning="mean effort score {window}",
             high="Finds us easier to deal with {window} than most", low="Finds us harder to deal with {window} than most"),
    windowed("surveys", "count", (365,), meaning="surveys answered {window}",
             high="Answered more surveys {window} than most", low="Answered no survey {window}"),
)  # fmt: skip

LOYALTY = view(
    "customer_loyalty", "customer", "loyalty_events",
    windowed("points_earned", "sum", (90, 365), column="points", only=("kind = 'earn'",), unit="points", meaning="points earned {window}",
             high="Earned more points {window} than most", low="Earned fewer points {window} than most"),
    windowed("points_redeemed", "sum", (90, 365), column="points", only=("kind = 'redeem'",), unit="points",
             meaning="points redeemed {window}", high="Redeemed more points {window} than most", low="Redeemed no points {window}"),
    windowed("loyalty", "days_since_last", (None,), unit="days", meaning="days since the last movement on the loyalty account",
             high="The loyalty account has been quiet for longer than most", low="The last movement on the loyalty account is more recent than for most"),
    ratio("points_redeemed_ratio", "points_redeemed_sum_365d", "points_earned_sum_365d",
          meaning="points redeemed per point earned in the last 365 days", high="Uses a larger share of the points than most", low="Uses a smaller share of the points than most"),
)  # fmt: skip

SERVICE = view(
    "customer_service", "customer", "service_visits",
    windowed("service_visits", "count", (180, 365), meaning="workshop visits {window}",
             high="More workshop visits {window} than for most", low="No workshop visit {window}"),
    windowed("service_amount", "sum", (365,), column="amount", only=("pay_type = 'customer'",), unit="money",
             meaning="workshop invoices paid {window}", high="Paid more in the workshop {window} than most", low="Paid less in the workshop {window} than most"),
    windowed("service_visits", "days_since_last", (None,), unit="days", meaning="days since the last workshop visit",
             high="The last workshop visit is longer ago than for most", low="The last workshop visit is more recent than for most"),
    windowed("service_warranty", "count", (365,), only=("pay_type = 'warranty'",), meaning="warranty visits {window}",
             high="Had more warranty repairs {window} than most", low="Had no warranty repair {window}"),
    windowed("odometer", "max", (None,), column="odometer", unit="km", meaning="the highest reading of the odometer",
             high="The odometer shows more than for most", low="The odometer shows less than for most"),
)  # fmt: skip

VEHICLES = view(
    "customer_vehicles", "customer", "vehicles",
    windowed("vehicles", "count", (None,), only=("sold_at is null",), meaning="vehicles the customer has",
             high="Has more vehicles than most", low="Has no vehicle"),
    windowed("vehicles", "days_since_last", (None,), unit="days", meaning="days since the newest vehicle was bought",
             high="The newest vehicle was bought longer ago than for most", low="The newest vehicle was bought more recently than for most"),
    windowed("vehicle_price", "max", (None,), column="price", unit="money", meaning="the price of the dearest vehicle",
             high="The dearest vehicle cost more than for most", low="The dearest vehicle cost less than for most"),
    windowed("vehicle_fuel", "latest", (None,), column="fuel", meaning="the drive of the newest vehicle"),
    windowed("vehicle_condition", "latest", (None,), column="condition", meaning="whether the newest vehicle was bought new"),
    windowed("vehicle_model", "latest", (None,), column="model", meaning="the model of the newest vehicle"),
)  # fmt: skip

CAMPAIGNS = view(
    "customer_campaigns", "customer", "campaign_members",
    windowed("campaigns_joined", "count", (90, 365), meaning="campaigns the customer was part of {window}",
             high="Part of more campaigns {window} than most", low="Part of no campaign {window}"),
    windowed("campaigns_responded", "count", (90, 365), at="responded_at", meaning="campaigns the customer responded to {window}",
             high="Responded to more campaigns {window} than most", low="Responded to no campaign {window}"),
)  # fmt: skip

CHANGES = view(
    "customer_changes", "customer", "attribute_history",
    windowed("attributes_changed", "count", (90,), meaning="changes to the customer's record {window}",
                   high="More changes to the record {window} than for most", low="No change to the record {window}"),
    only=where("entity = 'customer'"),
)  # fmt: skip

VIEWS: tuple[View, ...] = (
    PROFILE, SUBSCRIPTIONS, ORDERS, USAGE, ENGAGEMENT, CASES, SURVEYS, LOYALTY, SERVICE, VEHICLES, CAMPAIGNS, CHANGES,
)  # fmt: skip
