"""What moved a score since it was stored: the data, by causes that add up, or another model, told apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature import Feature
from features.record import Record, decode
from features.settings import Settings, Workspace
from serving.answer import Answer, Call, answered, entry, written
from serving.change import Case, changes, trend
from serving.desk import Said, said
from serving.ledger import Ledger, Stored
from serving.ledger.kept import packed
from serving.score import STEADY, Change
from serving.scorer import Scorer
from tests.serving.conftest import COLUMNS, QUESTION
from tests.serving.shop import fit
from training.contract import Column
from training.model import Model

THEN, NOW = datetime(2018, 5, 14, tzinfo=UTC), datetime(2018, 5, 15, tzinfo=UTC)
CALL = Call("test", None, "http")
Row = dict[str, float | str | None]
NUMBER = st.one_of(st.none(), st.floats(-2, 60, width=32))


@pytest.fixture(scope="module")
def scorer(model: Model, declarations: Mapping[str, Feature]) -> Scorer:
    return Scorer(model, "3", declarations)


@pytest.fixture(scope="module")
def rows(rows_of: Callable[..., Any]) -> list[Row]:
    return [{**row, "subscriptions_active_count": 1.0} for row in rows_of(60, 11)]


@pytest.fixture(scope="module")
def other(rows_of: Callable[..., Any], declarations: Mapping[str, Feature]) -> Callable[..., Scorer]:
    """Another version, on some of the columns, of a model that learned something else."""
    import pandas as pd

    def made(columns: tuple[Column, ...] = COLUMNS, seed: int = 23) -> Scorer:
        frame = pd.DataFrame(rows_of(1_500, seed))
        labels = (np.random.default_rng(2).random(len(frame)) < 0.15 + 0.05 * frame["orders_count_90d"].clip(0, 8)).astype(
            np.int8
        )
        return Scorer(fit({**QUESTION}, columns, frame, labels), "4", declarations)

    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(Workspace(tmp_path, Settings()))) as opened:
        yield opened


def one(scorer: Scorer, row: Row, at: datetime = NOW, entity_id: str = "c1") -> Said:
    records = [Record(entity_id, at, row)]
    return said(scorer, records, scorer.scored(records, at))[0]


def stored(made: Said, at: datetime = THEN) -> Stored:
    kept = entry(made, Answer(made.score, written(made.score)), at, CALL).stored
    assert kept is not None
    return kept


def changed(before: Stored, made: Said) -> Change | None:
    (answer,) = answered([made], {before.entity_id: before})
    assert answer.score.trend == trend(answer.score.change)
    return answer.score.change


def test_a_stored_score_read_back_and_compared_with_itself_has_no_causes(scorer: Scorer, rows: list[Row], ledger: Ledger) -> None:
    made = [one(scorer, row, entity_id=f"c{i}") for i, row in enumerate(rows)]
    ledger.keep([entry(each, Answer(each.score, written(each.score)), THEN, CALL) for each in made])
    back = ledger.latest("churn", [f"c{i}" for i in range(len(made))])
    for each, answer in zip(made, answered(made, back), strict=True):
        assert each.contributions is not None
        kept = np.frombuffer(back[each.score.entity_id or ""].contributions or b"", "<f8")
        assert kept.tobytes() == each.contributions.tobytes()
        found = answer.score.change
        assert found is not None and found["causes"] == () and found["from"] == found["to"] == each.score.score
        assert answer.score.trend == "steady" and found["since"] == NOW


def test_the_moves_of_all_measures_add_up_to_the_difference_of_the_raw_scores(scorer: Scorer, rows: list[Row]) -> None:
    for before, after in zip(rows[:30], rows[30:], strict=True):
        then, now = one(scorer, before), one(scorer, after)
        assert then.contributions is not None and now.contributions is not None
        added = now.contributions - then.contributions
        raw = scorer.model.raw(scorer.model.rows([before, after]))
        assert added.sum() == pytest.approx(raw[1] - raw[0], abs=1e-6)
        moved = scorer.told(after, added)
        assert [reason.contribution for reason in moved] == sorted(added.tolist(), key=abs, reverse=True)[:5]  # none has a twin
        found = changed(stored(then), now)
        if found is not None and found["causes"]:
            assert [cause.contribution for cause in found["causes"]] == [r.contribution for r in moved[: len(found["causes"])]]
            assert {cause.cause for cause in found["causes"]} == {"data"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_values_then_and_now_a_change_is_told(scorer: Scorer, other: Callable[..., Scorer], data: Any) -> None:
    def drawn() -> Row:
        row: Row = {c.name: data.draw(NUMBER) for c in COLUMNS if c.dtype == "number"}
        tier = data.draw(st.sampled_from([None, "basic", "plus", "gold", "other"]))
        return {**row, "subscriptions_tier_latest": tier, "subscriptions_active_count": 1.0}

    then, now = one(scorer, drawn(), THEN), one(scorer, drawn())
    found = changed(stored(then), now)
    assert found is not None and (found["from"], found["to"]) == (then.score.score, now.score.score)
    assert all(cause.text and math.isfinite(cause.contribution) and "nan" not in cause.text for cause in found["causes"])


def test_a_cause_says_what_the_value_is_and_what_it_was(scorer: Scorer) -> None:
    row: Row = {
        "logins_change_90d": 0.4, "orders_count_90d": 2.0, "subscriptions_tier_latest": "plus", "logins_days_since_last": 2.0,
        "nps_latest": 8.0, "subscriptions_mrr_now": 30.0, "subscriptions_active_count": 1.0,
    }  # fmt: skip
    now: Row = {**row, "logins_change_90d": -0.9, "logins_days_since_last": None, "subscriptions_tier_latest": "basic"}
    found = changed(stored(one(scorer, row)), one(scorer, now))
    assert found is not None
    texts = {cause.feature: cause.text for cause in found["causes"]}
    assert texts["logins_change_90d"] == "Logins have fallen over the last 90 days (-0.9); before: +0.4"
    assert texts["subscriptions_tier_latest"].endswith(" is basic; before: plus")
    assert texts["logins_days_since_last"].endswith(": never so far; before: 2 days")
    back = changed(stored(one(scorer, now)), one(scorer, row))
    assert back is not None
    assert {cause.text.split("; ")[1] for cause in back["causes"]} == {"before: -0.9", "before: never", "before: basic"}
    assert {cause.feature: -cause.contribution for cause in back["causes"]} == {
        c.feature: c.contribution for c in found["causes"]
    }


def test_a_value_that_stayed_is_not_said_to_have_changed(scorer: Scorer, rows: list[Row]) -> None:
    seen = 0
    for row in rows:
        change = 0.9 if (row["logins_change_90d"] or 0) < 0 else -0.9  # type: ignore[operator]
        found = changed(stored(one(scorer, row)), one(scorer, {**row, "logins_change_90d": change}))
        for cause in found["causes"] if found else ():
            assert ("; before: " in cause.text) == (cause.feature == "logins_change_90d")
            seen += "; much as before, but it counts differently" in cause.text
    assert seen > 0


def test_another_version_on_the_same_values_is_the_model_alone(
    scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]
) -> None:
    new = other()
    for row in rows[:20]:
        then, now = one(scorer, row, THEN), one(new, row)
        found = changed(stored(then), now)
        assert found is not None and now.score.probability and then.score.probability
        (cause,) = found["causes"]
        assert (cause.cause, cause.feature, cause.text) == ("model", None, "version 4 answers in place of version 3")
        odds = [math.log(p / (1 - p)) for p in (then.score.probability, now.score.probability)]
        assert cause.contribution == pytest.approx(odds[1] - odds[0])


def test_model_and_data_are_told_apart(scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]) -> None:
    new = other()
    before, after = rows[0], {**rows[0], "orders_count_90d": 9.0, "nps_latest": None}
    found = changed(stored(one(scorer, before, THEN)), one(new, after))
    assert found is not None
    model_part = next(cause for cause in found["causes"] if cause.cause == "model")
    data = [cause for cause in found["causes"] if cause.cause == "data"]
    again = changed(replaced(stored(one(scorer, before, THEN))), one(new, before))
    assert again is not None and again["causes"] == (model_part,)  # the model's part does not depend on what the data did
    of_new = changed(stored(one(new, before, THEN)), one(new, after))
    assert of_new is not None and list(of_new["causes"]) == data  # and the data's part is what it would have been without it
    assert [abs(c.contribution) for c in found["causes"]] == sorted((abs(c.contribution) for c in found["causes"]), reverse=True)


def replaced(before: Stored) -> Stored:
    """The same, as a ledger reads it back."""
    assert before.features is not None
    (record,) = packed([before.features])
    assert record is not None
    return before._replace(features=decode(before.features.layout, record))


def test_a_version_that_reads_fewer_features_is_asked_about_them(
    scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]
) -> None:
    found = changed(stored(one(scorer, rows[0], THEN)), one(other(COLUMNS[:3]), rows[0]))
    assert found is not None and [cause.cause for cause in found["causes"]] == ["model"]


def test_a_version_that_reads_other_features_says_that_it_cannot_tell(
    scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]
) -> None:
    small = other(COLUMNS[:3])
    then, now = one(small, rows[0], THEN), one(replace_version(scorer, "5"), rows[1])
    found = changed(stored(then), now)
    assert found is not None and now.score.probability and then.score.probability
    (cause,) = found["causes"]
    assert cause.text == (
        "version 5 answers in place of version 4, which read other features; "
        "what changed in the data cannot be told apart from that"
    )
    odds = [math.log(p / (1 - p)) for p in (then.score.probability, now.score.probability)]
    assert cause.contribution == pytest.approx(odds[1] - odds[0])


def test_of_a_night_without_reasons_it_is_said_that_they_were_not_kept(
    scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]
) -> None:
    before = stored(one(scorer, rows[0], THEN))._replace(contributions=None, features=None)
    found = changed(before, one(other(), rows[0]))
    assert found is not None
    assert [cause.text for cause in found["causes"]] == [
        "version 4 answers in place of version 3, of whose score the reasons were not kept; "
        "what changed in the data cannot be told apart from that"
    ]


def replace_version(scorer: Scorer, version: str) -> Scorer:
    return Scorer(scorer.model, version, {})


def test_one_that_cannot_be_read_again_leaves_the_others_their_causes(
    scorer: Scorer, other: Callable[..., Scorer], rows: list[Row]
) -> None:
    new = replace_version(scorer, "5")
    small = stored(one(other(COLUMNS[:3]), rows[0], THEN))
    cases = []
    for before, row in (
        (stored(one(other(), rows[0], THEN)), rows[1]),
        (small, rows[1]),
        (stored(one(other(), rows[2], THEN)), rows[3]),
    ):
        made = one(new, row)
        assert made.values is not None and made.contributions is not None
        cases.append(Case(before, made.score, made.values, made.contributions))
    found = changes(new, cases)
    assert [len(each["causes"]) > 1 if each else None for each in found] == [True, False, True]


@pytest.mark.parametrize("lost", [{"contributions": None}, {"contributions": b"\0" * 8}])
def test_a_stored_score_without_contributions_has_a_change_without_causes(
    scorer: Scorer, rows: list[Row], lost: dict[str, Any]
) -> None:
    found = changed(stored(one(scorer, rows[0]))._replace(**lost), one(scorer, rows[1]))
    assert found is not None and found["causes"] == ()


def test_a_stored_score_without_features_does_not_say_what_was_before(scorer: Scorer, rows: list[Row]) -> None:
    found = changed(stored(one(scorer, rows[0]))._replace(features=None), one(scorer, rows[1]))
    assert found is not None and found["causes"] and not any("before" in cause.text for cause in found["causes"])


def test_a_newcomer_that_became_known_is_compared(scorer: Scorer, rows: list[Row]) -> None:
    nothing: Row = {name: None for name in rows[0]} | {"orders_count_90d": 0.0, "subscriptions_active_count": 1.0}
    found = changed(stored(one(scorer, nothing, THEN)), one(scorer, rows[0]))
    assert found is not None and found["causes"] and "before: " in " ".join(cause.text for cause in found["causes"])


def test_where_one_of_the_two_is_no_score_there_is_no_change(scorer: Scorer, rows: list[Row]) -> None:
    scored, not_eligible = one(scorer, rows[0]), one(scorer, {**rows[0], "subscriptions_active_count": 0.0})
    assert not_eligible.score.score is None
    assert changed(stored(not_eligible), scored) is None and changed(stored(scored), not_eligible) is None
    held = scorer.unscored("c1", "held out", NOW, NOW, "holdout")
    assert changed(stored(Said(held, scorer)), scored) is None
    assert changed(stored(scored), Said(held, scorer)) is None
    (unknown,) = answered([scored], {})
    assert unknown.score.change is None and unknown.score.trend is None
    assert changed(stored(scored)._replace(document=b'{"score":null}', probability=0.123), scored) is None


@pytest.mark.parametrize(
    ("before", "after", "is_"),
    [(50, 49 + STEADY, "steady"), (50, 50 + STEADY, "rising"), (50, 51 - STEADY, "steady"), (50, 50 - STEADY, "falling"),
     (50, 50, "steady")],
)  # fmt: skip
def test_three_points_are_a_trend(before: int, after: int, is_: str) -> None:
    assert trend({"from": before, "to": after, "since": NOW - timedelta(days=1), "causes": ()}) == is_


def test_without_a_change_there_is_no_trend() -> None:
    assert trend(None) is None
