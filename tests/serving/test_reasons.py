"""What is said about a value must be true of it, whatever everybody else's value is."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.customer import VIEWS as CUSTOMER_VIEWS
from features.feature import KINDS, Feature, Kind
from features.lead import VIEWS as LEAD_VIEWS
from features.propensity import Phrases
from serving import reasons
from serving.reasons import TOP, Reason, Reasoner
from serving.wording import NOT_KNOWN, Value, Wording, shown, wordings

DECLARED = {feature.name: feature for view in (*LEAD_VIEWS, *CUSTOMER_VIEWS) for feature in view.columns}


def say(name: str, value: Value, usual: tuple[float, float] = NOT_KNOWN, phrases: Phrases | None = None) -> str:
    return wordings([name], DECLARED, {name: phrases} if phrases else {}, {name: usual})[0].sentence(value)


def top(names: list[str], declared: dict[str, Feature], values: list[Value], contributions: list[float]) -> tuple[Reason, ...]:
    rows = [dict(zip(names, values, strict=True))]
    return Reasoner(wordings(names, declared, {}, {})).reasons(rows, np.array([contributions]))[0]


def test_a_change_speaks_of_risen_and_fallen_not_of_more_or_less_than_usual() -> None:
    assert say("logins_change_90d", -0.1, usual=(-0.5, -0.5)) == "Logins have fallen over the last 90 days (-0.1)"
    assert say("logins_change_90d", 0.25, usual=(0.5, 0.5)) == "Logins have risen over the last 90 days (+0.2)"


def test_a_value_is_high_or_low_against_the_usual_one() -> None:
    assert say("logins_days_since_last", 40.0, usual=(12.0, 12.0)) == "The last login is longer ago than for most (40 days)"
    assert say("logins_days_since_last", 1.0, usual=(12.0, 12.0)) == "The last login is more recent than for most (1 day)"


def test_a_zero_below_zero_is_a_zero_whatever_was_said_before() -> None:
    assert say("subscriptions_mrr_now", -0.0) == say("subscriptions_mrr_now", 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["", "days", "share", "count", "points"])
def test_a_value_without_end_is_called_infinite(kind: Kind, unit: str) -> None:
    feature = Feature("x", kind, meaning="the worth of a visit", unit=unit)
    assert shown(feature, math.inf) == "infinite" and shown(feature, -math.inf) == "minus infinite"
    told = Wording(feature, Phrases(), (1.0, 2.0)).sentence(math.inf)
    assert told.removesuffix(", more than most") == "The worth of a visit: infinite"


@pytest.mark.parametrize("value", [9.0, 12.0, 20.0])
def test_a_usual_value_is_stated_and_not_judged(value: float) -> None:
    assert say("logins_days_since_last", value, usual=(9.0, 20.0)) == f"Days since the last login: {value:.0f} days"


def test_without_a_usual_value_nothing_is_called_high_or_low() -> None:
    assert say("logins_days_since_last", 12.0) == "Days since the last login: 12 days"


def test_no_case_is_never_said_of_somebody_with_a_case() -> None:
    assert say("cases_count_90d", 0.0, usual=(0.0, 0.0)) == "Opened no case in the last 90 days (0)"
    assert say("cases_count_90d", 2.0, usual=(5.0, 5.0)) == "Cases opened in the last 90 days: 2, fewer than most"


def test_the_phrases_of_a_propensity_come_first() -> None:
    phrases = Phrases(low="Logins have dried up")
    assert say("logins_change_90d", -0.6, phrases=phrases) == "Logins have dried up (-0.6)"
    assert say("logins_change_90d", 0.6, phrases=phrases) == "Logins have risen over the last 90 days (+0.6)"


def test_whether_something_holds_is_said_without_a_number() -> None:
    assert say("lead_is_customer", 1.0, usual=(0.0, 0.0)) == "Already a customer"
    assert say("lead_is_customer", 0.0, usual=(0.0, 0.0)) == "Not a customer yet"


def test_a_category_names_its_value() -> None:
    assert say("vehicle_condition_latest", "used") == "Whether the newest vehicle was bought new: used"
    assert say("channel_latest", "web") == "The channel of the last contact is web"
    origin = Wording(Feature("lead_origin", "attribute", "origin", dtype="category"), Phrases(), NOT_KNOWN)
    assert origin.sentence("organic_search") == "Origin is organic_search"
    assert origin.sentence(None) == "Origin is not known"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nps_latest", "The last answer to the NPS survey: none known so far"),
        ("csat_mean_365d", "Mean satisfaction in the last 365 days: none known"),
        ("orders_days_since_last", "The last order: never so far"),
        ("subscriptions_renewal_days", "The next renewal: none ahead"),
        ("orders_change_30d", "Orders of the last 30 days against the 30 before: nothing to compare"),
    ],
)
@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_value_is_put_into_words(name: str, sentence: str, missing: Value) -> None:
    assert say(name, missing, usual=(3.0, 3.0)) == sentence


@pytest.mark.parametrize(
    ("name", "value", "usual", "sentence"),
    [
        ("nps_latest", 9.0, (10.0, 10.0), "A lower mark in the NPS survey than most (9)"),
        ("nps_latest", 3.0, (1.0, 2.0), "A higher mark in the NPS survey than most (3)"),
        ("vehicles_count", 1.0, (0.0, 0.0), "Has more vehicles than most (1)"),
        ("test_drives_count_30d", 1.0, (0.0, 0.0), "More test drives in the last 30 days than for most (1)"),
        ("test_drives_count_30d", 3.0, (5.0, 9.0), "Test drives in the last 30 days: 3, fewer than most"),
        ("test_drives_count_30d", 0.0, (0.0, 0.0), "No test drives in the last 30 days (0)"),
        ("orders_recent_ratio", 0.3, (0.1, 0.25), "A larger share of the year's orders is recent than for most (30 %)"),
        ("orders_change_30d", -0.04, (0.1, 0.2), "Orders of the last 30 days against the 30 before: 0, less than most"),
        ("orders_change_30d", 0.1, (0.5, 0.6), "Orders have risen over the last 30 days (+0.1)"),
        ("orders_amount_sum_30d", 0.0, (0.0, 0.0), "Worth of orders less returns in the last 30 days: 0"),
        ("orders_days_since_last", 0.5, (0.1, 0.2), "The last order is longer ago than for most (0.5 days)"),
        ("lead_created_weekday", 2.0, (1.0, 1.0), "Came in later in the week than most (Tuesday)"),
    ],
)
def test_a_sentence_is_true_whatever_is_usual(name: str, value: float, usual: tuple[float, float], sentence: str) -> None:
    assert say(name, value, usual=usual) == sentence


ABSOLUTE = re.compile(
    r"\b(several|many|much|often|few|hardly|most of|long ago|for long|lately|recently|just now|near|far|late|early|fresh|quiet|"
    r"large|small|high|low|easy|hard|would)\b",
    re.IGNORECASE,
)
RELATIVE_WORDS = re.compile(r"(so far|more often|more recently|quiet for longer|silent for longer)")
RELATIVE = re.compile(r"\b(than (for )?most|longer|shorter|older|younger|newer)\b")
NOTHING = re.compile(r"\b(no|not|none|nothing|never|few)\b", re.IGNORECASE)


@pytest.mark.parametrize("feature", [f for f in DECLARED.values() if f.dtype == "number"], ids=lambda feature: feature.name)
def test_no_word_is_said_of_a_value_of_which_it_is_not_true(feature: Feature) -> None:
    """For every number and every quartile: words that compare only beyond the quartiles, "no" only of none, and so on."""
    signed = feature.kind in ("change", "sum")
    values = [*([-50.0, -1.0, -0.1, -0.04] if signed else []), 0.0, 0.04, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 6.0, 9.0, 23.0, 40.0]
    if feature.kind in ("change", "weekday", "holds"):
        values = {"change": [v for v in values if abs(v) <= 1], "weekday": [1.0, 2.0, 7.0], "holds": [0.0, 1.0]}[feature.kind]
    for value, below, above in itertools.product(values, values, values):
        if below <= above:
            words = say(feature.name, value, usual=(below, above)).replace(feature.meaning[1:], "")
            assert not ABSOLUTE.search(RELATIVE_WORDS.sub("", words)), words
            assert bool(RELATIVE.search(words)) <= (value > above or value < below), (words, below, above)
            assert bool(NOTHING.search(words)) <= (value == 0), words
            assert ("risen" in words) <= (value >= 0.1) and ("fallen" in words) <= (value <= -0.1), words
            assert not re.search(r"[-+]0(\.0)?(?![.\d])", words), words


@pytest.mark.parametrize(
    ("phrases", "value", "usual", "sentence"),
    [
        (Phrases(high="Has many cases"), 1.0, (0.0, 0.0), "Cases opened in the last 90 days: 1, more than most"),
        (Phrases(high="Has many cases"), 2.0, (0.0, 0.0), "Has many cases (2)"),
        (Phrases(low="Few or none"), 3.0, (5.0, 9.0), "Cases opened in the last 90 days: 3, fewer than most"),
        (Phrases(low="Few or none"), 0.0, (0.0, 9.0), "Few or none (0)"),
        (Phrases(low="Fewer than before"), 0.0, (0.0, 9.0), "Cases opened in the last 90 days: 0"),
    ],
)
def test_the_words_of_others_are_held_to_the_value_too(
    phrases: Phrases, value: float, usual: tuple[float, float], sentence: str
) -> None:
    assert say("cases_count_90d", value, usual, phrases) == sentence


def test_every_declared_feature_can_be_spoken_about_in_one_line() -> None:
    for feature in DECLARED.values():
        values: tuple[Value, ...] = ("web", None) if feature.dtype == "category" else (0.0, 1.0, 3.0, 1234.5, None)
        for value in values[:3] if feature.kind in ("weekday", "hour") else values:
            sentence = say(feature.name, 1.0 if feature.kind == "weekday" and value == 0 else value, usual=(2.0, 2.0))
            assert sentence[0] == sentence[0].upper() and "\n" not in sentence and "nan" not in sentence and len(sentence) < 120


def test_a_feature_that_is_no_longer_declared_is_spoken_about_by_its_name() -> None:
    assert say("gone_feature_30d", 3.0) == "Gone feature 30d: 3"


@pytest.mark.parametrize(
    ("unit", "kind", "value", "text"),
    [
        ("days", "age", 1.0, "1 day"),
        ("days", "age", 4.47, "4.5 days"),
        ("days", "age", 0.96, "1 day"),
        ("days", "age", 77.31, "77 days"),
        ("share", "ratio", 0.452, "45 %"),
        ("money", "sum", 1234567.891, "1,234,568"),
        ("money a month", "sum", 49.9, "49.9 a month"),
        ("count", "count", 7.0, "7"),
        ("0-10", "latest", 9.0, "9"),
        ("points", "sum", 1200.0, "1,200 points"),
        ("1 (Monday) to 7", "weekday", 5.0, "Friday"),
        ("hour, UTC", "hour", 9.0, "09:00 UTC"),
    ],
)
def test_numbers_are_written_as_people_write_them(unit: str, kind: str, value: float, text: str) -> None:
    assert shown(Feature("f", kind, unit=unit), value) == text  # type: ignore[arg-type]


def test_the_five_largest_contributions_come_first_and_ties_keep_the_models_order() -> None:
    names = ["a", "b", "c", "d", "e", "f", "g"]
    found = top(names, {}, [1.0] * 7, [0.1, -0.5, 0.5, 0.2, 0.0, -0.05, 0.3])
    assert [reason.feature for reason in found] == ["b", "c", "g", "d", "a"]
    assert [reason.direction for reason in found] == ["lowers", "raises", "raises", "raises", "raises"]


def test_twins_are_one_reason_told_by_the_one_that_moved_most() -> None:
    names = ["logins_count_7d", "logins_count_30d", "logins_change_30d", "logins_count_90d", "lead_age_days"]
    found = top(names, DECLARED, [1.0, 2.0, 0.5, 3.0, 9.0], [0.5, -0.1, 0.25, 0.3, -0.6])
    assert [reason.feature for reason in found] == ["logins_count_7d", "lead_age_days", "logins_change_30d"]
    assert found[0].features == ("logins_count_7d", "logins_count_30d", "logins_count_90d")
    assert found[0].contribution == pytest.approx(0.7) and found[0].value == 1.0
    assert found[1].features == ("lead_age_days",)


@pytest.mark.parametrize(
    ("added", "spoken"),
    [
        ([0.1, 0.6, 0.2], "logins_count_30d"),  # not the first
        ([0.1, 0.2, 0.6], "logins_count_90d"),
        ([0.3, -0.2, -0.9], "logins_count_90d"),  # in the direction of them all
        ([0.9, -0.2, -0.8], "logins_count_90d"),  # though another moved it more
        ([0.4, 0.4, 0.1], "logins_count_7d"),  # of equal ones the first
        ([-0.1, -0.4, -0.4], "logins_count_30d"),
    ],
)
@pytest.mark.parametrize("other", [9.0, -9.0])
def test_of_twins_one_is_spoken_about(added: list[float], spoken: str, other: float) -> None:
    """Beside a smaller group, and a feature alone that moved the score more than all of them."""
    names = ["logins_count_7d", "logins_count_30d", "logins_count_90d", "cases_count_30d", "cases_count_90d", "lead_age_days"]
    found = top(names, DECLARED, [7.0, 30.0, 90.0, 1.0, 2.0, 3.0], [*added, -0.01, -0.02, other])
    assert [reason.feature for reason in found] == ["lead_age_days", spoken, "cases_count_90d"]
    assert found[1].value == {"7d": 7.0, "30d": 30.0, "90d": 90.0}[spoken.rpartition("_")[2]]


def test_twins_that_cancel_out_are_no_reason() -> None:
    assert top(["cases_count_30d", "cases_count_90d"], DECLARED, [1.0, 1.0], [0.5, -0.5]) == ()


def test_no_two_measures_are_taken_for_twins() -> None:
    by_measure: dict[tuple[str, str], set[tuple[object, ...]]] = {}
    for view in (*LEAD_VIEWS, *CUSTOMER_VIEWS):
        for feature in view.columns:
            said = (feature.kind, feature.column, feature.where, feature.at, feature.unit)
            by_measure.setdefault((view.entity, feature.measure), set()).add(said)
    assert [measure for measure, said in by_measure.items() if len(said) > 1] == []


def test_a_feature_that_moved_nothing_is_no_reason() -> None:
    assert top(["a"], {}, [1.0], [0.0]) == ()


def test_of_more_values_than_are_kept_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "SENTENCES_KEPT", 2)
    reasoner = Reasoner(wordings(["amount"], {}, {}, {}))
    for _ in range(2):
        told = reasoner.reasons([{"amount": float(i)} for i in range(5)], np.ones((5, 1)))
        assert [one.text for (one,) in told] == [f"Amount: {i}" for i in range(5)]
    assert [len(kept) for kept in reasoner._sentences] == [2]


@settings(deadline=None)
@given(st.integers(0, 8), st.integers(1, 9), st.integers(0, 1_000), st.booleans())
def test_the_largest_come_first_and_equal_ones_in_order(rows: int, columns: int, seed: int, has_ties: bool) -> None:
    added = np.random.default_rng(seed).normal(size=(rows, columns))
    added = np.round(added) if has_ties else added
    measures, sums = Reasoner(wordings([f"f{i}" for i in range(columns)], {}, {}, {})).largest(added)
    expected = [sorted(range(columns), key=lambda i: (-abs(row[i]), i))[:TOP] for row in added]
    assert measures.tolist() == expected
    assert sums.tolist() == [[row[i] for i in mine] for row, mine in zip(added, expected, strict=True)]


def test_numbers_taken_from_what_the_model_was_given_say_the_same() -> None:
    names = ["visits", "kind", "worth"]
    rows = [{"visits": 3.0, "kind": "web", "worth": None}, {"visits": -0.0, "kind": None, "worth": math.nan}]
    added, encoded = np.array([[0.3, -0.2, 0.1], [0.1, 0.2, -0.3]]), np.array([[3.0, 1.0, np.nan], [-0.0, np.nan, np.nan]])
    reasoner = Reasoner(wordings(names, {}, {}, {}), categories=["kind"])
    assert repr(reasoner.reasons(rows, added, encoded)) == repr(reasoner.reasons(rows, added))
