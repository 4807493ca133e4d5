"""Salesforce's objects become tables in which nothing is known before the org knew it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from features import ingest, propensity, quality, snapshot
from features.catalog import Catalog
from features.cohort import cohort
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
from training.label import labels

LEAD = "Id,CreatedDate,IsDeleted,IsConverted,ConvertedDate,ConvertedContactId,LeadSource,Status,Rating,Region__c"
LEADS = csv(
    LEAD,
    [
        ("00Q1", "2024-01-05T10:00:00.000+0000", "false", "true", "2024-01-20", "0031", "Web", "Closed - Converted", "Hot", "no"),
        ("00Q2", "2024-01-06T10:00:00Z", "false", "false", "", "", "Referral", "Working", "", "south"),
        ("00Q3", "2024-01-01T10:00:00Z", "true", "false", "", "", "Web", "Open", "", "south"),
        ("00Q4", "2024-01-07T10:00:00Z", "false", "false", "", "", "Web", "Working", "", "south"),
        ("00Q5", "2024-01-08T10:00:00Z", "false", "true", "2024-01-08", "", "Web", "Closed - Converted", "", "south"),
    ],
)  # fmt: skip
HISTORY = "LeadId,Field,OldValue,NewValue,CreatedDate"
LEAD_HISTORY = csv(
    HISTORY,
    [
        ("00Q3", "Status", "New", "Open", "2024-01-02T00:00:00Z"),
        ("00Q1", "Status", "Open", "Working", "2024-01-08T12:00:00Z"),
        ("00Q1", "Status", "Working", "Closed - Converted", "2024-01-20T09:30:00Z"),
        ("00Q1", "leadConverted", "", "", "2024-01-20T09:30:00Z"),
        ("00Q1", "Email", "", "somebody@example.org", "2024-01-09T12:00:00Z"),
        ("00Q2", "LeadSource", "Web", "Referral", "2024-01-10T00:00:00Z"),
        ("00Q4", "Status", "Open", "Unqualified", "2024-01-15T00:00:00Z"),
        ("00Q4", "Status", "Unqualified", "Working", "2024-01-18T00:00:00Z"),
    ],
)
TASK = "Id,WhoId,AccountId,CreatedDate,ActivityDate,CompletedDateTime,IsClosed,TaskSubtype,CallType,IsDeleted"
TASKS = csv(
    TASK,
    [
        ("00T1", "0031", "0011", "2024-01-07T08:00:00Z", "", "2024-01-07T09:00:00Z", "true", "Call", "Outbound", "false"),
        ("00T2", "0031", "0011", "2024-02-01T08:00:00Z", "2024-01-31", "", "true", "Email", "", "false"),
        ("00T3", "00Q2", "", "2024-01-08T08:00:00Z", "2024-03-01", "", "false", "Call", "", "false"),
        ("00T4", "00Q2", "", "2024-01-08T08:00:00Z", "", "", "true", "Call", "Inbound", "true"),
    ],
)  # fmt: skip
EVENTS = "Id,WhoId,CreatedDate,StartDateTime,Type\n00U1,00Q2,2024-01-09T08:00:00Z,2024-01-12T08:00:00Z,Meeting\n"
ACCOUNTS = (
    "Id,CreatedDate,IsDeleted,Industry\n0011,2024-01-20T09:30:00Z,false,Cars\n0012,2024-01-01T00:00:00Z,true,Cars\n"
    "0013,2024-01-02T00:00:00Z,false,Boats\n"
)
CONTACTS = "Id,AccountId\n0031,0011\n"
OPPORTUNITY = "Id,AccountId,CreatedDate,CloseDate,IsWon,IsDeleted,StageName,Amount,LastModifiedDate"
OPPORTUNITIES = csv(
    OPPORTUNITY,
    [
        ("0061", "0011", "2024-02-01T00:00:00Z", "2024-03-01", "true", "false", "Closed Won", "900", "2024-06-01T00:00:00Z"),
        ("0062", "0013", "2024-02-01T00:00:00Z", "2024-03-05", "true", "false", "Closed Won", "70", "2024-04-01T00:00:00Z"),
        ("0063", "0013", "2024-02-02T00:00:00Z", "2024-03-05", "false", "false", "Closed Lost", "70", "2024-04-01T00:00:00Z"),
        ("0064", "0013", "2024-02-03T00:00:00Z", "2024-03-05", "true", "true", "Closed Won", "70", "2024-04-01T00:00:00Z"),
        ("0065", "0013", "2024-02-04T12:00:00Z", "2024-02-04", "true", "false", "Closed Won", "30", "2024-02-04T13:00:00Z"),
    ],
)  # fmt: skip
OPPORTUNITY_HISTORY = csv(
    "OpportunityId,StageName,Amount,CreatedDate",
    [
        ("0061", "Prospecting", "500", "2024-02-01T00:00:00Z"),
        ("0061", "Closed Won", "800", "2024-03-02T15:00:00Z"),
        ("0061", "Closed Won", "900", "2024-05-01T00:00:00Z"),
    ],
)
LINES = csv(
    "Id,OpportunityId,Product2Id,Quantity,TotalPrice,CreatedDate,LastModifiedDate,IsDeleted",
    [
        ("00k1", "0065", "01t1", "2", "20", "2024-02-04T12:10:00Z", "2024-02-04T12:10:00Z", "false"),
        ("00k2", "0065", "01t1", "1", "10", "2024-02-04T12:10:00Z", "2024-02-10T00:00:00Z", "false"),
        ("00k3", "0065", "01t1", "1", "99", "2024-02-04T12:10:00Z", "2024-02-10T00:00:00Z", "true"),
    ],
)
CONTRACTS = csv(
    "Id,AccountId,CreatedDate,ActivatedDate,StartDate,EndDate,IsDeleted",
    [
        ("8001", "0011", "2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z", "2024-02-01", "2024-06-30", "false"),
        ("8002", "0011", "2024-06-20T00:00:00Z", "2024-06-21T00:00:00Z", "2024-07-01", "2024-09-30", "false"),
        ("8003", "0011", "2024-10-20T00:00:00Z", "2024-10-21T00:00:00Z", "2024-10-01", "", "false"),
        ("8004", "0013", "2024-02-01T00:00:00Z", "", "2024-02-01", "", "false"),
    ],
)
EXPORT = {
    "Lead.csv": LEADS, "LeadHistory.csv": LEAD_HISTORY, "Task.csv": TASKS, "Event.csv": EVENTS, "Account.csv": ACCOUNTS,
    "Contact.csv": CONTACTS, "Opportunity.csv": OPPORTUNITIES, "OpportunityHistory.csv": OPPORTUNITY_HISTORY,
    "OpportunityLineItem.csv": LINES, "Product2.csv": "Id,Family\n01t1,Wheels\n", "Contract.csv": CONTRACTS,
}  # fmt: skip


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return ingested(tmp_path_factory.mktemp("salesforce"), "salesforce", EXPORT)


def test_a_lead_is_converted_at_the_instant_its_history_tells_and_otherwise_on_the_day(org: Workspace) -> None:
    assert rows(org, "leads", "lead_id, converted_at", "known_until is null") == [
        ("00Q1", "2024-01-20 09:30:00"),
        ("00Q2", None),
        ("00Q4", None),
        ("00Q5", "2024-01-08 10:00:00"),  # midnight of the day would be before it was made
    ]


def test_a_lead_that_was_given_up_and_taken_up_again_is_both_in_turn(org: Workspace) -> None:
    assert rows(org, "leads", "known_at, lost_at", "lead_id = '00Q4'") == [
        ("2024-01-07 10:00:00", None),
        ("2024-01-15 00:00:00", "2024-01-15 00:00:00"),
        ("2024-01-18 00:00:00", None),
    ]
    as_ofs = ("2024-01-15", "2024-01-15T00:00:00.000001", "2024-01-18", "2024-01-18T00:00:00.000001")
    assert [features_at(org, "lead", as_of).loc["00Q4", "lead_is_open"] for as_of in as_ofs] == [1, 0, 0, 1]


def test_a_lead_that_was_given_up_in_the_second_it_was_made_is_one_row(tmp_path: Path) -> None:
    history = csv(HISTORY, [("00Q4", "Status", "New", "Unqualified", "2024-01-07T10:00:00Z")])
    workspace = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "LeadHistory.csv": history})
    given_up = "2024-01-07 10:00:00"
    assert rows(workspace, "leads", "known_at, lost_at", "lead_id = '00Q4'") == [(given_up, given_up)]


def test_a_blank_is_missing(tmp_path: Path) -> None:
    leads = 'Id,CreatedDate,ConvertedDate,LeadSource\n00Q1,2024-01-05,"", \n'
    assert rows(ingested(tmp_path, "salesforce", {"Lead.csv": leads}), "leads", "converted_at, lead_source") == [(None, None)]


def test_a_lead_s_source_is_that_of_its_creation(org: Workspace) -> None:
    assert rows(org, "leads", "lead_id, lead_source", "lead_id < '00Q3'") == [("00Q1", "Web"), ("00Q2", "Web")]


def test_a_tracked_field_has_the_value_of_then_before_and_after_each_change(org: Workspace) -> None:
    history = "entity_id, value, valid_from"
    assert rows(org, "attribute_history", history, "entity = 'lead' and field = 'status'") == [
        ("00Q1", "Closed - Converted", "2024-01-20 09:30:00"),
        ("00Q1", "Open", "2024-01-05 10:00:00"),
        ("00Q1", "Working", "2024-01-08 12:00:00"),
        ("00Q2", "Working", "2024-01-06 10:00:00"),  # never changed since it was made
        ("00Q4", "Open", "2024-01-07 10:00:00"),
        ("00Q4", "Unqualified", "2024-01-15 00:00:00"),
        ("00Q4", "Working", "2024-01-18 00:00:00"),
        ("00Q5", "Closed - Converted", "2024-01-08 10:00:00"),
    ]
    at = [features_at(org, "lead", as_of).loc["00Q1", "lead_status"] for as_of in ("2024-01-08T12", "2024-01-08T12:00:00.000001")]
    assert at == ["Open", "Working"]


def test_a_field_without_a_history_and_what_names_a_person_are_no_attribute(org: Workspace) -> None:
    fields = {row[0] for row in rows(org, "attribute_history", "distinct field")}
    assert fields == {"status", "lead_source"}
    assert features_at(org, "lead", "2024-03-01")["lead_rating"].isna().all()


def test_a_status_that_the_conversion_set_without_an_entry_is_claimed_for_nobody(tmp_path: Path) -> None:
    """Today's status would tell the conversion, and a status only of those that were not converted would too."""
    silent = "".join(line for line in LEAD_HISTORY.splitlines(keepends=True) if not line.startswith("00Q1,Status"))
    workspace = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "LeadHistory.csv": silent})
    assert rows(workspace, "attribute_history", "entity_id, value, valid_from", "field = 'status'") == [
        ("00Q4", "Unqualified", "2024-01-15 00:00:00"),
        ("00Q4", "Working", "2024-01-18 00:00:00"),
    ]


def test_before_tracking_began_nothing_is_claimed(tmp_path: Path) -> None:
    """The first entry of anybody tells since when changes were recorded: an older lead's value is not known before it."""
    history = csv(
        HISTORY, [("00Q4", "Rating", "Cold", "Hot", "2024-02-01T00:00:00Z"), ("00Q4", "Rating", "Hot", "", "2024-02-02")]
    )
    lone = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "LeadHistory.csv": history})
    assert rows(lone, "attribute_history", "entity_id, value, valid_from") == [
        ("00Q1", "Hot", "2024-02-01 00:00:00"),
        ("00Q2", None, "2024-02-01 00:00:00"),
        ("00Q4", "Hot", "2024-02-01 00:00:00"),
        ("00Q4", None, "2024-02-02 00:00:00"),
        ("00Q5", None, "2024-02-01 00:00:00"),
    ]


def test_activities_that_moved_to_the_contact_are_given_back_to_the_lead(org: Workspace) -> None:
    columns = "interaction_id, lead_id, customer_id, kind, direction, occurred_at, known_at"
    assert rows(org, "interactions", columns, "interaction_id like '00T%' or interaction_id like '00U%'") == [
        ("00T1", "00Q1", None, "call", "outbound", "2024-01-07 09:00:00", "2024-01-07 09:00:00"),
        ("00T2", None, "0011", "sent", None, "2024-01-31 00:00:00", "2024-02-01 08:00:00"),
        ("00U1", "00Q2", None, "meeting", None, "2024-01-12 08:00:00", "2024-01-12 08:00:00"),
    ]
    opened = rows(org, "interactions", "interaction_id", "kind = 'opportunity'")
    assert opened == [("0061",), ("0062",), ("0063",), ("0065",)]


def test_campaigns_that_moved_to_the_contact_are_given_back_to_the_lead(tmp_path: Path) -> None:
    members = csv(
        "Id,CampaignId,LeadId,ContactId,CreatedDate,FirstRespondedDate",
        [
            ("m1", "701", "", "0031", "2024-01-10T00:00:00Z", "2024-01-12"),
            ("m2", "701", "00Q1", "0031", "2024-01-11T00:00:00Z", ""),
            ("m3", "702", "", "0031", "2024-03-01T00:00:00Z", ""),
            ("m4", "702", "00Q3", "", "2024-03-01T00:00:00Z", ""),
        ],
    )
    files = {**EXPORT, "CampaignMember.csv": members, "Campaign.csv": "Id,Name\n701,Fair\n"}
    workspace = ingested(tmp_path, "salesforce", files)
    assert rows(workspace, "campaign_members", "campaign_member_id, lead_id, customer_id, campaign, responded_at") == [
        ("m1", "00Q1", None, "Fair", "2024-01-12 23:59:59.999999"),
        ("m2", "00Q1", None, "Fair", None),
        ("m3", None, "0011", "702", None),
    ]


def test_activities_are_given_back_where_only_the_last_modification_tells_of_the_conversion(tmp_path: Path) -> None:
    files = {
        "Lead.csv": "Id,CreatedDate,IsConverted,ConvertedContactId,LastModifiedDate\n00Q1,2024-01-05,true,0031,2024-01-20\n",
        "Account.csv": ACCOUNTS, "Contact.csv": CONTACTS, "Task.csv": TASKS,
        "CampaignMember.csv": "Id,CampaignId,ContactId,CreatedDate\nm1,701,0031,2024-01-06\n",
    }  # fmt: skip
    workspace = ingested(tmp_path, "salesforce", files)
    assert rows(workspace, "interactions", "interaction_id, lead_id, customer_id") == [
        ("00T1", "00Q1", None),
        ("00T2", None, "0011"),
    ]
    assert rows(workspace, "campaign_members", "lead_id, customer_id") == [("00Q1", None)]


def test_a_task_of_which_only_the_day_is_told_is_known_when_that_is_over(tmp_path: Path) -> None:
    tasks = csv(
        "Id,WhoId,CreatedDate,ActivityDate,IsClosed",
        [("t1", "00Q2", "2024-01-08", "2024-01-10", "true"), ("t2", "00Q2", "2024-01-10T15:00:00Z", "2024-01-09", "true")],
    )
    workspace = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "Task.csv": tasks})
    assert rows(workspace, "interactions", "interaction_id, occurred_at, known_at") == [
        ("t1", "2024-01-10 00:00:00", "2024-01-10 23:59:59.999999"),
        ("t2", "2024-01-09 00:00:00", "2024-01-10 15:00:00"),
    ]


def test_an_order_is_known_once_it_is_won_with_the_amount_of_then(org: Workspace) -> None:
    assert rows(org, "orders", "order_id, amount, category, occurred_at, known_at") == [
        ("0061", 800, None, "2024-03-01 00:00:00", "2024-03-02 15:00:00"),
        ("0062", 70, None, "2024-03-05 00:00:00", "2024-04-01 00:00:00"),  # no history: the amount is that of 1 April
        ("00k1", 20, "Wheels", "2024-02-04 00:00:00", "2024-02-04 23:59:59.999999"),
        ("00k2", 10, "Wheels", "2024-02-04 00:00:00", "2024-02-10 00:00:00"),
    ]


def test_an_amount_that_was_entered_after_the_win_makes_the_order_known_then(tmp_path: Path) -> None:
    history = OPPORTUNITY_HISTORY.replace("Closed Won,800", "Closed Won,")
    workspace = ingested(tmp_path, "salesforce", {**EXPORT, "OpportunityHistory.csv": history})
    assert rows(workspace, "orders", "amount, known_at", "order_id = '0061'") == [(900, "2024-05-01 00:00:00")]


def test_a_contract_that_is_followed_by_another_was_renewed_if_that_was_known_by_its_end(org: Workspace) -> None:
    assert rows(org, "subscriptions", "subscription_id, known_at, ended_at, end_reason") == [
        ("8001", "2024-02-02 00:00:00", "2024-07-01 00:00:00", "renewed"),
        ("8002", "2024-06-21 00:00:00", "2024-10-01 00:00:00", "ended"),  # the next was made three weeks after
        ("8003", "2024-10-21 00:00:00", None, None),
    ]


def test_a_contract_that_has_run_out_was_activated_once(tmp_path: Path) -> None:
    contracts = csv(
        "Id,AccountId,CreatedDate,StartDate,EndDate,StatusCode",
        [
            (code, "0013", "2024-02-01", "2024-02-01", "2024-06-30", code)
            for code in ("Draft", "Activated", "Expired", "Terminated")
        ],
    )
    workspace = ingested(tmp_path, "salesforce", {"Account.csv": ACCOUNTS, "Contract.csv": contracts})
    assert rows(workspace, "subscriptions", "subscription_id") == [("Activated",), ("Expired",), ("Terminated",)]


def test_who_renews_has_not_left(org: Workspace) -> None:
    question, as_ofs = propensity.load(org, "churn"), [parse_instant("2024-06-15"), parse_instant("2024-09-15")]
    snapshot.build(org, as_ofs)
    eligible = cohort(org, question, as_ofs)
    assert eligible["entity_id"].tolist() == ["0011", "0011"] and labels(org, question, eligible).tolist() == [0, 1]
    assert question.value is None  # a contract has no price


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_known_before_the_export_says_so(tmp_path: Path, seed: int) -> None:
    deals = [
        (f"006{n}", "0011", made, close, "true", "Won", "5", edited)
        for n, (made, close, edited) in enumerate(instants(seed, 60, 3))
    ]
    files = {
        "Account.csv": "Id,CreatedDate\n0011,2024-01-01T00:00:00Z\n",
        "Lead.csv": csv("Id,CreatedDate,Status", [(f"00Q{n}", made, "Open") for n, (made,) in enumerate(instants(seed, 60, 1))]),
        "LeadHistory.csv": csv(
            "Id,LeadId,Field,OldValue,NewValue,CreatedDate",
            [(f"h{n}", f"00Q{n}", "Status", "a", f"v{n}", at) for n, (at,) in enumerate(instants(seed + 9, 60, 1))],
        ),
        "Task.csv": csv(
            "Id,WhoId,CreatedDate,CompletedDateTime", [(f"t{n}", "00Q1", *two) for n, two in enumerate(instants(seed, 60, 2))]
        ),
        "Event.csv": csv(
            "Id,WhoId,CreatedDate,StartDateTime", [(f"e{n}", "00Q1", *two) for n, two in enumerate(instants(seed, 60, 2))]
        ),
        "Opportunity.csv": csv("Id,AccountId,CreatedDate,CloseDate,IsWon,StageName,Amount,LastModifiedDate", deals),
    }
    workspace = ingested(tmp_path, "salesforce", files)
    assert known_too_early(workspace, "leads", "Lead.csv", "Id = lead_id", "CreatedDate") == (60, 0)
    by_id = "Id = interaction_id"
    assert known_too_early(workspace, "interactions", "Task.csv", by_id, "CreatedDate, CompletedDateTime") == (60, 0)
    assert known_too_early(workspace, "interactions", "Event.csv", by_id, "CreatedDate, StartDateTime") == (60, 0)
    won = known_too_early(workspace, "orders", "Opportunity.csv", "Id = order_id", "CreatedDate, CloseDate, LastModifiedDate")
    assert won[0] > 40 and won[1] == 0
    assert known_too_early(workspace, "attribute_history", "LeadHistory.csv", "NewValue = value", "CreatedDate") == (60, 0)


def test_rows_that_were_deleted_are_nowhere(org: Workspace) -> None:
    assert rows(org, "customers", "customer_id") == [("0011",), ("0013",)]
    for table in Catalog.load(org).tables:
        gone = {"00Q3", "0012", "0064", "00k3", "00T4"}
        assert not gone & {str(value) for row in rows(org, table, "*") for value in row}


def test_the_order_of_rows_makes_no_difference_even_where_two_have_one_instant(tmp_path: Path) -> None:
    files = {
        **EXPORT,
        "OpportunityHistory.csv": OPPORTUNITY_HISTORY + "0061,Closed Won,850,2024-03-02T15:00:00Z\n",
        "LeadHistory.csv": LEAD_HISTORY + "00Q2,LeadSource,Fair,Partner,2024-01-10T00:00:00Z\n",
    }
    one, other = (ingested(tmp_path / name, "salesforce", export) for name, export in (("a", files), ("b", reversed_rows(files))))
    assert Catalog.load(one).version == Catalog.load(other).version


def test_quality_finds_nothing_wrong(org: Workspace) -> None:
    assert quality.check(org, NOW).errors == ()


def test_a_custom_field_becomes_an_attribute_when_it_is_declared(tmp_path: Path) -> None:
    declared = {"leads": {"region__c": {"fixed": True}}}
    workspace = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS}, attributes=declared)
    assert features_at(workspace, "lead", "2024-01-07").loc["00Q1", "lead_region__c"] == "no"


@pytest.mark.parametrize(
    "column", ["is_converted", "isconverted", "converted_account_id", "last_activity_date", "isunreadbyowner"]
)
def test_a_column_of_today_cannot_be_declared(tmp_path: Path, column: str) -> None:
    leads = "Id,CreatedDate,IsConverted,IsUnreadByOwner\n00Q1,2024-01-05,true,true\n"
    with pytest.raises(LeakageError, match=column):
        ingested(tmp_path, "salesforce", {"Lead.csv": leads}, attributes={"leads": {column: {"fixed": True}}})


def test_the_status_of_today_is_not_delivered(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="a column `status`"):
        ingested(tmp_path, "salesforce", {"Lead.csv": LEADS}, attributes={"leads": {"status": {"fixed": True}}})


def _spelt(text: str, warehouse: bool) -> str:
    """The header as a warehouse spells it, or shouted."""
    header, _, rest = text.partition("\n")
    names = header.replace("CreatedDate", "created_date").replace("StageName", "stage_name").replace("LeadId", "lead_id")
    return f"{names if warehouse else header.upper()}\n{rest}"


@pytest.mark.parametrize("warehouse", [True, False])
def test_the_spelling_of_names_makes_no_difference(org: Workspace, tmp_path: Path, warehouse: bool) -> None:
    stems = {"Lead": "sf_lead_data", "LeadHistory": "lead_history", "Task": "TASK", "OpportunityHistory": "opportunity_history"}
    files = {f"{stems.get(name[:-4], name[:-4])}.csv": _spelt(text, warehouse) for name, text in EXPORT.items()}
    other = ingested(tmp_path, "salesforce", files)
    assert Catalog.load(other).version == Catalog.load(org).version


def test_typed_files_are_read_as_text_is(org: Workspace, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, text in EXPORT.items():
            (tmp_path / name).write_text(text)
            target = tmp_path / "export" / f"{name[:-4]}.parquet"
            connection.execute(f"copy (from read_csv('{tmp_path / name}')) to '{target}' (format parquet)")
    typed = ingested(tmp_path, "salesforce", {})
    for table in Catalog.load(org).tables:
        columns = ", ".join(column for column in Catalog.load(org).tables[table].columns if not column.endswith("_id"))
        assert rows(typed, table, columns) == rows(org, table, columns), table


def test_versions_of_whole_rows_are_a_history_too(tmp_path: Path) -> None:
    versions = csv(
        "_fivetran_active,_fivetran_start,_fivetran_end,id,status,rating",
        [
            ("false", "2024-01-06 10:00:00", "2024-01-09 00:00:00", "00Q2", "Open", "Cold"),
            ("true", "2024-01-09 00:00:00", "9999-12-31 23:59:59", "00Q2", "Working", "Cold"),
        ],
    )
    workspace = ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "lead_history.csv": versions})
    assert rows(workspace, "attribute_history", "field, value, valid_from") == [
        ("rating", "Cold", "2024-01-06 10:00:00"),
        ("status", "Open", "2024-01-06 10:00:00"),
        ("status", "Working", "2024-01-09 00:00:00"),
    ]


def test_files_and_columns_that_are_not_needed_may_be_missing_or_empty(tmp_path: Path) -> None:
    files = {
        "Lead.csv": "Id,CreatedDate\n00Q1,2024-01-05\n",
        "LeadHistory.csv": f"{HISTORY}\n",
        "Opportunity.csv": f"{OPPORTUNITY}\n",
    }
    catalog = Catalog.load(ingested(tmp_path, "salesforce", files))
    assert set(catalog.tables) == {"leads"}
    assert [note for note in catalog.notes if note.startswith("attribute_history: left out, because no row")]
    assert [note for note in catalog.notes if note.startswith("customers: left out, because the export has no account")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Id,Created\n00Q1,2024-01-05\n", "rename `Created` to `created_date`"),
        ("Id,CreatedDate\n00Q1,soon\n", "column created_at"),
        ("Id,CreatedDate,ConvertedDate\n00Q1,2024-01-05,1/20/2024\n", "column converted_date\n  expected: in every row a value"),
        ("", "an empty file"),
        ("Id,CreatedDate\n", "at least one lead or customer"),
        ("Id,CreatedDate,IsDeleted\n00Q1,2024-01-05,true\n", "every one is deleted"),
    ],
    ids=["missing column", "no date", "a local date", "no header", "no row", "only deleted rows"],
)
def test_a_wrong_export_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(TableError) as caught:
        ingested(tmp_path, "salesforce", {"Lead.csv": content})
    assert said in str(caught.value)


def test_two_files_of_one_object_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"Lead\.csv and sf_lead_data\.csv"):
        ingested(tmp_path, "salesforce", {"Lead.csv": LEADS, "sf_lead_data.csv": LEADS})


def _export_of(instant: str) -> dict[str, str]:
    """The export as it was: rows made later are not there, and what was overwritten since is what it was."""
    then = {name: rows_until(text, instant) if "CreatedDate" in text.splitlines()[0] else text for name, text in EXPORT.items()}
    for name, until, now, before in OVERWRITTEN:
        if instant < until:
            then[name] = then[name].replace(now, before)
    return then


OVERWRITTEN = [  # file, when, what it says since then, what it said before; the newest first
    ("Opportunity.csv", "2024-05-01", "Closed Won,900", "Closed Won,800"),
    ("Opportunity.csv", "2024-03-06", "true,false,Closed Won,70", "false,false,Prospecting,70"),
    ("Opportunity.csv", "2024-03-02T15", "true,false,Closed Won,800", "false,false,Prospecting,500"),
    ("Lead.csv", "2024-01-20T09:30", "true,2024-01-20,0031,Web,Closed - Converted", "false,,,Web,Working"),
    ("Task.csv", "2024-01-20T09:30", "0031,0011", "00Q1,"),
    ("Lead.csv", "2024-01-18", "Web,Working,,south", "Web,Unqualified,,south"),
    ("Lead.csv", "2024-01-15", "Web,Unqualified,,south", "Web,Open,,south"),
    ("Lead.csv", "2024-01-10", "Referral", "Web"),
    ("Lead.csv", "2024-01-08T12", "false,,,Web,Working", "false,,,Web,Open"),
]


def test_an_export_of_later_shows_the_past_as_the_export_of_then(org: Workspace, tmp_path: Path) -> None:
    for as_of in ("2024-01-09", "2024-01-16", "2024-02-20", "2024-04-10"):
        then = ingested(tmp_path / as_of, "salesforce", _export_of(as_of), parse_instant(as_of))
        for entity in ("lead", "customer"):
            assert_same_past(then, org, entity, as_of)


@pytest.mark.real_data
def test_the_sample_export_of_a_warehouse_goes_through(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "crm_export_shapes" / "dbt_salesforce"
    workspace = Workspace(tmp_path, Settings.model_validate({"adapter": "salesforce", "source": str(source)}))
    catalog = ingest.run(workspace, NOW)
    assert rows(workspace, "leads", "lead_id, created_at, converted_at") == [
        ("00Q1G00000nDnM5UAK", "2019-11-11 17:23:34", "2019-11-11 17:23:34")
    ]
    assert rows(workspace, "customers", "customer_id, created_at") == [("0015500000Xyy06AAB", "2019-10-17 21:10:19")]
    assert rows(workspace, "attribute_history", "field, value, valid_from") == [
        ("owner_id", "tqs6UXPA/Lm7W+0dX0+syw==", "2019-10-17 21:10:19"),
        ("type", "ziZgHawN6hOLcpXwK3Ygpw==", "2019-10-17 21:10:19"),
    ]
    assert set(catalog.tables) == {"leads", "customers", "attribute_history"}
    assert quality.check(workspace, NOW).errors == ()
    assert features_at(workspace, "customer", "2019-10-18")["customer_type"].tolist() == ["ziZgHawN6hOLcpXwK3Ygpw=="]
