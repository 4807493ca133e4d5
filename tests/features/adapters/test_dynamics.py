"""The tables of Dynamics 365 become tables in which nothing is known before the organisation knew it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features import ingest, quality
from features.catalog import Catalog
from features.errors import LeakageError, TableError
from features.settings import Settings, Workspace, parse_instant
from tests.features.adapters.crm import NOW, assert_same_past, csv, features_at, ingested, rows

LEADS = csv(
    "leadid,createdon,modifiedon,statecode,statuscode,leadsourcecode,isdelete",
    [
        ("l1", "2024-01-05T10:00:00Z", "2024-01-21T00:00:00Z", "1", "3", "8", "false"),
        ("l2", "2024-01-06T10:00:00Z", "2024-01-16T00:00:00Z", "2", "5", "1", "false"),
        ("l3", "2024-01-07T10:00:00Z", "2024-01-17T00:00:00Z", "0", "1", "1", "false"),
        ("l4", "2024-01-08T10:00:00Z", "2024-01-18T00:00:00Z", "Qualified", "3", "1", "false"),
        ("l5", "2024-01-08T10:00:00Z", "2024-01-18T00:00:00Z", "0", "1", "1", "true"),
    ],
)
ACCOUNTS = "accountid,createdon,merged\na1,2024-01-20T09:30:00Z,false\na2,2024-01-01T00:00:00Z,true\n"
OPPORTUNITIES = csv(
    "opportunityid,createdon,modifiedon,statecode,_parentaccountid_value,_originatingleadid_value,actualclosedate,actualvalue",
    [
        ("o1", "2024-01-20T09:30:00Z", "2024-05-01T00:00:00Z", "1", "a1", "l1", "2024-03-01", "900"),
        ("o2", "2024-02-20T09:30:00Z", "2024-04-01T00:00:00Z", "1", "a1", "", "2024-03-05", "70"),
        ("o3", "2024-02-20T09:30:00Z", "2024-04-01T00:00:00Z", "2", "a1", "", "2024-03-05", "70"),
    ],
)
AUDIT_CHANGE = json.dumps({"changedAttributes": [{"logicalName": "numberofemployees", "oldValue": "5", "newValue": "7"}]})
PERSONAL = json.dumps({"changedAttributes": [{"logicalName": "emailaddress1", "oldValue": None, "newValue": "a@example.org"}]})
AUDITS = "_objectid_value\tobjecttypecode\tcreatedon\tchangedata\n" + "".join(
    f'{entity}\t{kind}\t{at}\t"{change.replace(chr(34), chr(34) * 2)}"\n'
    for entity, kind, at, change in [
        ("l3", "lead", "2024-01-10T00:00:00Z", AUDIT_CHANGE),
        ("l3", "lead", "2024-01-11T00:00:00Z", PERSONAL),
        ("a1", "account", "2024-02-10T00:00:00Z", AUDIT_CHANGE),
        ("l5", "lead", "2024-01-10T00:00:00Z", AUDIT_CHANGE),
        ("x", "contact", "2024-01-10T00:00:00Z", AUDIT_CHANGE),
    ]
)
ACTIVITY = "activityid,regardingobjectid,createdon,statecode"
EXPORT = {
    "lead.csv": LEADS, "account.csv": ACCOUNTS, "opportunity.csv": OPPORTUNITIES, "audit.tsv": AUDITS,
    "contact.csv": "contactid,parentcustomerid\nk1,a1\nk2,a2\n",
    "opportunityclose.csv": "activityid,opportunityid,createdon,actualrevenue\nx1,o1,2024-03-02T15:00:00Z,800\n",
    "phonecall.csv": f"{ACTIVITY},directioncode,actualend\np1,l3,2024-01-08T08:00:00Z,1,false,2024-01-08T09:00:00Z\n"
                     "p2,l3,2024-01-08T08:00:00Z,0,true,\np3,k1,2024-02-08T08:00:00Z,1,true,2024-02-07T08:00:00Z\n"
                     "p4,k2,2024-02-08T08:00:00Z,1,true,2024-02-07T08:00:00Z\n",
    "email.csv": f"{ACTIVITY},directioncode\nm1,l3,2024-01-09T08:00:00Z,Completed,true\n",
    "task.csv": f"{ACTIVITY}\nt1,o1,2024-02-09T08:00:00Z,1\n",
    "appointment.csv": f"{ACTIVITY},scheduledstart\nap1,l3,2024-01-09T08:00:00Z,3,2024-01-12T08:00:00Z\n"
                       "ap2,l3,2024-01-09T08:00:00Z,2,2024-01-12T08:00:00Z\n",
    "incident.csv": "incidentid,customerid,createdon,modifiedon,statecode,casetypecode\n"
                    "i1,k1,2024-03-01T00:00:00Z,2024-03-03T00:00:00Z,1,2\ni2,a1,2024-03-02T00:00:00Z,2024-03-03T00:00:00Z,0,2\n",
    "stringmap.csv": csv(
        "objecttypecode,attributename,attributevalue,value",
        [
            ("lead", "leadsourcecode", "8", "Web"), ("account", "leadsourcecode", "1", "wrong"),
            ("lead", "statuscode", "5", "Cannot Contact"), ("incident", "casetypecode", "2", "Problem"),
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return ingested(tmp_path_factory.mktemp("dynamics"), "dynamics", EXPORT)


def test_a_lead_is_won_when_its_opportunity_is_made_and_otherwise_when_it_was_last_modified(organisation: Workspace) -> None:
    assert rows(organisation, "leads", "lead_id, converted_at, lost_at, lost_reason, lead_source") == [
        ("l1", "2024-01-20 09:30:00", None, None, "Web"),
        ("l2", None, "2024-01-16 00:00:00", "Cannot Contact", "1"),
        ("l3", None, None, None, "1"),
        ("l4", "2024-01-18 00:00:00", None, None, "1"),
    ]


def test_what_regards_somebody_counts_from_when_it_was_entered(organisation: Workspace) -> None:
    columns = "interaction_id, lead_id, customer_id, kind, direction, occurred_at, known_at"
    assert rows(organisation, "interactions", columns, "kind != 'opportunity'") == [
        ("ap1", "l3", None, "meeting", None, "2024-01-12 08:00:00", "2024-01-12 08:00:00"),
        ("m1", "l3", None, "sent", "outbound", "2024-01-09 08:00:00", "2024-01-09 08:00:00"),
        ("p1", "l3", None, "call", "inbound", "2024-01-08 09:00:00", "2024-01-08 09:00:00"),
        ("p3", None, "a1", "call", "outbound", "2024-02-07 08:00:00", "2024-02-08 08:00:00"),
        ("t1", None, "a1", "task", None, "2024-02-09 08:00:00", "2024-02-09 08:00:00"),
    ]


def test_an_order_is_known_once_it_is_closed_with_the_amount_of_then(organisation: Workspace) -> None:
    assert rows(organisation, "orders", "order_id, customer_id, amount, occurred_at, known_at") == [
        ("o1", "a1", 800, "2024-03-01 00:00:00", "2024-03-02 15:00:00"),
        ("o2", "a1", 70, "2024-03-05 00:00:00", "2024-04-01 00:00:00"),  # no closing: the amount is that of 1 April
    ]


def test_lines_of_an_opportunity_are_orders_of_their_own(tmp_path: Path) -> None:
    lines = csv(
        "opportunityproductid,opportunityid,extendedamount,quantity,modifiedon",
        [("q1", "o1", "5.5", "2", "2024-02-01"), ("q2", "o1", "6", "1", "2024-06-01"), ("q3", "o3", "7", "1", "")],
    )
    workspace = ingested(tmp_path, "dynamics", {**EXPORT, "opportunityproduct.csv": lines})
    assert rows(workspace, "orders", "order_id, amount, quantity, known_at", "order_id like 'q%' or order_id = 'o1'") == [
        ("q1", 5.5, 2, "2024-03-02 15:00:00"),
        ("q2", 6, 1, "2024-06-01 00:00:00"),
    ]


def test_a_case_of_a_contact_is_one_of_its_account(organisation: Workspace) -> None:
    assert rows(organisation, "cases", "case_id, customer_id, topic, closed_at") == [
        ("i1", "a1", "Problem", "2024-03-03 00:00:00"),
        ("i2", "a1", "Problem", None),
    ]


def test_the_audit_is_the_history(organisation: Workspace) -> None:
    assert rows(organisation, "attribute_history", "entity, entity_id, field, value, valid_from") == [
        ("customer", "a1", "numberofemployees", "7", "2024-02-10 00:00:00"),
        ("lead", "l3", "numberofemployees", "7", "2024-01-10 00:00:00"),
    ]
    as_ofs = ("2024-01-10", "2024-01-10T00:00:00.000001")
    before, after = [features_at(organisation, "lead", as_of).loc["l3", "lead_numberofemployees"] for as_of in as_ofs]
    assert before != before and after == 7


def test_an_export_of_later_shows_the_past_as_the_export_of_then(organisation: Workspace, tmp_path: Path) -> None:
    """Before anything was qualified, disqualified or won, but with what was entered until then."""
    as_of = "2024-01-13"
    leads = LEADS
    for state, reason in (("1", "3"), ("2", "5"), ("Qualified", "3")):
        leads = leads.replace(f",{state},{reason},", ",0,1,")
    entered = ("phonecall.csv", "email.csv", "appointment.csv", "stringmap.csv")
    audits = "".join(line for line in AUDITS.splitlines(keepends=True) if "2024-02" not in line)
    files = {name: EXPORT[name] for name in entered} | {"lead.csv": leads, "audit.tsv": audits}
    then = ingested(tmp_path, "dynamics", files, parse_instant(as_of))
    assert_same_past(then, organisation, "lead", as_of)


def test_deleted_and_merged_rows_are_nowhere(organisation: Workspace) -> None:
    for table in Catalog.load(organisation).tables:
        assert not {"l5", "a2"} & {str(value) for row in rows(organisation, table, "*") for value in row}


def test_quality_finds_nothing_wrong(organisation: Workspace) -> None:
    assert quality.check(organisation, NOW).errors == ()


def test_a_column_of_today_cannot_be_declared(tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="parentaccountid"):
        ingested(tmp_path, "dynamics", {"lead.csv": LEADS}, attributes={"leads": {"_parentaccountid_value": {"fixed": True}}})


def test_only_leads_are_enough(tmp_path: Path) -> None:
    assert set(Catalog.load(ingested(tmp_path, "dynamics", {"Lead.csv": "LeadId,CreatedOn\nl1,2024-01-05\n"})).tables) == {
        "leads"
    }


@pytest.mark.real_data
def test_the_sample_export_of_a_warehouse_is_refused_because_it_has_no_dates(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "crm_export_shapes" / "dbt_dynamics_365_crm"
    workspace = Workspace(tmp_path, Settings.model_validate({"adapter": "dynamics", "source": str(source)}))
    with pytest.raises(TableError, match="column createdon") as caught:
        ingest.run(workspace, NOW)
    assert caught.value.received == "columns accountid, name01, name02, name03"
