"""The challenger is heard after the answer, about those the champion gave a score; whatever happens to it, the answers go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from features.errors import StoreError
from features.feature import Feature
from features.record import Record
from features.settings import Settings, Workspace
from serving.desk import Desk
from serving.ledger import Compared, Ledger
from serving.reader import Ask
from serving.scorer import Scorer
from serving.shadow import MOST_WAITING, Shadow, compared
from training.model import Model

NOW = datetime(2018, 5, 15, tzinfo=UTC)
Rows = list[dict[str, float | str | None]]


@pytest.fixture(scope="module")
def desk(model: Model, declarations: Mapping[str, Feature]) -> Desk:
    return Desk(Scorer(model, "1", declarations), Scorer(model, "2", declarations), is_shadowed=True)


@pytest.fixture(scope="module")
def records(rows_of: Callable[..., Rows]) -> list[Record]:
    return [Record(f"c{i}", NOW, row) for i, row in enumerate(rows_of(40))]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(Workspace(tmp_path, Settings()))) as opened:
        yield opened


def answers(desk: Desk, records: list[Record]) -> Any:
    return desk.answer([Ask(record.entity_id) for record in records], records, NOW)


def test_what_is_kept_is_what_both_said_of_those_who_got_a_score(desk: Desk, records: list[Record], ledger: Ledger) -> None:
    said = answers(desk, records)
    shadow = Shadow(ledger)
    shadow.start()
    shadow.hear(desk, said[:25], NOW)
    shadow.hear(desk, said[25:], NOW)
    shadow.stop(60)
    scored = [one.score for one in said if one.score.score is not None]
    assert 0 < len(scored) < len(records) and shadow.left_out == 0
    kept = [(one.entity_id, one.champion_probability, one.challenger_probability) for one in ledger.compared("churn")]
    assert kept == [(score.entity_id, score.probability, score.probability) for score in scored]  # the same model, to the bit
    assert {(one.champion, one.challenger, one.at) for one in ledger.compared("churn")} == {("1", "2", NOW)}


def test_whom_the_canary_took_is_not_compared(desk: Desk, records: list[Record]) -> None:
    half = Desk(desk.scorer, desk.challenger, canary=0.5, is_shadowed=True)
    said = answers(half, records)
    by_champion = {one.score.entity_id for one in said if one.scorer is half.scorer and one.score.score is not None}
    assert {row.entity_id for row in compared(half, said, NOW)} == by_champion and 0 < len(by_champion) < len(records)


@pytest.mark.parametrize("is_shadowed", [True, False])
def test_without_a_shadow_or_a_challenger_nobody_is_heard(
    desk: Desk, records: list[Record], ledger: Ledger, is_shadowed: bool
) -> None:
    shadow = Shadow(ledger)
    shadow.hear(Desk(desk.scorer, None if is_shadowed else desk.challenger, is_shadowed=is_shadowed), answers(desk, records), NOW)
    shadow.start()
    shadow.stop(60)
    assert ledger.compared("churn") == [] and shadow.left_out == 0


def test_a_challenger_that_lacks_a_feature_has_nothing_to_say(desk: Desk, records: list[Record], declarations: Any) -> None:
    from features.operation import PolicySettings
    from serving.policy import Policy

    curious = Policy(PolicySettings(suppress={"customer": ("orders_sum_999d > 1",)}), "customer")
    assert desk.challenger is not None
    other = Desk(desk.scorer, Scorer(desk.challenger.model, "2", declarations, curious), is_shadowed=True)
    assert compared(other, answers(desk, records), NOW) == []


class Failing:
    """A ledger that fails at first: with what it says itself, or with a bug."""

    def __init__(self, *problems: Exception) -> None:
        self.problems, self.kept = list(problems), 0

    def keep_shadow(self, rows: list[Compared]) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.kept += len(rows)


def test_whatever_fails_costs_that_comparison_alone(desk: Desk, records: list[Record]) -> None:
    failing = Failing(StoreError("ledger", expected="an answer", received="none", repair="wait"), ZeroDivisionError("a bug"))
    shadow = Shadow(failing)  # type: ignore[arg-type]
    shadow.start()
    for _ in range(3):
        shadow.hear(desk, answers(desk, records), NOW)
    shadow.stop(60)
    assert shadow.left_out == 2 and failing.kept > 0


def test_beyond_what_it_can_keep_up_with_it_leaves_out_and_does_not_wait(
    desk: Desk, records: list[Record], ledger: Ledger
) -> None:
    shadow = Shadow(ledger)  # not started: nothing is taken away
    for _ in range(MOST_WAITING + 3):
        shadow.hear(desk, [], NOW)
    assert shadow.left_out == 3
    shadow.stop(0.01)  # it never began, so there is nothing to wait for
    assert not any(thread.name == "shadow" and thread.is_alive() for thread in threading.enumerate())
