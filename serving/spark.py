"""The batch on Spark: every executor scores its share with the very same scorer and writes a file of the partition itself."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from features.catalog import Catalog
from features.condition import Condition
from features.console import Watch
from features.errors import LostRowsError
from features.feature import Feature
from features.settings import PolicySettings, Workspace
from features.spark import store
from features.spark.dialect import spark_sql
from features.spark.place import Place, place
from features.spark.session import task, working
from features.stream import ROWS_PER_CHUNK
from features.views import feature_map, views
from serving.columns import ColumnScorer
from serving.partition import RECEIPT, Receipt, Tally, folder, joint, part, write
from serving.policy import Policy
from serving.scorer import Scorer, scorer_of
from training.model import Model
from training.registry import Registered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OBSTACLE = "first_obstacle"
STAGING = ".spark"
apply = store.apply
WRITTEN = "part long, name string, sha256 string, tally string"


def score_propensity(
    workspace: Workspace, registered: Registered, as_of: datetime, progress: Watch, late: Sequence[str] = (),
    objections: Mapping[str, str] = MappingProxyType({}),
) -> Receipt:  # fmt: skip
    """Score one propensity's cohort and publish its partition, in as many files as `[spark] rows_per_file` asks for.

    Everybody is in the file that the hash of their id names, and the files are sorted by entity. The last scores are not stored:
    a ledger is no place for what needs a cluster.

    Args:
        workspace: with snapshots of the as_of by Spark, and declarations of which Feast's Spark store was told.
        registered: the version that answers.
        as_of: features were known before this instant.
        progress: opens a progress bar.
        late: a sentence for each source that was late or missing, for the receipt.
        objections: who has objected since the as_of, by id, and why they get no score.

    Raises:
        LostRowsError: somebody eligible has no score.
        SnapshotError, FeatureError: the features cannot be had.
        ContractError: the features are others than the champion was trained on.
        EngineError: a task failed as often as Spark tries.
    """
    catalog, question = Catalog.load(workspace), registered.model.propensity
    declared = feature_map(views(workspace, catalog), question.entity)
    scorer = scorer_of(workspace, views(workspace, catalog), registered)
    known = store.size(workspace, question.entity, as_of)
    target = place(workspace, folder(workspace, question.name, as_of))
    of_scorer = {name: declared[name] for name in registered.model.columns if name in declared}
    settings, files = workspace.settings, max(1, math.ceil(known / workspace.settings.spark.rows_per_file))
    share = Share(
        registered.model.texts, registered.version, of_scorer, settings.policy, settings.serving.fresh_for,
        settings.nightly.reasons, as_of, str(target / STAGING), dict(objections),
    )  # fmt: skip
    target.mkdir()
    with progress(question.name, known) as tick, working(f"scores of {question.name}"):
        everybody = store.known(workspace, question.entity, [as_of], scorer.columns)
        rows = _with_obstacle(everybody, question.conditions)
        shares = rows.repartition(files, "entity_id").sortWithinPartitions("entity_id")
        (target / STAGING).mkdir()
        written = sorted(shares.mapInArrow(share, WRITTEN).collect(), key=lambda row: int(row["part"]))
        written = written or list(
            chain.from_iterable(one.to_pylist() for one in share(iter(())))
        )  # Spark asks nobody about nobody
        tick(known)
    tally, ineligible = _sum([json.loads(row["tally"]) for row in written])
    _require_everybody(question.name, known, tally.facts()["rows"], sum(ineligible.values()))
    _put_in_place(target, [row["name"] for row in written])
    facts: dict[str, Any] = {
        "propensity": question.name, "as_of": as_of.isoformat(), "model_version": registered.version,
        "catalog_version": catalog.version, "known": known, "late": list(late), "reasons": settings.nightly.reasons,
        "ineligible": {str(one): ineligible[str(i)] for i, one in enumerate(question.conditions) if ineligible[str(i)]},
    }  # fmt: skip
    receipt = Receipt(**facts, **tally.facts(), sha256=joint([row["sha256"] for row in written]))
    (target / RECEIPT).write_bytes((json.dumps(asdict(receipt), indent=1) + "\n").encode())
    return receipt


@dataclass(frozen=True)
class Share:
    """What one executor does: the scorer as texts, so that the model travels as LightGBM text and JSON.

    Called with the rows of a share, sorted by entity, it writes them to a file in the staging folder and says what became of
    them.
    """

    texts: Mapping[str, str]
    version: str
    declared: Mapping[str, Feature]
    policy: PolicySettings
    fresh_for: timedelta
    reasons: bool
    as_of: datetime
    staging: str
    objections: Mapping[str, str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        number, attempt = task()
        file, ineligible = Place(self.staging) / f"{attempt}-{part(number)}", Counter[str]()
        with file.create() as opened:
            tally = write(opened, self._scores(batches, ineligible))
        counts = {"grades": tally.grades, "withheld": tally.withheld, "total": tally.total, "ineligible": ineligible}
        told = {"part": number, "name": file.name, "sha256": file.sha256(), "tally": json.dumps(counts)}
        yield pa.RecordBatch.from_pylist([told])

    def _scores(self, batches: Iterator[pa.RecordBatch], ineligible: Counter[str]) -> Iterator[pa.RecordBatch]:
        scorer = ColumnScorer(self._scorer(), self.reasons, self.objections)
        for known in _chunks(batches):
            obstacles = known[OBSTACLE]
            ineligible.update(map(str, obstacles.drop_null().to_pylist()))
            able = known.filter(obstacles.is_null())
            if able.num_rows:
                scores = scorer.scored(able, self.as_of).scores
                yield scores.filter(scores["eligible"])  # whoever is not, by Python where SQL says so, is missed in the count

    def _scorer(self) -> Scorer:
        model = Model.of(self.texts)
        policy = Policy(self.policy, model.propensity.entity)
        return Scorer(model, self.version, self.declared, policy, self.fresh_for)


def _with_obstacle(everybody: DataFrame, conditions: Sequence[Condition]) -> DataFrame:
    """Everybody, with the number of the first condition that each fails; null for who is eligible."""
    cases = "".join(f" when not coalesce({condition.sql()}, false) then {i}" for i, condition in enumerate(conditions))
    first = spark_sql(f"select {f'case{cases} end' if cases else 'null'}").removeprefix("SELECT ")
    return everybody.selectExpr("*", f"cast({first} as int) as {OBSTACLE}")


def _chunks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, so many at once, as the batch on one machine scores and writes them."""
    kept: list[pa.RecordBatch] = []
    for batch in batches:
        kept.append(batch)
        while sum(len(one) for one in kept) >= ROWS_PER_CHUNK:
            whole = pa.Table.from_batches(kept).combine_chunks().to_batches()[0]
            yield whole.slice(0, ROWS_PER_CHUNK)
            kept = [whole.slice(ROWS_PER_CHUNK)]
    if any(map(len, kept)):
        yield pa.Table.from_batches(kept).combine_chunks().to_batches()[0]


def _sum(counts: Sequence[Mapping[str, Any]]) -> tuple[Tally, Counter[str]]:
    """What all shares counted together, and how many failed each condition first, by its number."""
    tally, ineligible = Tally(), Counter[str]()
    for one in counts:
        tally.plus(one["grades"], one["withheld"], one["total"])
        ineligible.update(one["ineligible"])
    return tally, ineligible


def _require_everybody(name: str, known: int, rows: int, ineligible: int) -> None:
    """Everybody known has a score, a policy that withholds it, or a condition that was failed; by SQL as by Python."""
    if rows + ineligible != known:
        raise LostRowsError(
            f"batch of {name}",
            expected=f"{known:,} rows, one for everybody known",
            received=f"{rows:,} with a score or withheld and {ineligible:,} not eligible",
            repair="the snapshot changed while it was read; run `foresell score --engine spark` again",
        )


def _put_in_place(target: Place, names: Sequence[str]) -> None:
    """The files that the tasks that succeeded wrote, by their numbers; what other tries left goes with the staging folder."""
    staging, receipt = target / STAGING, target / RECEIPT
    if receipt.is_file():
        receipt.unlink()  # until every file is in place, nobody is to take them for one partition
    for number, name in enumerate(names):
        (staging / name).replace(target / part(number))
    wanted = {part(number) for number in range(len(names))}
    for other in (path for path in target.glob("part-*.parquet") if path.name not in wanted):
        other.unlink()
    staging.rmtree()
