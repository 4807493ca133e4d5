"""What the tables show: overwritten attributes, populations chosen by outcome, rows that were all loaded at once."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.propensity import SHIPPED, read_file
from features.settings import Attribute as Declared
from tests.worlds import make_workspace
from training.dataset import Dataset
from training.leakage import population
from training.leakage.arrival import Arrival, arrival_findings, judge
from training.leakage.history import history_findings, later_values
from training.leakage.origin import Attribute
from training.leakage.population import chosen_by, known_after, nothing_but

START = pd.Timestamp("2024-01-01", tz="UTC")
AS_OFS = [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
CONVERSION = read_file(SHIPPED / "lead-conversion.toml")


def day(number: float) -> pd.Timestamp:
    return START + pd.Timedelta(days=number)


def history(*values: tuple[str, float, str | None]) -> pd.DataFrame:
    return pd.DataFrame([{"entity_id": who, "known": day(known), "value": value} for who, known, value in values])


def row(who: str, as_of: float, value: object) -> pd.DataFrame:
    return pd.DataFrame({"entity_id": [who], "as_of": [day(as_of)], "value": [value]})


CHANGES = history(
    ("a", 0, "bronze"), ("a", 50, "gold"), ("b", 0, "no"), ("b", 50, "yes"), ("c", 0, "x"), ("c", 9, None), ("c", 50, "x")
)


@pytest.mark.parametrize(
    ("held", "later"),
    [
        (row("a", 20, "gold"), 1),
        (row("a", 20, " GOLD"), 1),
        (row("a", 50, "gold"), 1),
        (row("a", 50.001, "gold"), 0),
        (row("a", 20, "bronze"), 0),
        (row("a", 20, None), 0),
        (row("a", 0, "gold"), 1),
        (row("b", 20, 1.0), 1),
        (row("b", 20, 0.0), 0),
        (row("c", 20, "x"), 1),
        (row("c", 5, "x"), 0),
        (row("nobody", 20, "gold"), 0),
    ],
    ids=["later", "respelt", "known at the as_of", "known before", "then", "missing", "nothing known then", "flag", "flag then",
         "emptied then", "the same then", "without history"],
)  # fmt: skip
def test_values_from_after_the_as_of_are_counted(held, later):
    assert later_values(held, CHANGES) == later


def test_an_attribute_that_was_overwritten_is_an_error_with_the_lines_to_mend(tmp_path):
    """Everybody's tier changed on day 50; the table holds the newest one only, and says that it is fixed."""
    people = [{"customer_id": f"c{n}", "created_at": day(0), "tier": "gold" if n < 60 else "bronze"} for n in range(100)]
    changes = [
        {"entity": "customer", "entity_id": f"c{n}", "field": "tier", "value": value, "valid_from": at}
        for n in range(60)
        for value, at in (("bronze", day(0)), ("gold", day(50)))
    ]
    fixed = {"customers": {"tier": Declared(fixed=True)}}
    workspace = make_workspace(tmp_path, {"customers": people, "attribute_history": changes}, attributes=fixed)
    frame = pd.DataFrame(
        [
            {"entity_id": p["customer_id"], "as_of": day(d), "label": 0, "customer_tier": p["tier"]}
            for p in people
            for d in (10, 80)
        ]
    )
    places = {"customer_tier": Attribute("customers.tier", "adapter.toml:3", selected="customers.sql:4")}
    data = Dataset(frame, {"customer_tier": "category"}, (), places, "f")
    [finding] = history_findings(workspace, "customer", data)
    assert (finding.check, finding.severity, finding.place) == ("history", "error", "customer_tier")
    assert "holds in 60 of 200 rows" in finding.sentence
    assert "adapter.toml:3 and customers.sql:4" in finding.repair
    honest = Dataset(frame.assign(customer_tier="bronze"), data.dtypes, (), places, "f")
    assert history_findings(workspace, "customer", honest) == []
    assert history_findings(workspace, "customer", Dataset(frame, data.dtypes, (), {}, "f")) == [], "nothing is declared fixed"


def test_an_attribute_whose_versions_differ_is_warned_of(tmp_path):
    def version(n: int, known: float, tier: str | None, region: str) -> dict[str, object]:
        return {"customer_id": f"c{n}", "created_at": day(0), "known_at": day(known), "tier": tier, "region": region}

    people = [version(n, 0, None if n == 3 else "bronze", "north") for n in range(9)]
    people += [version(n, 9, "gold", "north") for n in range(5)]
    fixed = {"customers": {"tier": Declared(fixed=True), "region": Declared(fixed=True)}}
    workspace = make_workspace(tmp_path, {"customers": people}, attributes=fixed)
    places = {f"customer_{name}": Attribute(f"customers.{name}", "adapter.toml:3") for name in ("tier", "region", "gone")}
    frame = pd.DataFrame({"entity_id": ["c1"], "as_of": [day(20)], "label": [0], "customer_tier": ["gold"]})
    [finding] = history_findings(workspace, "customer", Dataset(frame, {}, (), places, "f"))
    assert (finding.check, finding.severity, finding.place) == ("versions", "warning", "customer_tier")
    assert "4 of the 5 with more than one version" in finding.sentence, "one was only filled later"


def entities(known: list[float], happened: list[float | None]) -> pd.DataFrame:
    times = [None if at is None else day(at) for at in happened]
    days = [day(at) for at in known]
    return pd.DataFrame({"known": days, "asked": days, "happened": pd.to_datetime(pd.Series(times), utc=True)})


def test_those_who_became_known_by_the_outcome_are_counted():
    late, early = ([10.0], [10.0]), ([9.999], [10.0])
    assert known_after(entities(*(side * 100 for side in early)), "lead") is None
    assert known_after(entities(late[0] * 19 + early[0] * 5, [10.0] * 24), "lead") is None, "a handful"
    severity, sentence = known_after(entities(late[0] * 20 + early[0] * 80, [10.0] * 100), "lead")
    assert severity == "error" and "of 100 leads with the outcome, 20 (20.0%)" in sentence
    severity, _ = known_after(entities(late[0] * 20 + early[0] * 180, [10.0] * 200), "lead")
    assert severity == "warning", "a tenth is worth a look"
    assert known_after(entities([5.0] * 500, [None] * 500), "lead") is None


def test_a_population_of_nothing_but_outcomes_is_found():
    severity, sentence = nothing_but(entities([0.0] * 100, [9.0] * 98 + [None] * 2), "lead")
    assert severity == "error" and "98.0% of the 100 leads" in sentence
    assert nothing_but(entities([0.0] * 100, [9.0] * 97 + [None] * 3), "lead") is None
    assert nothing_but(entities([0.0] * 49, [9.0] * 49), "lead") is None, "too few to tell"


def test_a_long_history_in_which_everybody_comes_to_the_outcome_is_honest():
    """Leases of three years: of 4,000 all have ended but those of late, who are there as well."""
    leases = entities([*np.arange(4_000.0), *np.arange(4_000.0, 4_060.0)], [*np.arange(1_000.0, 5_000.0), *[None] * 60])
    severity, sentence = nothing_but(leases, "customer")
    assert severity == "warning" and "98.5% of the 4,060 customers" in sentence and "0.0% of the 50" in sentence


def test_a_condition_that_goes_with_the_outcome_is_found():
    outcome = np.repeat([1, 0], [200, 1_800])
    everyone, number = np.arange(2_000), np.arange(2_000)
    assert chosen_by(number % 2 == 0, outcome, everyone, "region = 'north'") is None
    sentence = chosen_by((outcome == 1) | (number % 9 == 0), outcome, everyone, "offer = 'yes'")
    assert "`offer = 'yes'` in `eligible` lets in 100.0% of those with the outcome and 11.1% of the others" in sentence
    assert chosen_by(np.ones(2_000, dtype=bool), outcome, everyone, "region = 'all'") is None
    assert chosen_by(np.ones(9, dtype=bool), np.ones(9), np.arange(9), "region = 'all'") is None
    few = (number < 40) | (number >= 1_970)
    assert chosen_by(few, outcome, everyone, "code is not null") is None, "12 times as often, and 30 of the 70 have no outcome"
    gone = number < 100
    assert chosen_by(~gone, outcome, everyone, "card is null") is not None, "whom it keeps out have the outcome, all of them"


def leads(known_by_outcome: int, lost: int) -> list[dict[str, object]]:
    won = [{"created_at": day(n % 90), "converted_at": day(n % 90 + 10)} for n in range(100)]
    rows = [{**lead, "known_at": lead["converted_at"] if n < known_by_outcome else None} for n, lead in enumerate(won)]
    rows += [{"created_at": day(n % 90)} for n in range(lost)]
    return [{"lead_id": f"l{n}", **lead} for n, lead in enumerate(rows)]


def test_the_leads_of_a_workspace_are_looked_at(tmp_path):
    honest = make_workspace(tmp_path / "honest", {"leads": leads(0, 300)})
    assert population.table_findings(honest, CONVERSION) == []
    chosen = make_workspace(tmp_path / "chosen", {"leads": leads(100, 300)})
    [finding] = population.table_findings(chosen, CONVERSION)
    assert (finding.check, finding.severity, finding.place) == ("population", "error", "leads.known_at")
    assert finding.repair.startswith("leads.sql:"), "the line of the adapter"
    frame = pd.DataFrame({"entity_id": [f"l{n}" for n in range(100)], "as_of": day(50)})
    [selected] = population.dataset_findings(honest, CONVERSION, frame)
    assert (selected.severity, selected.place) == ("error", "leads.lead_id")
    assert "100.0% of the 100 leads" in selected.sentence
    assert population.dataset_findings(honest, CONVERSION, frame.assign(entity_id=[f"l{n + 90}" for n in range(100)])) == []


def test_an_outcome_that_comes_again_and_again_chooses_nobody(tmp_path):
    """A customer may well become known by an order; the question is whether there will be another."""
    orders = [{"order_id": f"o{n}", "customer_id": f"c{n}", "occurred_at": day(n % 50), "amount": 5} for n in range(100)]
    people = [{"customer_id": f"c{n}", "created_at": day(n % 50)} for n in range(100)]
    workspace = make_workspace(tmp_path, {"customers": people, "orders": orders})
    again = read_file(SHIPPED / "churn.toml").model_copy(
        update={"outcome": CONVERSION.outcome.model_copy(update={"table": "orders", "at": None})}
    )
    assert population.table_findings(workspace, again) == []
    assert (
        population.dataset_findings(
            workspace, again, pd.DataFrame({"entity_id": [f"c{n}" for n in range(100)], "as_of": day(50)})
        )
        == []
    )


def arrival(**changes: object) -> Arrival:
    fields = {
        "rows": 1_000,
        "defaulted": 0,
        "loading": day(40),
        "loaded": day(40),
        "at_once": 5,
        "first": day(0),
        "last": day(700),
    }
    return Arrival("orders", **(fields | changes))


def test_rows_that_were_all_loaded_at_once_are_warned_of():
    assert judge(arrival(), True, AS_OFS) is None
    severity, sentence = judge(arrival(at_once=990), False, AS_OFS)
    assert severity == "warning" and "990 of 1,000 rows" in sentence and "concerns 2 of 3 dates" in sentence
    assert judge(arrival(at_once=989), False, AS_OFS) is None
    before = {"loading": day(-1), "loaded": day(-1)}
    assert judge(arrival(at_once=1_000, **before), False, AS_OFS)[0] == "note", "every date sees them"
    assert judge(arrival(at_once=1_000, **before), False, [])[0] == "warning", "there is no date"
    assert judge(arrival(at_once=1_000, last=day(90)), False, AS_OFS) is None, "they may well have come in within a quarter"


def test_a_known_at_that_was_not_delivered_is_noted_and_with_promises_warned_of():
    assert judge(arrival(defaulted=999), True, AS_OFS) is None
    severity, sentence = judge(arrival(defaulted=1_000), False, AS_OFS)
    assert severity == "note" and "`occurred_at` in all 1,000 rows" in sentence
    assert judge(arrival(defaulted=1_000), True, AS_OFS)[0] == "warning"
    assert judge(arrival(rows=0, loading=None, loaded=None, first=None, last=None), True, AS_OFS) is None


def test_the_tables_of_a_workspace_are_measured(tmp_path):
    tables = {
        "customers": [{"customer_id": "c", "created_at": day(0), "known_at": day(1)}],
        "orders": [
            {"order_id": f"o{n}", "customer_id": "c", "occurred_at": day(n), "known_at": day(400), "amount": 5}
            for n in range(300)
        ],
        "cases": [{"case_id": f"o{n}", "customer_id": "c", "occurred_at": day(n)} for n in range(300)],
        "surveys": [],
    }
    workspace = make_workspace(tmp_path, tables)
    findings = arrival_findings(workspace, [*tables, "loyalty_events"], ["customers"], AS_OFS)
    assert [(finding.place, finding.severity) for finding in findings] == [
        ("orders.known_at", "warning"),
        ("cases.known_at", "note"),
    ]
    assert findings[0].repair.startswith("orders.sql:") and "leave `known_at` out" in findings[0].repair
    assert "leave it as it is" in findings[1].repair
    assert "orders.known_at is 2025-02-04 00:00 for 300 of 300 rows" in findings[0].sentence


@pytest.mark.parametrize(("seconds", "found"), [(0, True), (20, True), (300, False), (86_400, False)])
def test_a_load_that_stamps_row_by_row_is_seen(tmp_path, seconds, found):
    """Three hundred rows: at one instant, over 100 minutes across midnight, over a day, and one a day, which is no load."""
    start = day(400) - pd.Timedelta(minutes=30)
    orders = [
        {"order_id": f"o{n}", "customer_id": "c", "occurred_at": day(n), "known_at": start + pd.Timedelta(seconds=seconds * n)}
        for n in range(300)
    ]
    people = [{"customer_id": "c", "created_at": day(0)}]
    workspace = make_workspace(tmp_path, {"customers": people, "orders": [{**order, "amount": 5} for order in orders]})
    findings = [one for one in arrival_findings(workspace, ["orders"], [], AS_OFS) if one.severity == "warning"]
    assert len(findings) == found
    if seconds == 20:
        assert "is 2025-02-03 23:30 to 2025-02-04 01:09 for 300 of 300 rows" in findings[0].sentence
