"""HubSpot's objects become tables in which every property has the value it had then."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import ingest, propensity, quality
from features.catalog import Catalog
from features.errors import LeakageError, TableError
from features.settings import Settings, Workspace, parse_instant
from tests.features.adapters.crm import (
    NOW,
    assert_same_past,
    csv,
    features_at,
    ingested,
    instants,
    known_too_early,
    reversed_rows,
    rows,
    rows_until,
)

CONTACT = (
    "id,is_deleted,property_createdate,property_email,property_hs_merged_object_ids,property_hs_object_source,"
    "property_hubspotscore"
)
CONTACTS = csv(
    CONTACT,
    [
        ("1", "false", "2024-01-01T08:00:00Z", "a@example.org", "", "FORM", "90"),
        ("2", "false", "2024-01-02T08:00:00Z", "b@example.org", "22;23", "IMPORT", "10"),
        ("3", "true", "2024-01-02T08:00:00Z", "c@example.org", "", "FORM", "10"),
        ("22", "false", "2024-01-03T08:00:00Z", "d@example.org", "", "FORM", "10"),
        ("4", "false", "2024-01-04T08:00:00Z", "", "", "FORM", "10"),
    ],
)
PROPERTY = "contact_id,name,value,timestamp,source"
PROPERTIES = csv(
    PROPERTY,
    [
        ("1", "lifecyclestage", "lead", "2024-01-01T08:00:00Z", "FORM"),
        ("1", "hubspotscore", "20", "2024-01-01T08:00:00Z", "CALCULATED"),
        ("1", "hubspotscore", "90", "2024-01-20T08:00:00Z", "CALCULATED"),
        ("1", "lifecyclestage", "customer", "2024-01-20T09:00:00Z", "DEALS"),
        ("1", "lifecyclestage", "customer", "2024-02-20T09:00:00Z", "IMPORT"),
        ("1", "email", "a@example.org", "2024-01-01T08:00:00Z", "FORM"),
        ("2", "hs_lead_status", "NEW", "2024-01-02T08:00:00Z", "CRM_UI"),
        ("2", "hs_lead_status", "UNQUALIFIED", "2024-01-09T00:00:00Z", "CRM_UI"),
        ("2", "hs_lead_status", "OPEN", "2024-01-12T00:00:00Z", "CRM_UI"),
        ("3", "hubspotscore", "5", "2024-01-02T08:00:00Z", "CALCULATED"),
        ("22", "jobtitle", "buyer", "2024-01-03T08:00:00Z", "FORM"),
        ("4", "hubspotscore", "7", "2024-01-04T08:00:00Z", "CALCULATED"),
    ],
)
MERGES = "canonical_vid,vid_to_merge,timestamp\n2,22,2024-01-15T00:00:00Z\n"
COMPANIES = (
    "id,is_deleted,property_createdate,property_industry\n51,false,2024-01-10T00:00:00Z,CARS\n52,true,2024-01-10T00:00:00Z,CARS\n"
)
COMPANY_PROPERTIES = (
    "company_id,name,value,timestamp\n51,industry,BOATS,2024-01-10T00:00:00Z\n51,industry,CARS,2024-02-10T00:00:00Z\n"
)
DEAL = (
    "deal_id,is_deleted,property_createdate,property_closedate,property_amount,deal_pipeline_stage_id,"
    "property_hs_lastmodifieddate"
)
DEALS = csv(
    DEAL,
    [
        ("71", "false", "2024-01-15T00:00:00Z", "2024-01-20T09:00:00Z", "900", "won", "2024-06-01T00:00:00Z"),
        ("72", "false", "2024-01-15T00:00:00Z", "2024-02-20T09:00:00Z", "100", "won", "2024-03-01T00:00:00Z"),
        ("73", "false", "2024-01-15T00:00:00Z", "2024-02-20T09:00:00Z", "100", "lost", "2024-03-01T00:00:00Z"),
        ("74", "true", "2024-01-15T00:00:00Z", "2024-02-20T09:00:00Z", "100", "won", "2024-03-01T00:00:00Z"),
        ("75", "false", "2024-01-15T00:00:00Z", "2024-02-20T09:00:00Z", "100", "won", "2024-03-01T00:00:00Z"),
    ],
)
DEAL_PROPERTIES = csv(
    "deal_id,name,value,timestamp",
    [
        ("71", "dealstage", "open", "2024-01-15T00:00:00Z"),
        ("71", "amount", "700", "2024-01-15T00:00:00Z"),
        ("71", "amount", "800", "2024-01-20T08:59:00Z"),
        ("71", "dealstage", "won", "2024-01-20T09:00:01Z"),
        ("71", "amount", "900", "2024-05-01T00:00:00Z"),
    ],
)
CALLS = csv(
    "engagement_id,_fivetran_deleted,property_hs_createdate,property_hs_timestamp,property_hs_call_direction",
    [
        ("91", "false", "2024-01-06T10:00:00Z", "2024-01-05T10:00:00Z", "INBOUND"),
        ("92", "true", "2024-01-06T10:00:00Z", "2024-01-05T10:00:00Z", "INBOUND"),
        ("93", "false", "2024-01-06T10:00:00Z", "2024-01-06T10:00:00Z", "OUTBOUND"),
    ],
)
EXPORT = {
    "contact.csv": CONTACTS, "contact_property_history.csv": PROPERTIES, "contact_merge_audit.csv": MERGES,
    "company.csv": COMPANIES, "company_property_history.csv": COMPANY_PROPERTIES, "deal.csv": DEALS,
    "deal_property_history.csv": DEAL_PROPERTIES,
    "deal_pipeline_stage.csv": "stage_id,closed_won\nopen,false\nwon,true\nlost,false\n",
    "deal_company.csv": "deal_id,company_id,type_id\n71,51,5\n72,51,5\n73,51,5\n74,51,5\n75,51,5\n71,52,341\n",
    "merged_deal.csv": "deal_id,merged_deal_id\n72,75\n", "engagement_call.csv": CALLS,
    "engagement_contact.csv": "engagement_id,contact_id\n91,1\n92,1\n93,22\n93,3\n",
    "engagement_company.csv": "engagement_id,company_id\n91,51\n",
    "email_event.csv": csv(
        "id,type,created,recipient,filtered_event,email_campaign_id",
        [
            ("e1", "SENT", "2024-01-07T00:00:00Z", "A@example.org", "false", "c9"),
            ("e2", "OPEN", "2024-01-07T01:00:00Z", "a@example.org", "false", "c9"),
            ("e3", "OPEN", "2024-01-07T01:00:00Z", "a@example.org", "true", "c9"),
            ("e4", "OPEN", "2024-01-07T01:00:00Z", "nobody@example.org", "false", "c9"),
            ("e5", "STATUSCHANGE", "2024-01-08T01:00:00Z", "a@example.org", "false", ""),
        ],
    ),
    "email_event_status_change.csv": "id,portal_subscription_status\ne5,UNSUBSCRIBED\n",
    "contact_form_submission.csv": "contact_id,form_id,timestamp,conversion_id\n1,f1,2024-01-01T08:00:00Z,v1\n",
    "ticket.csv": "id,property_createdate,property_closed_date,property_hs_ticket_category,is_deleted\n"
                  "81,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,BILLING,false\n82,2024-03-01T00:00:00Z,,BILLING,true\n",
    "ticket_company.csv": "ticket_id,company_id\n81,51\n82,51\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return ingested(tmp_path_factory.mktemp("hubspot"), "hubspot", EXPORT)


def test_a_contact_is_won_when_its_lifecycle_stage_first_becomes_customer(portal: Workspace) -> None:
    assert rows(portal, "leads", "lead_id, converted_at, object_source", "known_until is null") == [
        ("1", "2024-01-20 09:00:00", "FORM"),
        ("2", None, "IMPORT"),
        ("4", None, "FORM"),
    ]


def test_without_a_history_the_date_of_the_lifecycle_stage_tells(tmp_path: Path) -> None:
    contacts = (
        "id,createdate,hs_lifecyclestage_customer_date\n1,2024-01-01T08:00:00Z,2024-01-20T09:00:00Z\n2,2024-01-01T08:00:00Z,\n"
    )
    workspace = ingested(tmp_path, "hubspot", {"contacts.csv": contacts})
    assert rows(workspace, "leads", "lead_id, converted_at") == [("1", "2024-01-20 09:00:00"), ("2", None)]


def test_a_contact_that_was_given_up_and_taken_up_again_is_both_in_turn(portal: Workspace) -> None:
    assert rows(portal, "leads", "known_at, lost_at", "lead_id = '2'") == [
        ("2024-01-02 08:00:00", None),
        ("2024-01-09 00:00:00", "2024-01-09 00:00:00"),
        ("2024-01-12 00:00:00", None),
    ]


def test_what_a_contact_was_before_it_was_made_is_known_when_it_is(tmp_path: Path) -> None:
    """An import may date a property before the contact itself."""
    history = csv(
        PROPERTY, [("1", "hs_lead_status", value, at, "") for value, at in (("NEW", "2023"), ("UNQUALIFIED", "2023-02-01"))]
    )
    files = {"contact.csv": CONTACTS, "contact_property_history.csv": history.replace("2023,", "2023-01-01,")}
    made = "2024-01-01 08:00:00"
    assert rows(ingested(tmp_path, "hubspot", files), "leads", "known_at, lost_at", "lead_id = '1'") == [(made, made)]


def test_a_property_has_the_value_of_then_before_and_after_each_change(portal: Workspace) -> None:
    as_ofs = ("2024-01-20T08", "2024-01-20T08:00:00.000001")
    assert [features_at(portal, "lead", as_of).loc["1", "lead_hubspotscore"] for as_of in as_ofs] == [20, 90]
    as_ofs = ("2024-02-10", "2024-02-10T00:00:00.000001")
    assert [features_at(portal, "customer", as_of).loc["51", "customer_industry"] for as_of in as_ofs] == ["BOATS", "CARS"]


def test_what_names_a_person_and_who_is_deleted_have_no_history(portal: Workspace) -> None:
    history = rows(portal, "attribute_history", "distinct entity, entity_id, field")
    assert ("lead", "1", "email") not in history and "3" not in {entity_id for _, entity_id, _ in history}


def test_numbers_and_further_addresses_of_a_person_have_no_history(tmp_path: Path) -> None:
    names = ("hs_calculated_phone_number", "mobilephone", "hs_calculated_mobile_number", "hs_additional_emails", "num_visits")
    history = csv(PROPERTY, [("1", name, "v", "2024-01-02", "") for name in names])
    workspace = ingested(tmp_path, "hubspot", {"contact.csv": CONTACTS, "contact_property_history.csv": history})
    assert rows(workspace, "attribute_history", "field") == [("num_visits",)]


def test_a_contact_that_was_merged_away_counts_for_the_other_from_the_merge_on(portal: Workspace) -> None:
    merged = "2024-01-15 00:00:00"
    assert rows(portal, "attribute_history", "entity_id, value, valid_from, known_at", "field = 'jobtitle'") == [
        ("2", "buyer", "2024-01-03 08:00:00", merged)
    ]
    assert rows(portal, "interactions", "lead_id, occurred_at, known_at", "kind = 'call' and direction = 'outbound'") == [
        ("2", "2024-01-06 10:00:00", merged)
    ]


def test_a_chain_of_merges_ends_at_the_last_contact_and_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """1 into 2 into 3; call 93 is associated with 2 still, and with 3 since."""
    day = "2024-01-0{}T00:00:00Z".format
    files = {
        "contact.csv": csv("id,property_createdate,property_email", [(n, day(1), f"{n}@example.org") for n in "123"]),
        "contact_merge_audit.csv": "canonical_vid,vid_to_merge,timestamp\n3,2,2024-03-01\n2,1,2024-02-01\n",
        "contact_property_history.csv": csv(PROPERTY, [(n, "jobtitle", f"job {n}", day(n), "") for n in "123"]),
        "engagement_call.csv": csv("engagement_id,property_hs_createdate", [(f"9{n}", day(n)) for n in "123"]),
        "engagement_contact.csv": "engagement_id,contact_id\n91,1\n92,2\n93,2\n93,3\n",
        "email_event.csv": csv("id,type,created,recipient", [(f"e{n}", "OPEN", day(n), f"{n}@example.org") for n in "123"]),
        "contact_form_submission.csv": "contact_id,form_id,timestamp\n1,f,2024-01-09\n3,f,2024-01-09\n",
    }
    workspace, merged = ingested(tmp_path, "hubspot", files), "2024-03-01 00:00:00"
    assert rows(workspace, "leads", "lead_id") == [("3",)]
    assert rows(workspace, "attribute_history", "entity_id, value, known_at") == [
        ("3", "job 1", merged), ("3", "job 2", merged), ("3", "job 3", "2024-01-03 00:00:00"),
    ]  # fmt: skip
    assert rows(workspace, "interactions", "interaction_id, lead_id, known_at") == [
        ("email-e1", "3", merged), ("email-e2", "3", merged), ("email-e3", "3", "2024-01-03 00:00:00"),
        ("engagement-91-3", "3", merged), ("engagement-92-3", "3", merged), ("engagement-93-3", "3", merged),
        ("form-f-3-2024-01-09", "3", merged),
    ]  # fmt: skip


def test_contacts_are_known_when_they_were_logged(portal: Workspace) -> None:
    columns = "interaction_id, lead_id, customer_id, kind, direction, campaign, occurred_at, known_at"
    assert rows(portal, "interactions", columns, "lead_id is distinct from '2'") == [
        ("email-e1", "1", None, "sent", "outbound", "c9", "2024-01-07 00:00:00", "2024-01-07 00:00:00"),
        ("email-e2", "1", None, "open", "inbound", "c9", "2024-01-07 01:00:00", "2024-01-07 01:00:00"),
        ("email-e5", "1", None, "unsubscribe", "inbound", None, "2024-01-08 01:00:00", "2024-01-08 01:00:00"),
        ("engagement-91-1", "1", None, "call", "inbound", None, "2024-01-05 10:00:00", "2024-01-06 10:00:00"),
        ("engagement-91-company-51", None, "51", "call", "inbound", None, "2024-01-05 10:00:00", "2024-01-06 10:00:00"),
        ("form-v1", "1", None, "form", "inbound", None, "2024-01-01 08:00:00", "2024-01-01 08:00:00"),
    ]


def test_an_order_is_known_once_it_is_won_with_the_amount_of_then(portal: Workspace) -> None:
    assert rows(portal, "orders", "order_id, customer_id, amount, occurred_at, known_at") == [
        ("71", "51", 800, "2024-01-20 09:00:00", "2024-01-20 09:00:01"),
        ("72", "51", 100, "2024-02-20 09:00:00", "2024-03-01 00:00:00"),  # no history: the amount is that of 1 March
    ]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_known_before_the_export_says_so(tmp_path: Path, seed: int) -> None:
    logged = [(f"9{n}", *two) for n, two in enumerate(instants(seed, 60, 2))]
    deals = [(f"7{n}", made, close, edited, "won", "5") for n, (made, close, edited) in enumerate(instants(seed, 60, 3))]
    files = {
        "contact.csv": csv("id,property_createdate", [(f"1{n}", made) for n, (made,) in enumerate(instants(seed, 60, 1))]),
        "contact_property_history.csv": csv(
            PROPERTY, [(f"1{n}", "jobtitle", f"v{n}", at, "") for n, (at,) in enumerate(instants(seed + 9, 60, 1))]
        ),
        "company.csv": "id,property_createdate\n51,2024-01-01T00:00:00Z\n",
        "engagement_call.csv": csv("engagement_id,property_hs_createdate,property_hs_timestamp", logged),
        "engagement_contact.csv": csv("engagement_id,contact_id", [(call[0], "11") for call in logged]),
        "deal.csv": csv(
            "deal_id,property_createdate,property_closedate,property_hs_lastmodifieddate,deal_pipeline_stage_id,property_amount",
            deals,
        ),
        "deal_company.csv": csv("deal_id,company_id", [(deal[0], "51") for deal in deals]),
        "deal_pipeline_stage.csv": "stage_id,closed_won\nwon,true\n",
    }
    workspace = ingested(tmp_path, "hubspot", files)
    assert known_too_early(workspace, "leads", "contact.csv", "id = lead_id", "property_createdate") == (60, 0)
    assert known_too_early(
        workspace,
        "attribute_history",
        "contact_property_history.csv",
        "name = field and delivered.value = stored.value",
        '"timestamp"',
    ) == (60, 0)
    by_id, times = "interaction_id = 'engagement-' || engagement_id || '-11'", "property_hs_createdate, property_hs_timestamp"
    assert known_too_early(workspace, "interactions", "engagement_call.csv", by_id, times) == (60, 0)
    times = "property_createdate, property_closedate, property_hs_lastmodifieddate"
    assert known_too_early(workspace, "orders", "deal.csv", "deal_id = order_id", times) == (60, 0)


def test_a_ticket_is_a_case_of_its_company(portal: Workspace) -> None:
    assert rows(portal, "cases", "case_id, customer_id, topic, closed_at") == [("81", "51", "BILLING", "2024-03-02 00:00:00")]


def test_the_order_of_rows_makes_no_difference_even_where_two_have_one_instant(tmp_path: Path) -> None:
    tie = "71,amount,850,2024-01-20T08:59:00Z\n"
    files = {**EXPORT, "deal_property_history.csv": DEAL_PROPERTIES + tie}
    one, other = (ingested(tmp_path / name, "hubspot", export) for name, export in (("a", files), ("b", reversed_rows(files))))
    assert Catalog.load(one).version == Catalog.load(other).version


def test_quality_finds_nothing_wrong(portal: Workspace) -> None:
    assert quality.check(portal, NOW).errors == ()


def test_churn_and_growth_are_asked_of_what_the_export_tells(portal: Workspace) -> None:
    assert propensity.load(portal, "churn").outcome.source == "orders"
    assert propensity.load(portal, "upsell").outcome.source == "orders"


@pytest.mark.parametrize("column", ["property_hubspotscore", "property_lifecyclestage", "property_num_notes"])
def test_a_property_of_today_cannot_be_declared(tmp_path: Path, column: str) -> None:
    with pytest.raises(LeakageError, match=column):
        ingested(tmp_path, "hubspot", {"contact.csv": CONTACTS}, attributes={"leads": {column: {"fixed": True}}})


def test_a_property_of_today_has_the_prefix_whether_the_file_gives_it_one_or_not(tmp_path: Path) -> None:
    files = {
        "contact.csv": "id,createdate,Total_Revenue,my_column\n1,2024-01-01,5,a\n2,2024-01-01,6,b\n",
        "company.csv": "id,createdate,known_at,my_column\n5,2024-01-01,2020-01-01,a\n",
    }
    for name, error in (("property_total_revenue", LeakageError), ("total_revenue", TableError)):
        with pytest.raises(error, match=name):
            ingested(tmp_path, "hubspot", files, attributes={"leads": {name: {"fixed": True}}})
    fixed = {"property_my_column": {"fixed": True}}
    workspace = ingested(tmp_path, "hubspot", files, attributes={"leads": fixed, "customers": fixed})
    assert rows(workspace, "leads", "lead_id, property_my_column") == [("1", "a"), ("2", "b")]
    assert rows(workspace, "customers", "customer_id, property_my_column, known_at") == [("5", "a", "2024-01-01 00:00:00")]


def test_columns_without_the_prefix_are_the_same(portal: Workspace, tmp_path: Path) -> None:
    files = {name: text.replace("property_createdate", "createdate") for name, text in EXPORT.items()}
    assert Catalog.load(ingested(tmp_path, "hubspot", files)).version == Catalog.load(portal).version


def test_a_wrong_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column property_createdate") as caught:
        ingested(tmp_path, "hubspot", {"contact.csv": "id,property_created\n1,2024-01-01\n"})
    assert "rename `property_created`" in caught.value.repair
    with pytest.raises(TableError, match="an empty file"):
        ingested(tmp_path, "hubspot", {"contact.csv": ""})


TIMES = {
    "contact": "property_createdate", "contact_property_history": "timestamp", "contact_merge_audit": "timestamp",
    "company": "property_createdate", "company_property_history": "timestamp", "deal_property_history": "timestamp",
    "engagement_call": "property_hs_createdate", "email_event": "created", "contact_form_submission": "timestamp",
}  # fmt: skip


def test_an_export_of_later_shows_the_past_as_the_export_of_then(tmp_path: Path) -> None:
    """But for merges: who was merged since is missing from the past."""
    contacts = [line.replace("22;23", "") for line in CONTACTS.splitlines() if not line.startswith("22")]
    late = {name: text for name, text in EXPORT.items() if not name.startswith(("ticket", "merged", "contact_merge"))}
    late |= {"contact.csv": "\n".join(contacts) + "\n", "deal.csv": "\n".join(DEALS.splitlines()[:2]) + "\n"}
    since = ingested(tmp_path / "late", "hubspot", late)
    for as_of in ("2024-01-10", "2024-01-19", "2024-01-21"):
        early = {name: rows_until(text, as_of, TIMES[name[:-4]]) if name[:-4] in TIMES else text for name, text in late.items()}
        if as_of < "2024-01-20":
            early["deal.csv"] = early["deal.csv"].replace("won", "open")
        then = ingested(tmp_path / as_of, "hubspot", early, parse_instant(as_of))
        for entity in ("lead", "customer") if Catalog.load(then).has("customers") else ("lead",):
            assert_same_past(then, since, entity, as_of)


@pytest.mark.real_data
def test_the_sample_export_of_a_warehouse_goes_through(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "crm_export_shapes" / "dbt_hubspot"
    workspace = Workspace(tmp_path, Settings.model_validate({"adapter": "hubspot", "source": str(source)}))
    catalog = ingest.run(workspace, NOW)
    assert set(catalog.tables) == {"leads", "customers", "attribute_history"}
    assert rows(workspace, "leads", "count(*), min(created_at)") == [(19, "2020-05-22 16:46:41")]
    assert rows(workspace, "leads", "lead_id", "lead_id in ('78971951', '76340251', '46897301', '76226001')") == [("78971951",)]
    assert rows(workspace, "customers", "customer_id, created_at", "customer_id = '2182162682'") == [
        ("2182162682", "2019-07-05 20:35:26")
    ]
    history = rows(workspace, "attribute_history", "entity, value, valid_from, known_at", "entity_id = '860870157'")
    assert ("customer", "78C6JDtYlyhlUUlL/HhIFg==", "2020-03-02 18:00:04.530000", "2020-03-02 18:00:04.530000") in history
    assert quality.check(workspace, NOW).errors == ()
    assert len(features_at(workspace, "customer", "2019-08-01")) == len(
        rows(workspace, "customers", "customer_id", "known_at < timestamp '2019-08-01'")
    )
