"""DuckDB on one machine and Spark on several: equal features, equal datasets, equal scores, equal files.

The executors are processes of their own, `local-cluster[2,1,1024]`, and this machine's clock stands in New York.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from features import ingest, propensity, sample, snapshot, store, tour
from features.catalog import Catalog
from features.cohort import cohort, mature_as_ofs
from features.errors import EngineError, SnapshotError
from features.settings import SETTINGS_FILE, Workspace
from features.spark import store as spark_store
from features.views import feature_map, views
from foresell import main
from serving import batch, latest, spark
from serving.connectors.change import Night, newest
from serving.partition import PART, RECEIPT, folder, parts
from tests.cluster import SPARK
from tests.serving import shop
from tests.test_time_travel import ATTRIBUTES
from tests.worlds import INSTANT, make_workspace, random_world
from training import dataset, registry
from training.label import labels
from training.spark import labelled

pytestmark = [pytest.mark.slow(minutes=4), pytest.mark.spark]

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ENTITIES = ("lead", "customer")
MODELS = {
    "churn": ("subscriptions_tenure_days", "subscriptions_tier_latest", "orders_amount_sum_365d", "logins_change_90d"),
    "lead-conversion": ("lead_age_days", "interactions_count_30d", "channel_latest", "lead_created_weekday"),
}
QUIET = lambda what, total: nullcontext(lambda units: None)  # noqa: E731


class Made(NamedTuple):
    """What one engine made of the sample CRM."""

    features: dict[str, pd.DataFrame]
    dataset: dataset.Dataset
    files: dict[str, dict[str, bytes]]
    receipts: tuple[Any, ...]


@pytest.fixture(scope="module")
def abroad() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    os.environ.pop("TZ")
    os.environ.update({"TZ": before} if before else {})
    time.tzset()


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, abroad: None) -> Workspace:
    """The sample CRM, ingested, with a champion for customers and one for leads."""
    root = tmp_path_factory.mktemp("crm")
    sample.make(root / "export", now=NOW, customers=700)
    tour.init(root, "sample", root / "export")
    settings = root / SETTINGS_FILE
    settings.write_text(settings.read_text(encoding="utf-8").replace("[spark]\n", SPARK), encoding="utf-8")
    workspace = Workspace.open(root)
    ingest.run(workspace, NOW)
    snapshot.build(workspace, [NOW])
    store.apply(workspace)
    for name, columns in MODELS.items():
        shop.learn(workspace, name, columns, as_of=NOW)
        registry.promote(workspace, name, registry.Signature("anna", NOW))
    return workspace


@pytest.fixture(scope="module")
def instants(crm: Workspace) -> list[datetime]:
    """Two at which labels are mature, far enough apart to differ."""
    mature = mature_as_ofs(crm, propensity.load(crm, "churn"))
    return [mature[-8], mature[-1]]


@pytest.fixture(scope="module")
def by_duckdb(crm: Workspace, instants: list[datetime]) -> Made:
    return made(crm, instants, "duckdb")


@pytest.fixture(scope="module")
def by_spark(crm: Workspace, instants: list[datetime], by_duckdb: Made) -> Made:
    return made(crm, instants, "spark")


def made(crm: Workspace, instants: list[datetime], engine: Any) -> Made:
    assert snapshot.build(crm, [*instants, NOW], engine=engine).built
    before = {path: path.stat().st_mtime_ns for path in crm.snapshots.rglob("2*.parquet")}
    night = batch.run(crm, NOW, [], QUIET, engine)
    assert not night.failures
    assert before == {path: path.stat().st_mtime_ns for path in crm.snapshots.rglob("2*.parquet")}, "built again"
    return Made(
        {entity: read(crm, entity, [*instants, NOW]) for entity in ENTITIES},
        dataset.build(crm, propensity.load(crm, "churn"), instants, engine),
        {name: held(crm, name) for name in MODELS},
        night.receipts,
    )


def read(workspace: Workspace, entity: str, as_ofs: list[datetime]) -> pd.DataFrame:
    columns = list(feature_map(views(workspace, Catalog.load(workspace)), entity))
    return snapshot.read(workspace, entity, as_ofs, columns)


def held(workspace: Workspace, name: str) -> dict[str, bytes]:
    """What lies in a partition."""
    return {path.name: path.read_bytes() for path in folder(workspace, name, NOW).iterdir()}


@pytest.mark.parametrize("entity", ENTITIES)
def test_features_are_equal_to_the_bit(by_duckdb: Made, by_spark: Made, entity: str) -> None:
    assert len(by_duckdb.features[entity]) > 1_000
    pd.testing.assert_frame_equal(by_duckdb.features[entity], by_spark.features[entity], check_exact=True)


@pytest.mark.parametrize("name", MODELS)
def test_files_of_scores_and_receipts_are_equal_to_the_byte(by_duckdb: Made, by_spark: Made, name: str) -> None:
    assert set(by_spark.files[name]) == {PART, RECEIPT}
    assert by_spark.files[name] == by_duckdb.files[name]
    assert pq.read_table(pa.BufferReader(by_spark.files[name][PART])).num_rows > 50


def test_datasets_are_equal_and_so_is_what_is_learned_from_them(by_duckdb: Made, by_spark: Made) -> None:
    assert by_spark.dataset.sampling is None and by_spark.dataset.engine == "spark"
    assert by_spark.dataset.fingerprint == by_duckdb.dataset.fingerprint
    assert 0 < by_spark.dataset.labels.sum() < len(by_spark.dataset.labels)


def test_labels_of_sums_against_a_snapshot_column_are_equal(crm: Workspace, instants: list[datetime], by_spark: Made) -> None:
    question = propensity.Propensity.model_validate(
        {"name": "more", "question": "?", "entity": "customer", "horizon": "90d", "lead_time": "7d",
         "eligible": ["orders_count_365d >= 1"],
         "outcome": {"table": "orders", "sum": "amount", "at_least": "1.0 * orders_amount_sum_90d"}}
    )  # fmt: skip
    rows, label, sampling = labelled(crm, question, instants)
    expected = cohort(crm, question, instants)
    pd.testing.assert_frame_equal(rows, expected)
    pd.testing.assert_series_equal(label, labels(crm, question, expected))
    assert sampling is None and 0 < label.sum() < len(label)


def test_random_worlds_with_times_on_every_edge_are_equal(by_spark: Made, tmp_path: Path) -> None:
    as_of = INSTANT.tz_localize("UTC").to_pydatetime()
    workspace = make_workspace(tmp_path, random_world(5, rows=40), attributes=ATTRIBUTES)
    snapshot.build(workspace, [as_of])
    expected = {entity: read(workspace, entity, [as_of]) for entity in ENTITIES}
    assert snapshot.build(workspace, [as_of], engine="spark").kept == 0
    for entity in ENTITIES:
        pd.testing.assert_frame_equal(expected[entity], read(workspace, entity, [as_of]), check_exact=True)


def test_a_sample_keeps_every_positive_and_the_features_of_its_rows(
    crm: Workspace, instants: list[datetime], by_spark: Made
) -> None:
    whole, question = by_spark.dataset, propensity.load(crm, "churn")
    most = int(2.5 * whole.labels.sum())
    few = Workspace(crm.root, crm.settings.model_copy(update={"train": crm.settings.train.model_copy(update={"max_rows": most})}))
    found, again = dataset.build(few, question, instants, "spark"), labelled(few, question, instants)[0]
    pd.testing.assert_frame_equal(found.frame[["entity_id", "as_of"]], again)
    assert found.sampling and found.sampling.known == len(whole.frame) and found.sampling.positives == whole.labels.sum()
    assert found.labels.sum() == whole.labels.sum() and 0.7 * most < len(found.frame) < min(1.5 * most, len(whole.frame))
    assert found.weights[found.labels == 1].max() < 1 == found.weights[found.labels == 0].min()
    common = [name for name in found.frame if name in whole.frame]
    expected = found.frame[["entity_id", "as_of"]].merge(whole.frame[common], on=["entity_id", "as_of"])
    pd.testing.assert_frame_equal(found.frame[common], expected[common], check_exact=True)


def test_a_large_partition_has_several_files_and_everybody_reads_them_all(
    crm: Workspace, by_spark: Made, tmp_path: Path
) -> None:  # fmt: skip
    own, champion = elsewhere(crm, tmp_path, rows_per_file=150), registry.champion(crm, "churn")
    receipt = spark.score_propensity(own, champion, NOW, QUIET)
    target = folder(own, "churn", NOW)
    assert len(parts(target)) > 2 and not list(target.glob(".*"))
    whole = pq.read_table(pa.BufferReader(by_spark.files["churn"][PART]))
    assert receipt.rows == len(whole) and receipt.ineligible == by_spark.receipts[0].ineligible
    assert receipt.grades == by_spark.receipts[0].grades
    for path in parts(target):
        ids = pq.read_table(path)["entity_id"].to_pylist()
        assert ids == sorted(ids)
    together = pa.concat_tables(map(pq.read_table, parts(target)))
    assert together.sort_by("entity_id").to_pylist() == whole.to_pylist()
    latest.publish(own, "churn")
    assert [path.read_bytes() for path in parts(latest.folder(own, "churn"))] == [path.read_bytes() for path in parts(target)]
    last = newest(own, "churn", None)
    assert last and last.rows == len(whole)
    assert sum(len(one) for one in Night(own, last, "customer", ()).batches()) == len(whole)
    assert spark.score_propensity(own, champion, NOW, QUIET).sha256 == receipt.sha256
    objecting = dict.fromkeys(whole["entity_id"].to_pylist()[:2], "told by telephone")
    spark.score_propensity(own, champion, NOW, QUIET, objections=objecting)
    rows = [row for path in parts(target) for row in pq.read_table(path).to_pylist()]
    assert {row["entity_id"]: row["why"] for row in rows if row["policy"] == "suppressed"} == objecting and len(rows) == len(
        whole
    )
    spark.score_propensity(elsewhere(crm, tmp_path), champion, NOW, QUIET)
    assert held(own, "churn") == by_spark.files["churn"]


def test_the_commands_take_the_engine(crm: Workspace, by_spark: Made) -> None:
    place = ["--engine", "spark", "--json", "--workspace", str(crm.root)]
    built = CliRunner().invoke(main, ["snapshot", "--as-of", f"{NOW:%Y-%m-%d}", *place])
    assert built.exit_code == 0 and json.loads(built.stdout)["built"] == 0, built.output
    scored = CliRunner().invoke(main, ["score", "churn", *place])
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["scored"]["churn"]["sha256"] == by_spark.receipts[0].sha256
    assert held(crm, "churn") == by_spark.files["churn"]


class Killed(spark.Share):
    """A share whose first try dies with half a file written, as when a machine is taken away."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        if TaskContext.get().attemptNumber() == 0:  # type: ignore[union-attr]
            (Path(self.staging.removeprefix("file://")) / "0-part-0.parquet").write_bytes(b"PAR1")
            os._exit(1)
        return super().__call__(batches)


class Broken(spark.Share):
    """A share that fails however often it is tried."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise RuntimeError("no scores today")


def test_a_worker_that_is_killed_costs_nobody_a_score(
    crm: Workspace, by_spark: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = elsewhere(crm, tmp_path)
    monkeypatch.setattr(spark, "Share", Killed)
    spark.score_propensity(own, registry.champion(crm, "churn"), NOW, QUIET)
    assert held(own, "churn") == by_spark.files["churn"]


def test_a_job_that_fails_leaves_the_scores_that_were_there(
    crm: Workspace, by_spark: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = elsewhere(crm, tmp_path)
    target = folder(own, "churn", NOW)
    target.mkdir(parents=True)
    (target / PART).write_bytes(by_spark.files["churn"][PART])
    monkeypatch.setattr(spark, "Share", Broken)
    with pytest.raises(EngineError) as told:
        spark.score_propensity(own, registry.champion(crm, "churn"), NOW, QUIET)
    assert "no scores today" in told.value.received
    assert (target / PART).read_bytes() == by_spark.files["churn"][PART]


def test_snapshots_and_scores_lie_in_a_store_of_sparks_own(crm: Workspace, by_spark: Made, tmp_path: Path) -> None:
    own = elsewhere(crm, tmp_path / "own", store=str(tmp_path / "store"))
    with pytest.raises(SnapshotError, match="foresell snapshot --engine spark"):
        spark_store.known(own, "lead", [NOW], ["lead_age_days"])
    assert snapshot.build(own, [NOW], entities=["lead"], engine="spark").built > 3
    spark_store.apply(own)
    spark.score_propensity(own, registry.champion(crm, "lead-conversion"), NOW, QUIET)
    there = tmp_path / "store" / folder(own, "lead-conversion", NOW).relative_to(own.root)
    assert {path.name: path.read_bytes() for path in there.iterdir()} == by_spark.files["lead-conversion"]
    assert not own.scores.exists() and not list(own.snapshots.rglob("*.parquet"))


def elsewhere(crm: Workspace, root: Path, **settings: Any) -> Workspace:
    """The same tables and snapshots under a root of its own, with other settings for Spark; snapshots only without a store."""
    own = Workspace(root, crm.settings.model_copy(update={"spark": crm.settings.spark.model_copy(update=settings)}))
    if not (root / "data").exists():
        shutil.copytree(crm.tables, own.tables)
        if not own.settings.spark.store:
            shutil.copytree(crm.snapshots, own.snapshots)
    spark_store.apply(own)
    return own
