"""A call is read as what it says: every shape, partial records, bad fields, bad records, bad bodies, and any bytes at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import WorkspaceError
from serving.hooks.refusal import Unreadable
from serving.hooks.unpack import require_usable
from tests.serving.hooks.payloads import ATTRIBUTES, ESPOCRM, HUBSPOT, ODOO, SALESFORCE, hook, unpacked

ODOO_FIELDS = {
    "lead_origin": "medium_id", "lead_budget": "expected_revenue", "lead_opt_in": "x_opt_in", "wanted": "create_date",
    "status": "source_id",
}  # fmt: skip
SHAPES = ("json", "odoo", "espocrm", "hubspot", "salesforce")
CREATED = datetime(2026, 11, 22, 6, 7, 30, tzinfo=UTC)


def test_odoo_sends_one_record_with_links_times_and_false_for_what_is_empty() -> None:
    found = unpacked(hook("odoo", fields=ODOO_FIELDS), ODOO)
    (record,) = found.received
    assert (record.source, record.entity, record.entity_id) == ("crm", "lead", "7") and found.flaws == ()
    assert record.given == {
        "lead_origin": "Web", "lead_budget": 12500.0, "lead_opt_in": None, "wanted": CREATED.replace(microsecond=752655),
        "lead_status": "3",
    }  # fmt: skip
    assert found.answer_body is None and found.answer_media_type is None


def test_false_of_odoo_is_0_only_in_fields_that_are_said_to_be_flags() -> None:
    flagged = hook("odoo", fields=ODOO_FIELDS | {"status": "stage_id"}, flags=["x_opt_in"])
    (record,) = unpacked(flagged, ODOO).received
    assert record.given["lead_opt_in"] == 0.0 and record.given["lead_status"] is None
    assert unpacked(hook(), {"id": 1, "opt_in": False}).received[0].given == {"lead_opt_in": 0.0}


def test_espocrm_sends_an_array_of_partial_records_of_which_only_what_came_is_given() -> None:
    fields = {"status": "status", "lead_budget": "opportunityAmount", "origin": "source", "wanted": "modifiedAt"}
    found = unpacked(hook("espocrm", fields=fields), ESPOCRM)
    assert [record.given for record in found.received] == [
        {"lead_status": "In Process", "wanted": CREATED},
        {"lead_budget": 4000.0, "lead_origin": None},
    ]
    assert [record.entity_id for record in found.received] == [record["id"] for record in ESPOCRM]


def test_hubspot_sends_property_changes_that_become_one_record_an_object_with_the_latest_value() -> None:
    found = unpacked(hook("hubspot", object="contact"), HUBSPOT)
    given_by_id = {record.entity_id: record.given for record in found.received}
    assert given_by_id == {
        "1246965": {"lead_origin": "Referral", "lead_budget": 2500.5, "wanted": CREATED.replace(microsecond=752000)},
        "1246978": {},
    }
    assert sorted(flaw.received for flaw in found.flaws) == ["a deletion", "one of 'company'"]


def test_hubspot_may_have_the_id_in_a_property() -> None:
    by = {"objectId": [["1246965", "1246978"], 1], "budget": [["2500.50"], 2]}
    for name, (ids, flaws) in by.items():
        found = unpacked(hook("hubspot", object="contact", id=name), HUBSPOT)
        assert [record.entity_id for record in found.received] == ids and len(found.flaws) == 1 + flaws


def test_hubspot_names_the_object_of_a_generic_subscription_by_its_type_id() -> None:
    event = {"objectId": 5, "subscriptionType": "object.propertyChange", "objectTypeId": "0-1", "propertyName": "origin"}
    assert unpacked(hook("hubspot", object="0-1"), [event]).received[0].given == {"lead_origin": None}
    assert unpacked(hook("hubspot", object="0-2"), [event]).received == ()


def test_salesforce_sends_notifications_and_gets_its_acknowledgement() -> None:
    fields = {
        "lead_origin": "LeadSource", "lead_budget": "AnnualRevenue", "opt_in": "HasOptedIn__c", "wanted": "CreatedDate",
        "status": "Status",
    }  # fmt: skip
    found = unpacked(hook("salesforce", fields=fields, object="Lead"), SALESFORCE)
    assert [record.entity_id for record in found.received] == ["00Q24000004AbCdEAK", "00Q24000004AbCeEAK"]
    first, second = (record.given for record in found.received)
    assert first == {
        "lead_origin": "Web & more", "lead_budget": 12500.0, "lead_opt_in": 0.0, "wanted": CREATED, "lead_status": None,
    }  # fmt: skip
    assert second == {"lead_origin": None} and found.flaws == ()
    assert found.answer_media_type == "text/xml; charset=utf-8"
    assert b"<Ack>true</Ack>" in (found.answer_body or b"") and b"http://soap.sforce.com/2005/09/outbound" in found.answer_body


def test_plain_json_is_one_object_an_array_or_records() -> None:
    record = {"id": 7, "origin": "Web", "unknown": "ignored"}
    for body in (record, [record], {"records": [record]}):
        found = unpacked(hook(), body)
        assert [(one.entity_id, one.given) for one in found.received] == [("7", {"lead_origin": "Web"})]
    assert unpacked(hook(id="number"), {"id": 7, "number": "L-1"}).received[0].entity_id == "L-1"


@pytest.mark.parametrize("shape", ["json", "espocrm", "hubspot"])
def test_an_empty_array_says_nothing_and_nothing_is_wrong(shape: str) -> None:
    found = unpacked(hook(shape), [])
    assert found.received == () and found.flaws == ()


def test_a_bad_field_costs_only_itself_and_a_bad_record_only_itself() -> None:
    whole, bad = b'{"id": 1, "budget": NaN, "origin": "Web"}', b'{"id": 2, "budget": 1e999, "wanted": "soon"}'
    body = b'[%b, {"origin": "x"}, 5, {"id": {}}, %b]' % (whole, bad)
    found = unpacked(hook(), body)
    assert [(record.entity_id, record.given) for record in found.received] == [("1", {"lead_origin": "Web"}), ("2", {})]
    assert sorted(flaw.where for flaw in found.flaws) == [
        "body[0].budget", "body[1]: the id", "body[2]", "body[3]: the id", "body[4].budget", "body[4].wanted",
    ]  # fmt: skip


@pytest.mark.parametrize("identity", [None, False, True, "", "   ", "x" * 201, "\ud800", "a\x00b", [7], 1e300, 10**30])
def test_an_id_that_no_store_could_keep_is_a_flaw(identity: Any) -> None:
    found = unpacked(hook(), [{"id": identity}, {"id": "good"}])
    assert [record.entity_id for record in found.received] == ["good"] and len(found.flaws) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("body", [b"", b"null", b"7", b'"x"', b'[{"id": 1}', b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5_000])
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(shape: str, body: bytes) -> None:
    with pytest.raises(Unreadable) as refusal:
        unpacked(hook(shape), body)
    assert refusal.value.status == 400 and refusal.value.where == "body" and refusal.value.repair


def test_more_than_a_thousand_records_are_refused() -> None:
    assert len(unpacked(hook(), [{"id": number} for number in range(1_000)]).received) == 1_000
    with pytest.raises(Unreadable, match="1,001"):
        unpacked(hook(), [{"id": number} for number in range(1_001)])


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
FILE = '<!ENTITY f SYSTEM "file:///etc/hostname">'


@pytest.mark.parametrize(
    "body",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l9;</x>'.encode(),
        f"<!DOCTYPE x [{FILE}]><x>&f;</x>".encode(),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
        SALESFORCE[:700],
        b"<a>" * 100_000,
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b'<?xml version="1.0" encoding="nonsense"?><x/>',
        b"<Envelope/>",
        b"<Envelope><Body><notifications>" + b"<b/>" * 20_000 + b"</notifications></Body></Envelope>",
    ],
)
def test_xml_that_is_a_bomb_a_fragment_or_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        unpacked(hook("salesforce"), body)


def test_a_hook_that_cannot_be_used_is_told_at_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    require_usable(hook(fields={"origin": "x"}), "crm", ATTRIBUTES)
    wrong = {
        "write `lead_origin`": hook(fields={"lead_orign": "x"}),
        "remove `secret`": hook("odoo", secret="x"),
        "set what `secret` names": hook(secret="${FORESELL_ABSENT}"),
        "write `probability`": hook(write_back={"url": "http://x", "fields": {"p": "probabilty"}}),
        "set it where": hook(write_back={"url": "http://x", "headers": {"Authorization": "Bearer ${FORESELL_ABSENT}"}}),
    }
    for repair, unusable in wrong.items():
        with pytest.raises(WorkspaceError) as error:
            require_usable(unusable, "crm", ATTRIBUTES)
        assert repair in error.value.repair


NAMES = (
    "id", "_id", "origin", "budget", "wanted", "status", "records", "objectId", "propertyName", "propertyValue", "occurredAt",
    "subscriptionType", "display_name",
)  # fmt: skip
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(shape=st.sampled_from(SHAPES), body=st.binary(max_size=60) | documents.map(lambda found: json.dumps(found).encode()))
def test_any_bytes_give_records_flaws_or_one_refusal(shape: str, body: bytes) -> None:
    try:
        found = unpacked(hook(shape), body)
    except Unreadable:
        return
    for record in found.received:
        assert len(record.entity_id.encode()) >= 1 and json.dumps(record.given, default=str, allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, len(SALESFORCE)), flip=st.integers(0, 255), put=st.integers(0, len(SALESFORCE) - 1))
def test_a_soap_message_that_was_damaged_gives_records_flaws_or_one_refusal(cut: int, flip: int, put: int) -> None:
    damaged = bytearray(SALESFORCE)
    damaged[put] = flip
    for body in (bytes(damaged), SALESFORCE[:cut]):
        try:
            unpacked(hook("salesforce"), body)
        except Unreadable:
            continue
