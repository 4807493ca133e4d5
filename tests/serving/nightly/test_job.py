"""The steps of a night: done once, skipped while nothing changed, and one that fails does not take the others with it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.fitted import PASSED
from features import snapshot
from features.catalog import Catalog
from features.errors import CallError, ContractError, QualityError, StoreError, TableError
from features.operation import NightlySettings
from features.settings import Workspace
from features.views import views
from serving import batch
from serving.nightly import job
from serving.nightly.job import Night
from serving.nightly.receipt import Receipts
from serving.nightly.tables import INDEX, newest_as_of
from serving.partition import PART, RECEIPT, digest, folder
from tests.serving.nightly.conftest import Nights
from tests.serving.nightly.state import last_scores, state
from tests.serving.shop import NOW
from training import registry

CLOCK = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
STEPS = [
    "ingest", "check", "freshness", "snapshot", "materialise", "score churn", "score lead-conversion", "latest", "monitor",
    "retention",
]  # fmt: skip


def night(workspace: Workspace, as_of: datetime = NOW, now: datetime = CLOCK, bars: list[str] | None = None) -> Night:
    def progress(what: str, total: int) -> Any:
        if bars is not None:
            bars.append(what)
        return nullcontext(lambda units: None)

    return job.run(workspace, as_of, now, progress, lambda ended: None)


def with_nightly(workspace: Workspace, **settings: Any) -> Workspace:
    nightly = NightlySettings.model_validate(settings)
    return dataclasses.replace(workspace, settings=workspace.settings.model_copy(update={"nightly": nightly}))


def named(ended: Night, status: str) -> list[str]:
    return [one.step for one in ended.steps if one.status == status]


def add(workspace: Workspace, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to the export."""
    path = workspace.source / f"{table}.parquet"
    before = pd.read_parquet(path)
    after = pd.concat([before, pd.DataFrame(rows)], ignore_index=True)
    after.astype({name: kind for name, kind in before.dtypes.items() if kind != "bool"}).to_parquet(path, index=False)


@pytest.fixture(scope="module")
def first(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Night]:
    """A night that was run; tests leave it alone, or copy it."""
    workspace = nights(tmp_path_factory.mktemp("first") / "night")
    return workspace, night(workspace)


@pytest.fixture
def again(first: tuple[Workspace, Night], tmp_path: Path) -> Workspace:
    """A copy of a workspace in which a night was run."""
    shutil.copytree(first[0].root, tmp_path / "again")
    return Workspace.open(tmp_path / "again")


def test_a_night_does_every_step_and_leaves_a_receipt_of_each(first: tuple[Workspace, Night]) -> None:
    workspace, ended = first
    assert named(ended, "done") == STEPS and ended.exit_code == 0
    receipts = {path.stem: json.loads(path.read_text()) for path in (workspace.nightly / "2018-05-15").glob("*.json")}
    assert sorted(receipts) == sorted(step.replace(" ", "-") for step in STEPS)
    assert receipts["score-churn"]["rows"] == ended.partitions["churn"]["rows"] == receipts["score-churn"]["outputs"]["rows"] > 0
    assert all(one["status"] == "done" and one["seconds"] >= 0 and one["at"] == CLOCK.isoformat() for one in receipts.values())


def test_partitions_are_a_sorted_compressed_hive_tree_and_latest_is_the_newest(again: Workspace) -> None:
    night(again, NOW - timedelta(days=1))
    for name in ("churn", "lead-conversion"):
        file = folder(again, name, NOW) / PART
        ids = pq.read_table(file, columns=["entity_id"]).column(0).to_pylist()
        columns = pq.ParquetFile(file).metadata.row_group(0)
        assert ids == sorted(ids) and {columns.column(i).compression for i in range(columns.num_columns)} == {"ZSTD"}
        assert (again.latest / f"propensity={name}" / PART).read_bytes() == file.read_bytes()
    query = f"select propensity, cast(as_of as varchar), count(*) from '{again.scores}/**/*.parquet' group by all order by all"
    counted = duckdb.sql(query).fetchall()
    assert [row[:2] for row in counted] == [
        (name, day) for name in ("churn", "lead-conversion") for day in ("2018-05-14", "2018-05-15")
    ]
    latest = duckdb.sql(f"select propensity, count(*) from '{again.latest}/**/*.parquet' group by all order by all").fetchall()
    assert latest == [(name, count) for name, day, count in counted if day == "2018-05-15"]


def test_the_same_night_again_skips_everything_and_changes_nothing(again: Workspace) -> None:
    before = state(again)
    (again.nightly / "2018-05-15" / ".check.json.4194303").touch()  # of a process that was killed
    ended = night(again, now=CLOCK + timedelta(hours=1))
    assert named(ended, "skipped") == STEPS and ended.exit_code == 0 and set(ended.partitions) == {"churn", "lead-conversion"}
    assert state(again) == before


@pytest.mark.parametrize("shift", [timedelta(days=365), timedelta(days=-365)], ids=["a year ahead", "a year back"])
def test_a_clock_that_jumped_changes_nothing(again: Workspace, shift: timedelta) -> None:
    before = state(again)
    assert named(night(again, now=CLOCK + shift), "skipped") == STEPS and state(again) == before


@pytest.mark.parametrize(
    ("lost", "done"),
    [
        ("scores/propensity=churn/as_of=2018-05-15/part-0.parquet", ["score churn"]),
        ("latest/propensity=churn/part-0.parquet", ["latest"]),
        ("data/store/online.db", ["materialise"]),
        ("data/snapshots", ["snapshot"]),
        ("data/quality", ["check"]),
        ("data/tables", ["ingest"]),
        ("data/nightly/2018-05-15/score-churn.json", ["score churn"]),
    ],
)
def test_what_is_lost_is_made_again_and_nothing_else(again: Workspace, lost: str, done: list[str]) -> None:
    before = state(again)
    path = again.root / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    ended = night(again)
    assert named(ended, "done") == done and ended.exit_code == 0
    assert state(again) == before


def test_a_night_with_nothing_to_do_asks_the_registry_once(again: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    whole = mlflow.MlflowClient

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append("once")
        return whole(*arguments, **options)

    monkeypatch.setattr(mlflow, "MlflowClient", counted)
    assert named(night(again), "done") == [] and len(opened) == 1


def test_an_unchanged_export_is_not_read_again(again: Workspace) -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    index = again.nightly / INDEX
    assert named(night(again, now=late), "done") == []
    assert json.loads(index.read_text()).keys() == {path.name for path in again.source.iterdir()}
    index.write_text(index.read_text().replace(digest(again.source / "orders.parquet"), "a digest that only the index knows"))
    assert "ingest" in named(night(again, now=late), "done")


def test_a_damaged_partition_is_made_again(again: Workspace) -> None:
    before = state(again)
    (folder(again, "churn", NOW) / PART).write_bytes(b"no Parquet")
    assert named(night(again), "done") == ["score churn"] and state(again) == before


def test_another_policy_scores_again_from_the_same_snapshots(again: Workspace) -> None:
    serving = again.settings.policy.model_copy(update={"holdout": 0.5})
    held_out = dataclasses.replace(again, settings=again.settings.model_copy(update={"policy": serving}))
    ended = night(held_out)
    assert named(ended, "done") == ["score churn", "score lead-conversion", "latest", "monitor"]
    assert sum(ended.partitions["churn"]["withheld"].values()) > 0


def test_a_corrected_export_gives_what_a_first_night_with_it_gives(again: Workspace, nights: Nights, tmp_path: Path) -> None:
    order = {"order_id": "new", "customer_id": "C0001", "occurred_at": pd.Timestamp("2018-05-14"), "amount": Decimal("9.5")}
    add(again, "orders", [order])
    ended = night(again)
    assert "ingest" in named(ended, "done") and ended.exit_code == 0
    fresh = nights(tmp_path / "fresh")
    add(fresh, "orders", [order])
    night(fresh)
    found, expected = state(again), state(fresh)
    assert found == expected


def test_a_row_of_the_as_of_itself_is_not_seen_and_one_just_before_is(again: Workspace) -> None:
    before = (folder(again, "churn", NOW) / PART).read_bytes()
    customers = sorted(pd.read_parquet(folder(again, "churn", NOW) / PART)["entity_id"])
    order = {"order_id": "edge", "customer_id": customers[0], "occurred_at": pd.Timestamp("2018-05-15"), "amount": Decimal(5000)}
    add(again, "orders", [order])
    ended = night(again)
    assert "snapshot" in named(ended, "done") and (folder(again, "churn", NOW) / PART).read_bytes() == before
    newest = json.loads((again.nightly / "2018-05-15" / "freshness.json").read_text())["outputs"]["newest"]["orders"]
    assert newest < NOW.isoformat()
    add(again, "orders", [{**order, "order_id": "before", "occurred_at": pd.Timestamp("2018-05-14 23:59:59.999999")}])
    night(again)
    assert (folder(again, "churn", NOW) / PART).read_bytes() != before
    newest = json.loads((again.nightly / "2018-05-15" / "freshness.json").read_text())["outputs"]["newest"]["orders"]
    assert newest == "2018-05-14T23:59:59.999999+00:00"


def test_before_anybody_was_known_a_night_scores_nobody_and_ends_well(again: Workspace) -> None:
    ended = night(again, NOW - timedelta(days=2000))
    assert ended.exit_code == 0 and ended.partitions["churn"]["rows"] == 0 == ended.partitions["churn"]["known"]
    assert named(ended, "skipped") == ["ingest", "check", "latest"]


def test_a_propensity_that_fails_does_not_stop_the_others_and_is_made_up_for(
    again: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(again)
    shutil.rmtree(again.scores)
    whole = batch.score_propensity

    def failing(workspace: Workspace, registered: Any, *others: Any) -> Any:
        if registered.model.propensity.name == "churn":
            raise ContractError("churn", expected="its features", received="others", repair="mend it")
        return whole(workspace, registered, *others)

    monkeypatch.setattr(batch, "score_propensity", failing)
    ended = night(again)
    assert named(ended, "failed") == ["score churn"] == list(ended.failures) and ended.exit_code == 1
    assert set(ended.partitions) == {"lead-conversion"}
    assert json.loads((again.nightly / "2018-05-15" / "score-churn.json").read_text())["status"] == "failed"
    monkeypatch.undo()
    assert named(night(again), "done") == ["score churn", "latest", "monitor"] and state(again) == before


def test_a_ledger_that_is_away_costs_no_partition_and_the_night_is_made_up_for(workspace: Workspace, again: Workspace) -> None:
    workspace.serving.mkdir(parents=True)
    (workspace.serving / "ledger.db").write_bytes(b"no database" * 1_000)
    ended = night(workspace)
    assert named(ended, "failed") == ["score churn", "score lead-conversion", "monitor"]
    assert isinstance(ended.failures["score churn"], StoreError) and (folder(workspace, "churn", NOW) / PART).is_file()
    (workspace.serving / "ledger.db").unlink()
    assert named(night(workspace), "done") == ["score churn", "score lead-conversion", "monitor"]
    assert state(workspace) == state(again)


def test_an_online_store_that_is_away_costs_nobody_a_score(again: Workspace) -> None:
    shutil.rmtree(again.scores)
    (again.store / "online.db").unlink()
    (again.store / "online.db").mkdir()
    ended = night(again)
    assert named(ended, "failed") == ["materialise"] and set(ended.partitions) == {"churn", "lead-conversion"}
    (again.store / "online.db").rmdir()
    assert named(night(again), "done") == ["materialise"]


def test_a_propensity_file_that_was_edited_badly_is_told_and_everybody_is_scored(again: Workspace) -> None:
    again.own_propensities.mkdir()
    (again.own_propensities / "churn.toml").write_text("question = [", encoding="utf-8")
    ended = night(again)
    assert list(ended.failures) == ["propensity churn", "monitor churn"] and ended.exit_code == 1
    assert set(ended.partitions) == {"churn", "lead-conversion"}


def test_tables_with_errors_stop_the_night(workspace: Workspace) -> None:
    orders = pd.read_parquet(workspace.source / "orders.parquet")
    orders.assign(customer_id="nobody").to_parquet(workspace.source / "orders.parquet", index=False)
    ended = night(workspace)
    assert named(ended, "failed") == ["check"] == [ended.steps[-1].step] and isinstance(ended.stopped, QualityError)
    assert ended.exit_code == 1 and not workspace.scores.exists()


def test_an_as_of_after_the_data_is_a_wrong_call(again: Workspace) -> None:
    ended = night(again, NOW + timedelta(days=1))
    assert isinstance(ended.stopped, CallError) and ended.exit_code == 2 and not list(again.scores.rglob("as_of=2018-05-16"))


def test_late_tables_are_refused_by_name(again: Workspace) -> None:
    ended = night(with_nightly(again, late_after="36h", late_after_of={"subscriptions": "30d"}), NOW - timedelta(hours=1))
    assert isinstance(ended.stopped, QualityError) and named(ended, "failed") == ["freshness"] and ended.exit_code == 1
    assert "customers: the newest row became known 2018-02-02" in ended.stopped.received
    assert "subscriptions" not in ended.stopped.received and "interactions" not in ended.stopped.received
    assert not list(again.scores.rglob("as_of=20180514T230000Z"))


def test_late_tables_are_scored_and_marked_where_the_settings_say_so(again: Workspace) -> None:
    before = last_scores(again)
    marked = with_nightly(again, late_after="36h", late_after_of={"customers": "90d"}, late="score")
    ended = night(marked)
    assert ended.exit_code == 0 and [sentence.partition(":")[0] for sentence in ended.late] == ["customers", "subscriptions"]
    assert ended.partitions["churn"]["late"] == ended.late
    assert json.loads((folder(again, "churn", NOW) / RECEIPT).read_text())["late"] == ended.late
    assert json.loads((again.nightly / "2018-05-15" / "freshness.json").read_text())["late"] == ended.late
    skipped = night(marked)
    assert skipped.late == ended.late and named(skipped, "done") == [] and last_scores(again) == before
    unmarked = night(again)
    assert unmarked.late == [] and json.loads((folder(again, "churn", NOW) / RECEIPT).read_text())["late"] == []


@pytest.mark.parametrize(("age", "is_late"), [("7178h", False), ("7177h", True)])
def test_an_age_is_measured_to_the_as_of_to_the_microsecond(workspace: Workspace, age: str, is_late: bool) -> None:
    orders = pd.read_parquet(workspace.source / "orders.parquet")
    edge = pd.Timestamp(NOW.replace(tzinfo=None)) - pd.Timedelta(hours=7178)
    orders.assign(occurred_at=edge, known_at=edge).to_parquet(workspace.source / "orders.parquet", index=False)
    ended = night(with_nightly(workspace, late_after_of={"orders": age}))
    assert ("orders" in str(ended.stopped)) == is_late


def test_an_export_that_is_not_there_is_refused_or_marked(again: Workspace) -> None:
    again.source.rename(again.root / "away")
    refused = night(again)
    assert isinstance(refused.stopped, TableError) and named(refused, "failed") == ["ingest"]
    marked = with_nightly(again, late="score")
    ended = night(marked)
    assert ended.exit_code == 0 and len(ended.late) == 1 and "no such folder" in ended.late[0]
    assert ended.partitions["churn"]["late"] == ended.late
    (again.root / "away").rename(again.source)
    made_up = night(marked)
    assert made_up.late == [] == made_up.partitions["churn"]["late"] and "ingest" in named(made_up, "done")


def test_an_export_that_is_not_there_does_not_keep_a_new_night_from_the_last_tables(again: Workspace) -> None:
    again.source.rename(again.root / "away")
    ended = night(with_nightly(again, late="score"), NOW + timedelta(days=1))
    assert ended.exit_code == 0 and "they tell up to 2018-05-15" in ended.late[1] and ended.partitions["churn"]["rows"] > 0


def test_a_broken_export_is_a_failure_but_the_last_tables_are_scored_where_the_settings_say_so(again: Workspace) -> None:
    (again.source / "orders.parquet").write_bytes(b"no Parquet")
    assert isinstance(night(again).stopped, TableError)
    ended = night(with_nightly(again, late="score"))
    assert named(ended, "failed") == ["ingest"] and ended.exit_code == 1 and set(ended.partitions) == {"churn", "lead-conversion"}
    assert ended.partitions["churn"]["late"] == ended.late != []


def test_old_partitions_and_receipts_go_but_never_the_newest_partition(again: Workspace) -> None:
    for days in (1, 20, 40):
        night(again, NOW - timedelta(days=days))
    others = [again.scores / "propensity=churn" / "as_of=never", again.nightly / "notes"]  # somebody else's
    for path in others:
        path.mkdir()
    (again.scores / "propensity=churn" / "as_of=2010-01-01").write_text("a file")
    short = with_nightly(again, keep_partitions_days=20)
    ended = night(short)
    assert named(ended, "done") == ["monitor", "retention"]
    days = ["as_of=2018-04-25", "as_of=2018-05-14", "as_of=2018-05-15"]
    for path in others:
        path.rmdir()
    (again.scores / "propensity=churn" / "as_of=2010-01-01").unlink()
    assert sorted(path.name for path in (again.scores / "propensity=churn").iterdir()) == days
    assert sorted(path.name for path in again.nightly.glob("*-*")) == [day.partition("=")[2] for day in days]
    later = NOW + timedelta(days=60)
    night(with_nightly(again, keep_partitions_days=1, late="score"), later)
    assert [path.name for path in (again.scores / "propensity=churn").iterdir()] == ["as_of=2018-07-14"]


def test_old_nights_snapshots_go_unless_a_model_was_trained_on_them(again: Workspace, tmp_path: Path) -> None:
    old, trained, young = (NOW - timedelta(days=days) for days in (40, 30, 10))
    for as_of in (old, trained, young):
        night(again, as_of)
    by_hand = NOW - timedelta(days=50)
    snapshot.build(again, [by_hand])
    shutil.copyfile(registry.store_uri(again).removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    own = again.settings.mlflow.model_copy(update={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    theirs = dataclasses.replace(again, settings=again.settings.model_copy(update={"mlflow": own}))
    report = {"gates": [], "provenance": {"as_ofs": [trained.isoformat()]}}
    registry.register(theirs, registry.champion(theirs, "churn").model, dataclasses.replace(PASSED, report=report))
    short = with_nightly(theirs, keep_partitions_days=20)
    ended = night(short)
    assert "retention" in named(ended, "done") and ended.exit_code == 0
    assert built(again) == {by_hand, trained, young, NOW} and {path.name for path in again.nightly.glob("*-*")} == {
        f"{as_of:%Y-%m-%d}" for as_of in (young, NOW)
    }
    assert named(night(short), "done") == []
    snapshot.build(again, [old])
    assert built(again) == {by_hand, old, trained, young, NOW}


def built(workspace: Workspace) -> set[datetime]:
    """The as_ofs of which every view has a snapshot, and no view has another."""
    catalog = Catalog.load(workspace)
    folders = [snapshot.folder(workspace, view) for view in views(workspace, catalog)]
    found = {frozenset(path.stem for path in folder.glob("*.parquet")) for folder in folders}
    assert len(found) == 1
    return {datetime.strptime(stem, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC) for stem in found.pop()}


def test_a_second_night_does_only_what_is_new_and_tells_how_long_it_takes(again: Workspace) -> None:
    bars: list[str] = []
    ended = night(again, NOW - timedelta(days=1), bars=bars)
    assert named(ended, "skipped") == ["ingest", "check", "latest"]
    assert bars[0].startswith("snapshot, night: about ") and bars[0].endswith(" left")
    assert Receipts(again, NOW).earlier().keys() == set(STEPS)


def test_without_an_as_of_a_night_is_of_the_newest_midnight(workspace: Workspace, again: Workspace) -> None:
    assert newest_as_of(workspace, CLOCK) == NOW
    undeclared = workspace.settings.model_copy(update={"now": None})
    assert newest_as_of(dataclasses.replace(workspace, settings=undeclared), CLOCK) == datetime(2026, 11, 26, tzinfo=UTC)
    shutil.rmtree(again.source)
    without = again.settings.model_copy(update={"source": "nowhere"})
    Catalog(**{**vars(Catalog.load(again)), "observed_until": "2018-05-15T06:30:00+00:00"}).save(again)
    object.__setattr__(without, "__pydantic_fields_set__", set())
    assert newest_as_of(dataclasses.replace(again, settings=without), CLOCK) == NOW


def test_a_night_after_midnight_keeps_its_scores_as_the_last_ones(workspace: Workspace) -> None:
    undeclared = dataclasses.replace(workspace, settings=workspace.settings.model_copy(update={"now": None}))
    ended = night(undeclared, NOW, now=NOW + timedelta(hours=2))
    assert ended.exit_code == 0 and len(last_scores(workspace)) == sum(one["rows"] for one in ended.partitions.values())
