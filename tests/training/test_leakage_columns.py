from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from training.leakage.columns import feature_findings
from training.leakage.measure import alone, shares
from training.leakage.origin import Attribute
from training.leakage.rows import conclusive, constant, some_entities
from training.split import folds

DAY = pd.Timestamp("2024-01-01", tz="UTC")
SEGMENT = {"lead_segment": Attribute("leads.segment", "adapter.toml:14", selected="leads.sql:5")}
RANDOM = np.random.default_rng(1)
LABELS = (np.random.default_rng(0).random(2_000) < 0.1).astype(np.int8)
NOISE = RANDOM.normal(0, 1, len(LABELS))


def framed(values, labels: np.ndarray, rows_per_entity: int = 1) -> pd.DataFrame:
    """One feature; the rows of an entity are of successive days."""
    number = np.arange(len(labels))
    return pd.DataFrame(
        {
            "entity_id": [f"L{n // rows_per_entity}" for n in number],
            "as_of": DAY + pd.to_timedelta(number % rows_per_entity, unit="D"),
            "lead_segment": pd.Series(values),
        }
    )


def found(values, labels: np.ndarray = LABELS, attributes=SEGMENT, rows_per_entity: int = 1) -> list[tuple[str, str]]:
    findings = feature_findings(framed(values, labels, rows_per_entity), labels, ["lead_segment"], attributes)
    return [(finding.check, finding.severity) for finding in findings]


def filled(share_of_positives: float, share_of_negatives: float, positives: int = 300, negatives: int = 4_000):
    labels = np.array([1] * positives + [0] * negatives, dtype=np.int8)
    share = np.where(labels == 1, share_of_positives, share_of_negatives)
    return np.where(np.random.default_rng(0).random(len(labels)) < share, "x", None), labels


@pytest.mark.parametrize("shares_filled", [(1.0, 0.03), (0.3, 0.001), (0.0, 0.9), (1.0, 0.0)])
def test_an_attribute_filled_by_the_outcome_is_an_error_with_figures_and_lines(shares_filled):
    values, labels = filled(*shares_filled)
    [finding] = feature_findings(framed(values, labels), labels, ["lead_segment"], SEGMENT)
    assert (finding.check, finding.severity, finding.place) == ("fill", "error", "lead_segment")
    assert "lead_segment is filled for" in finding.sentence and "of the rows with the outcome" in finding.sentence
    assert "adapter.toml:14" in finding.repair and "leads.sql:5 selects it" in finding.repair


@pytest.mark.parametrize("shares_filled", [(0.9, 0.9), (0.5, 0.4), (0.3, 0.1), (1.0, 1.0), (0.0, 0.0)])
def test_an_honest_attribute_is_not_condemned(shares_filled):
    values, labels = filled(*shares_filled)
    assert found(values, labels) == []


@pytest.mark.parametrize("shares_filled", [(0.8, 0.4), (0.8, 0.1), (0.08, 0.003)])
def test_a_fill_rate_that_differs_by_label_is_worth_a_look(shares_filled):
    values, labels = filled(*shares_filled)
    assert found(values, labels) == [("fill", "warning")]


@pytest.mark.parametrize(("have", "buy", "others_buy"), [(0.01, 0.45, 0.04), (0.02, 0.5, 0.05), (0.03, 0.55, 0.04)])
def test_what_few_have_and_half_of_those_buy_is_not_condemned(have, buy, others_buy):
    """A referral code: known at creation, ten times as frequent among those who buy, and half of those who have it do not."""
    random = np.random.default_rng(9)
    code = random.random(40_000) < have
    labels = (random.random(len(code)) < np.where(code, buy, others_buy)).astype(np.int8)
    values = np.where(code, "REF", None)
    assert found(values, labels) == [("fill", "warning")]
    telling = {"lead_segment": Attribute("leads.won_by", "adapter.toml:14")}
    assert ("name", "error") in found(values, labels, telling), "a name that speaks of the outcome is a second sign"


def test_what_many_rows_of_a_few_entities_show_counts_by_the_entity():
    """Nine in ten of the rows that have it are of the outcome, but of the entities that have it not even half."""
    labels = np.repeat([1] * 100 + [0] * 900, 10).astype(np.int8)
    number = np.arange(len(labels))
    values = np.where((labels == 1) & (number // 10 < 40) | (labels == 0) & (number % 10 == 0) & (number // 10 < 145), "x", None)
    assert found(values, labels, rows_per_entity=10) == [("fill", "warning")]


def test_a_handful_of_filled_rows_condemns_nobody():
    values, labels = filled(0.02, 0.0, positives=200)
    assert found(values, labels) == []


@pytest.mark.parametrize(
    "values",
    [
        LABELS.astype(float),
        1.0 - LABELS,
        np.where(LABELS == 1, 2.0, np.random.default_rng(2).choice([1.0, 3.0], len(LABELS))),
        np.where(LABELS == 1, NOISE / 10, NOISE + 4 * np.sign(NOISE)),
        np.where(LABELS == 1, "won", "lost").astype(object),
        np.where(np.random.default_rng(3).random(len(LABELS)) < 0.6, None, np.where(LABELS == 1, "won", "lost")),
        -3.0 * LABELS + NOISE,
        -2.1 * LABELS + NOISE,
    ],
    ids=["label", "reversed", "code without order", "number in the middle", "category", "filled for some", "number", "just 0.9"],
)
def test_an_attribute_whose_value_tells_the_outcome_is_an_error(values):
    [finding] = feature_findings(framed(values, LABELS), LABELS, ["lead_segment"], SEGMENT)
    assert (finding.check, finding.severity) == ("single", "error")
    assert "lead_segment alone tells the outcome: AUC" in finding.sentence
    assert "adapter.toml:14" in finding.repair


@pytest.mark.parametrize(("strength", "expected"), [(1.0, []), (2.3, [("single", "warning")]), (6.0, [("single", "error")])])
def test_a_strong_feature_of_events_is_looked_at_and_only_a_perfect_one_condemned(strength, expected):
    assert found(strength * LABELS + NOISE, attributes={}) == expected


def test_ten_honest_strong_features_are_not_condemned():
    """AUC 0.73 to 0.97 from events, which carry their own time; up to 0.87 from attributes."""
    for shift in np.linspace(1.0, 2.6, 10):
        values = shift * LABELS + NOISE
        assert 0.72 < roc_auc_score(LABELS, values) < 0.98
        assert ("single", "error") not in found(values, attributes={})
    for shift in np.linspace(0.8, 1.5, 10):
        assert found(shift * LABELS + NOISE) == []
        assert found(np.where(shift * LABELS + NOISE > 1, "big", "small").astype(object)) == []


def test_what_is_written_after_an_outcome_is_found_though_earlier_rows_of_the_entity_have_it_too():
    """Six of the seven rows of a lost customer are negatives that hold the value: over all rows the AUC is only about 0.8."""
    lost = np.repeat(np.random.default_rng(5).random(600) < 0.3, 7)
    labels = (lost & (np.arange(len(lost)) % 7 == 6)).astype(np.int8)
    values = lost.astype(float)
    assert roc_auc_score(labels, values) < 0.9
    assert found(values, labels, rows_per_entity=7) == [("single", "error")]


@pytest.mark.parametrize(("changing", "expected"), [(False, [("single", "error")]), (True, [])])
def test_a_column_computed_elsewhere_counts_once_per_entity_where_it_never_changes(changing, expected):
    lost = np.repeat(np.random.default_rng(5).random(600) < 0.3, 7)
    labels = (lost & (np.arange(len(lost)) % 7 == 6)).astype(np.int8)
    usage = {"lead_segment": Attribute("usage.index", "foresell.toml:9", external=True)}
    values = np.where(np.arange(len(lost)) == 3, 2.0, lost) if changing else lost.astype(float)
    assert found(values, labels, usage, rows_per_entity=7) == expected


def test_many_categories_condemn_nobody():
    """Each entity has a category of its own and one outcome in all its rows: seen in the fit, that would rank perfectly."""
    labels = np.repeat((np.random.default_rng(0).random(500) < 0.1).astype(np.int8), 4)
    own = np.repeat([f"street {n}" for n in range(500)], 4).astype(object)
    usage = {"lead_segment": Attribute("usage.street", "foresell.toml:9", external=True)}
    assert found(own, labels, usage, rows_per_entity=4) == []


def test_perfection_on_a_few_rows_may_be_chance():
    labels = np.array([1] * 5 + [0] * 30, dtype=np.int8)
    assert found(labels.astype(float), labels) == []


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_outcome_only_show_nothing(label):
    assert found(NOISE, np.full(len(LABELS), label, dtype=np.int8)) == []


def test_what_was_computed_elsewhere_is_mended_elsewhere():
    usage = {"lead_segment": Attribute("usage.logins", "foresell.toml:9", external=True)}
    [finding] = feature_findings(framed(LABELS.astype(float), LABELS), LABELS, ["lead_segment"], usage)
    assert finding.repair.startswith("foresell.toml:9: `usage.logins`")
    assert "where it is computed" in finding.repair and "attribute_history" not in finding.repair


@pytest.mark.parametrize(
    ("shares_filled", "expected"),
    [((0.04, 0.5), []), ((0.95, 0.1), [("fill", "warning")]), ((1.0, 0.005), [("fill", "error")])],
)
def test_an_event_feature_may_be_filled_mostly_for_one_outcome(shares_filled, expected):
    """Only customers who bought lately have a mean basket of the last 30 days: strong and honest."""
    values, labels = filled(*shares_filled)
    assert found(values, labels, attributes={}) == expected
    frame = framed(values, labels)
    for finding in feature_findings(frame, labels, ["lead_segment"], {}, {"lead_segment": "orders.sql:9: mend"}):
        assert finding.repair == "orders.sql:9: mend"


@pytest.mark.parametrize(
    "column", ["converted_to", "is_won", "stage", "closed_by", "lost_reason", "duration", "churn_score", "cltv"]
)
def test_a_name_that_smells_warns_and_with_evidence_condemns(column):
    smelling = {"lead_segment": Attribute(f"leads.{column}", "adapter.toml:14")}
    assert found(NOISE, attributes=smelling) == [("name", "warning")]
    assert found(1.3 * LABELS + NOISE, attributes=smelling) == [("name", "error")], "AUC alone about 0.82"
    values, labels = filled(0.5, 0.3, positives=1_000)
    assert found(values, labels, smelling) == [("name", "error")], "filled more often for one outcome"
    assert found(3.0 * LABELS + NOISE, attributes=smelling) == [("single", "error")], "the name adds nothing"


@pytest.mark.parametrize("column", ["segment", "region", "poutcomes", "contract", "closeness", "loyalty_status", "wonderful"])
def test_an_innocent_name_warns_of_nothing(column):
    assert found(NOISE, attributes={"lead_segment": Attribute(f"leads.{column}", "adapter.toml:14")}) == []


def test_a_time_after_the_as_of_is_an_error_where_it_goes_with_the_outcome():
    seen = {"lead_segment": Attribute("leads.seen_at", "adapter.toml:14", time=True)}
    days = np.abs(NOISE) * 30 + 1
    assert found(days, attributes=seen) == []
    assert found(np.where(np.arange(len(days)) % 5 == 0, -days, days), attributes=seen) == [("future", "warning")]
    assert found(np.where((LABELS == 0) & (NOISE > 0), -days, days), attributes=seen) == [("future", "error")]
    assert found(np.where(np.arange(len(days)) < 10, -days, days), attributes=seen) == [], "a few wrong years"


def test_of_many_rows_some_whole_entities_are_looked_at():
    entities = pd.Series(np.repeat([f"C{n}" for n in range(5_000)], 3))
    chosen = some_entities(entities, most=1_500)
    assert 1_000 < chosen.sum() < 2_000
    assert pd.Series(chosen).groupby(entities.to_numpy()).nunique().max() == 1, "an entity is in with all its rows or none"
    assert some_entities(entities, most=15_000).all()


def test_rows_before_an_outcome_of_the_same_entity_are_left_out():
    entities = pd.Series(list("aaabbbcc"), index=range(10, 18))
    labels = np.array([0, 0, 1, 0, 0, 0, 1, 0], dtype=np.int8)
    assert conclusive(entities, labels).tolist() == [False, False, True, True, True, True, True, False]


def test_a_column_that_was_introduced_lately_is_not_taken_for_a_leak():
    """Filled for those who came since; they have had less time to leave, so that few of those who ever left have it."""
    random, people, weeks = np.random.default_rng(7), 3_000, 250
    came = np.sort(random.integers(0, weeks, people))
    left = came + random.exponential(120, people)
    rows = [(n, week, left[n] < week + 13) for n in range(people) for week in range(came[n], weeks - 13, 13) if left[n] >= week]
    who, week, label = (np.array(column) for column in zip(*rows, strict=True))
    values = np.where(came[who] > 150, "v2", None)
    frame = pd.DataFrame({"entity_id": who.astype(str), "as_of": DAY + pd.to_timedelta(week, unit="W"), "lead_segment": values})
    assert feature_findings(frame, label.astype(np.int8), ["lead_segment"], SEGMENT) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 2.0], True), ([1.0, 3.0, 2.0], False), ([None, None, 2.0], True), ([None, 1.0, 2.0], True)],
)
def test_a_column_is_constant_where_each_entity_has_one_value(values, expected):
    assert constant(pd.DataFrame({"entity_id": ["a", "a", "b"], "x": values}), "x") is expected


def test_a_leak_is_found_in_some_of_the_rows():
    [finding] = feature_findings(framed(LABELS.astype(float), LABELS), LABELS, ["lead_segment"], SEGMENT, most=800)
    assert finding.severity == "error" and "2,000" not in finding.sentence


def test_the_auc_of_a_number_is_scikit_learns():
    values = pd.Series(np.round(NOISE + LABELS, 1))
    fold = folds(pd.Series([f"L{n}" for n in range(len(LABELS))]))
    one = alone(values.where(NOISE > -1.5), LABELS, fold, np.arange(len(LABELS)))
    kept = NOISE > -1.5
    assert one.auc >= roc_auc_score(LABELS[kept], values[kept]) - 1e-12
    assert one.auc == pytest.approx(roc_auc_score(LABELS[kept], values[kept]), abs=0.02)
    assert (one.rows, one.positives) == (kept.sum(), LABELS[kept].sum())
    assert alone(values.where(LABELS == 1), LABELS, fold, np.arange(len(LABELS))) is None


def test_shares_are_counted_by_label():
    counted = shares(np.array([True, True, False, True]), np.array([1, 1, 0, 0]), np.arange(4))
    assert (counted.positives, counted.negatives, counted.count) == (1.0, 0.5, 3)
    assert (counted.gap, counted.ratio) == (0.5, 2.0)
    assert counted.precision == pytest.approx(2 / 3), "of the three that have it"
    assert np.isnan(shares(np.array([False, False]), np.array([1, 0]), np.arange(2)).precision)
    fewer = shares(np.array([True, True, False, True]), np.array([1, 1, 0, 0]), np.zeros(4, dtype=np.int64))
    assert fewer.z == pytest.approx(counted.z / 2), "four rows of one entity count as one"
    assert shares(np.array([True, False]), np.array([1, 0]), np.arange(2)).ratio == float("inf")
    assert shares(np.array([True, True]), np.array([1, 0]), np.arange(2)).z == 0.0


@pytest.mark.real_data
def test_the_duration_of_the_call_in_bank_marketing_is_an_error_and_nothing_else_is(shared_data: Path):
    """As attributes of a lead, as a careless adapter would declare them; its month stands for the as_of."""
    bank = pd.read_csv(shared_data / "bank_marketing" / "bank-full.csv")
    labels = (bank.pop("y") == "yes").to_numpy(np.int8)
    attributes = {name: Attribute(f"leads.{name}", f"adapter.toml:{n}") for n, name in enumerate(bank, 5)}
    frame = bank.assign(entity_id=[f"L{n}" for n in range(len(bank))], as_of=DAY)
    findings = feature_findings(frame, labels, list(bank), attributes)
    errors = [finding for finding in findings if finding.severity == "error"]
    assert [(finding.check, finding.place) for finding in errors] == [("name", "duration")]
    assert "known only afterwards (`duration`), and alone it ranks with an AUC of 0.8" in errors[0].sentence
    assert f"adapter.toml:{5 + list(bank).index('duration')}" in errors[0].repair
