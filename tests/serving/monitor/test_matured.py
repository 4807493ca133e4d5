"""Matured outcomes: what was served, once its horizon has passed, with what happened; nothing immature, nothing twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features import snapshot
from features.errors import PropensityError
from features.settings import Settings, Workspace
from serving.monitor import matured, served
from serving.partition import folder
from tests.serving.ledger.conftest import schema
from tests.serving.monitor.worlds import DAY, HORIZON, MICROSECOND, MONDAY, UNTIL, asked, keep, naive, night, silent, world
from tests.worlds import make_workspace


def update(workspace: Workspace, until: datetime = UNTIL) -> tuple[matured.Coverage, ...]:
    return matured.update(workspace, "churn", until, silent)


def rows(workspace: Workspace) -> list[tuple[Any, ...]]:
    frame = matured.read(workspace, "churn")
    return [tuple(row) for row in frame[["entity_id", "road", "model_version", "probability", "label"]].itertuples(index=False)]


def files(workspace: Workspace) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(workspace.watch.rglob("*")) if path.is_file()}


def test_nothing_matures_where_nothing_was_served(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None})
    assert update(workspace) == () and matured.read(workspace, "churn").empty and not workspace.watch.exists()
    assert list(matured.read(workspace, "churn").columns) == matured.SCHEMA.names


def test_a_score_matures_at_the_microsecond_at_which_its_horizon_ends(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": MONDAY})
    night(workspace, MONDAY, {"a": 0.5})
    (before,) = update(workspace, MONDAY + HORIZON - MICROSECOND)
    assert (before.matured, before.waiting, before.next_at) == (0, 1, MONDAY + HORIZON) and rows(workspace) == []
    (after,) = update(workspace, MONDAY + HORIZON)
    assert (after.matured, after.waiting, after.next_at) == (1, 0, None)
    assert rows(workspace) == [("a", "batch", "1", 0.5, 1)]


def test_the_horizon_is_half_open(tmp_path: Path) -> None:
    ends = {"before": MONDAY - MICROSECOND, "first": MONDAY, "last": MONDAY + HORIZON - MICROSECOND, "after": MONDAY + HORIZON}
    workspace = world(tmp_path, {**ends, "never": None})
    night(workspace, MONDAY, dict.fromkeys([*ends, "never"], 0.5))
    update(workspace)
    assert {row[0]: row[-1] for row in rows(workspace)} == {"before": 0, "first": 1, "last": 1, "after": 0, "never": 0}


def test_of_a_week_the_first_score_counts_and_the_next_week_begins_on_monday(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": MONDAY + DAY, "b": None})
    night(workspace, MONDAY, {"a": 0.1})
    night(workspace, MONDAY + 6 * DAY, {"a": 0.2, "b": 0.3})
    night(workspace, MONDAY + 7 * DAY, {"a": 0.4})
    first, second = update(workspace, UNTIL)
    assert (first.given, first.matured, second.given, second.matured) == (2, 2, 1, 1)
    assert rows(workspace) == [("a", "batch", "1", 0.1, 1), ("b", "batch", "1", 0.3, 0), ("a", "batch", "1", 0.4, 0)]


def test_a_version_that_takes_over_within_a_week_has_rows_of_its_own(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": MONDAY + 3 * DAY})
    night(workspace, MONDAY, {"a": 0.1})
    night(workspace, MONDAY + DAY, {"a": 0.2}, version="2")
    night(workspace, MONDAY + 2 * DAY, {"a": 0.3}, version="2")
    assert update(workspace)[0].given == 2
    assert rows(workspace) == [("a", "batch", "1", 0.1, 1), ("a", "batch", "2", 0.2, 1)]


@pytest.mark.parametrize("ledger", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_what_was_asked_for_counts_beside_the_batch_and_what_was_no_new_score_does_not(tmp_path: Path, ledger: str) -> None:
    if ledger == "postgres":
        with schema() as address:
            _both_roads(tmp_path, address)
    else:
        _both_roads(tmp_path, "sqlite")


def _both_roads(root: Path, ledger: str) -> None:
    workspace = world(root, {"a": MONDAY + 3 * DAY, "b": None}, serving={"ledger": ledger, "ledger_deadline_ms": 5_000})
    night(workspace, MONDAY, {"a": 0.1, "withheld": None})
    at = MONDAY + DAY + MICROSECOND
    keep(workspace, [
        asked("a", at + MICROSECOND, 0.3), asked("a", at, 0.2), asked("a", at, 0.25), asked("a", at + DAY, 0.4, road="hook"),
        asked("b", at, degraded=True), asked("b", at, road="read"), asked("b", at, policy="holdout"), asked("b", at, None),
        asked(None, at), asked("b", at, propensity="upsell"), asked("b", at, road="batch"),
        asked("b", MONDAY - MICROSECOND), asked("b", MONDAY + 7 * DAY),
    ])  # fmt: skip
    weeks = update(workspace, UNTIL)
    assert [(week.monday, week.given) for week in weeks] == [(MONDAY - 7 * DAY, 1), (MONDAY, 3), (MONDAY + 7 * DAY, 1)]
    assert [row for row in rows(workspace) if row[0] == "a"] == [
        ("a", "batch", "1", 0.1, 1), ("a", "http", "1", 0.2, 1), ("a", "hook", "1", 0.4, 1),
    ]  # fmt: skip
    assert update(workspace, UNTIL) == weeks


def test_scores_are_read_a_week_at_a_time(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None})
    for week in range(3):
        night(workspace, MONDAY + 7 * week * DAY, {"a": 0.1 * (week + 1)})
    found = [(monday, table["probability"].to_pylist()) for monday, table in served.read(workspace, "churn")]
    assert found == [(MONDAY + 7 * week * DAY, [0.1 * (week + 1)]) for week in range(3)]


def test_a_partition_that_is_not_whole_is_not_looked_at(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None})
    night(workspace, MONDAY, {"a": 0.1})
    (folder(workspace, "churn", MONDAY) / "_receipt.json").unlink()
    assert update(workspace) == ()


def test_a_late_correction_changes_a_label_until_the_week_is_settled(tmp_path: Path) -> None:
    settled_at = UNTIL + 30 * DAY
    workspace = world(tmp_path, {"a": None, "b": None})
    night(workspace, MONDAY, {"a": 0.5, "b": 0.5})
    (week,) = update(workspace)
    assert not week.settled and [row[-1] for row in rows(workspace)] == [0, 0]

    late = world(tmp_path, {"a": MONDAY + DAY, "b": None}, now=settled_at - MICROSECOND)
    (week,) = update(late, settled_at - MICROSECOND)
    assert not week.settled and [row[-1] for row in rows(workspace)] == [1, 0]

    world(tmp_path, {"a": MONDAY + DAY, "b": None}, now=settled_at)
    assert update(workspace, settled_at)[0].settled
    too_late = world(tmp_path, {"a": MONDAY + DAY, "b": MONDAY + DAY}, now=settled_at + DAY)
    update(too_late, settled_at + DAY)
    assert [row[-1] for row in rows(workspace)] == [1, 0]


def test_a_settled_week_outlives_the_scores_it_was_made_from(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": MONDAY + DAY, "b": None}, now=UNTIL + 31 * DAY)
    night(workspace, MONDAY, {"a": 0.5, "b": 0.5})
    weeks = update(workspace, UNTIL + 31 * DAY)
    before = files(workspace)
    shutil.rmtree(workspace.scores)
    assert update(workspace, UNTIL + 40 * DAY) == weeks and files(workspace) == before


def test_a_week_that_is_not_settled_keeps_what_it_knew_of_scores_that_were_removed(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None, "b": None})
    night(workspace, MONDAY, {"a": 0.5})
    night(workspace, MONDAY + DAY, {"a": 0.6, "b": 0.7})
    update(workspace)
    shutil.rmtree(folder(workspace, "churn", MONDAY))
    late = world(tmp_path, {"a": MONDAY + DAY, "b": None}, now=UNTIL + DAY)
    update(late, UNTIL + DAY)
    assert rows(workspace) == [("a", "batch", "1", 0.5, 1), ("b", "batch", "1", 0.7, 0)]


def test_scores_that_were_made_anew_take_the_place_of_those_before(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None})
    night(workspace, MONDAY, {"a": 0.5})
    update(workspace)
    night(workspace, MONDAY, {"a": 0.6})
    update(workspace)
    assert rows(workspace) == [("a", "batch", "1", 0.6, 0)]


def test_what_is_unchanged_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = world(tmp_path, {"a": None})
    night(workspace, MONDAY, {"a": 0.5})
    night(workspace, MONDAY + 70 * DAY, {"a": 0.5})  # waits
    weeks, before = update(workspace), files(workspace)
    monkeypatch.setattr(served, "first", None)
    assert update(workspace) == weeks and update(workspace, UNTIL + DAY) == weeks and files(workspace) == before


def test_killed_between_two_weeks_and_run_again_it_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    ended = {"a": MONDAY + DAY, "b": None}
    whole, broken = (world(tmp_path / name, ended, now=UNTIL + 21 * DAY) for name in ("whole", "broken"))
    for workspace in (whole, broken):
        for week in range(3):
            night(workspace, MONDAY + 7 * week * DAY, {"a": 0.1, "b": 0.2})
    update(whole, UNTIL + 21 * DAY)
    write = matured.write_atomically
    for allowed in range(6):  # each file of each week once
        calls = []

        def dying(path: Path, content: bytes, allowed: int = allowed, calls: list[Path] = calls) -> None:
            if len(calls) == allowed:
                raise Killed
            calls.append(path)
            write(path, content)

        shutil.rmtree(broken.watch, ignore_errors=True)
        monkeypatch.setattr(matured, "write_atomically", dying)
        with pytest.raises(Killed):
            update(broken, UNTIL + 21 * DAY)
        monkeypatch.setattr(matured, "write_atomically", write)
        update(broken, UNTIL + 21 * DAY)
        assert list(files(broken).values()) == list(files(whole).values())


def test_another_outcome_is_looked_for_anew_even_in_settled_weeks(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": MONDAY + 40 * DAY}, now=UNTIL + 31 * DAY)
    night(workspace, MONDAY, {"a": 0.5})
    assert update(workspace, UNTIL + 31 * DAY)[0].settled and rows(workspace)[0][-1] == 1
    shorter(workspace, 30)
    assert update(workspace, UNTIL + 31 * DAY)[0].settled and rows(workspace)[0][-1] == 0


def test_where_the_outcome_is_not_recorded_it_says_so(tmp_path: Path) -> None:
    tables = {"customers": [{"customer_id": "a", "created_at": datetime(2022, 1, 1)}]}
    workspace = make_workspace(tmp_path, tables, now=UNTIL.isoformat())
    with pytest.raises(PropensityError, match="subscriptions"):
        update(workspace)


def shorter(workspace: Workspace, days: int) -> None:
    workspace.own_propensities.mkdir()
    (workspace.own_propensities / "churn.toml").write_text(
        f'question = "?"\nentity = "customer"\nhorizon = "{days}d"\n[outcome]\ntable = "subscriptions"\nat = "ended_at"\n'
    )


SPENDING = """question = "?"
entity = "customer"
horizon = "90d"
[outcome]
table = "orders"
sum = "amount"
at_least = "2 * orders_amount_sum_90d"
"""


def test_a_sum_is_held_against_the_newest_snapshot_before_the_score_or_not_at_all(tmp_path: Path) -> None:
    orders = [("a", -10, 50.0), ("b", -10, 50.0), ("a", 5, 100.0), ("b", 5, 99.0), ("new", 5, 999.0)]
    births = (("a", -300), ("b", -300), ("new", 1))
    tables = {
        "customers": [
            {"customer_id": name, "created_at": naive(MONDAY + days * DAY)} for name, days in births
        ],
        "orders": [
            {"order_id": f"O{number}", "customer_id": name, "occurred_at": naive(MONDAY + days * DAY), "amount": amount}
            for number, (name, days, amount) in enumerate(orders)
        ],
    }  # fmt: skip
    workspace = make_workspace(tmp_path, tables, now=UNTIL.isoformat(), settings=Settings())
    workspace.own_propensities.mkdir()
    (workspace.own_propensities / "churn.toml").write_text(SPENDING)
    keep(workspace, [asked(name, MONDAY + 2 * DAY) for name in ("a", "b", "new")])
    (week,) = update(workspace)
    assert (week.given, week.matured, week.unlabelled) == (3, 0, 3)

    snapshot.build(workspace, [MONDAY, MONDAY + 3 * DAY])
    stale = json.loads((matured.folder(workspace, "churn", MONDAY) / matured.COVERAGE).read_text())
    assert stale["unlabelled"] == 3
    (week,) = update(workspace)
    assert (week.given, week.matured, week.unlabelled) == (3, 2, 1)
    assert {row[0]: row[-1] for row in rows(workspace)} == {"a": 1, "b": 0}

    snapshot.remove(workspace, [MONDAY])
    (again,) = matured.update(dataclasses.replace(workspace), "churn", UNTIL + DAY, silent)
    assert again.matured == 2 and {row[0]: row[-1] for row in rows(workspace)} == {"a": 1, "b": 0}


def test_the_rows_have_the_types_that_others_read(tmp_path: Path) -> None:
    workspace = world(tmp_path, {"a": None})
    night(workspace, MONDAY, {"a": 0.5})
    update(workspace)
    (path,) = workspace.watch.rglob("*.parquet")
    read = pd.read_parquet(path, partitioning=None)
    assert list(read.columns) == matured.SCHEMA.names and str(read["scored_at"].dtype) == "datetime64[us, UTC]"
