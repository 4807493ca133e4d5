"""Changes: whose score is to be written to a target, because it is not what the target was last sent.

A score is sent when it differs by the threshold, when the grade does, or when the same entity had none; when the last try was not
settled, which is what a killed process leaves; when it went elsewhere or into other fields; and when it is asked for. A score
that is withheld, or whose entity is no longer eligible, is sent as nothing, to those of whom the target holds a score. A night
never goes over a newer one.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.disk import broken
from features.errors import StoreError
from features.settings import Workspace
from features.target import Target
from serving.ledger import Ledger, State, Written
from serving.partition import PART, RECEIPT, partitions, parts
from serving.score import Trend, heading

ROWS_AT_ONCE = 10_000
MICROSECOND = timedelta(microseconds=1)
_COLUMNS = (
    "entity_id", "policy", "score", "probability", "percentile", "grade", "expected_value", "model_version",
)  # fmt: skip
_WANTED = {"explore": "explore", "reasons": "reasons.list.element.text"}  # read only where a target has a field for it
_HELD = pa.schema([("entity_id", pa.string()), ("score", pa.int32()), ("grade", pa.string())])


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written about one entity for one propensity.

    Attributes:
        entity, entity_id, propensity: about whom, and which question.
        state: `scored`; `withheld` by policy; or `gone`, no longer eligible. Only the first has a score.
        score: 1 to 100.
        probability, percentile: 0 to 1.
        grade: A to D.
        expected_value: what the probability is worth; None without a `[value]`.
        reasons: their texts, largest first; empty unless the target has a field for them.
        trend: against the night before; None without one, or unless the target has a field for it.
        withheld: the policy that withholds the score.
        explore: to be acted on though the score does not say so; never, unless the target has a field for it.
        version, as_of: the version that answered, and the instant of the night.
    """

    entity: str
    entity_id: str
    propensity: str
    state: State
    score: int | None
    probability: float | None
    percentile: float | None
    grade: str | None
    expected_value: float | None
    reasons: str
    trend: Trend | None
    withheld: str | None
    explore: bool
    version: str
    as_of: datetime

    def settings(self, digest: str) -> str:
        """What the ledger keeps of the target's settings with it, so that who is explored, or no longer is, is due again."""
        return f"{digest}+explore" if self.explore else digest


class Partition(NamedTuple):
    """The scores of one propensity at one as_of."""

    propensity: str
    as_of: datetime
    path: Path

    @property
    def rows(self) -> int:
        return sum(int(pq.read_metadata(path).num_rows) for path in self.files)

    @property
    def files(self) -> list[Path]:
        """Every file of the partition; `path` is the first."""
        return parts(self.path.parent)


def newest(workspace: Workspace, propensity: str, until: datetime | None) -> Partition | None:
    """The newest whole partition of a propensity, of `until` or earlier; None where there is none."""
    found = [
        Partition(propensity, at, folder / PART)
        for at, folder in partitions(workspace).get(propensity, ())
        if (until is None or at <= until) and (folder / PART).is_file() and (folder / RECEIPT).is_file()
    ]
    return found[-1] if found else None


class Night:
    """What a partition says, as changes.

    Args:
        workspace: with the partition of the night before, for trends.
        partition: the scores.
        entity: whose they are.
        sources: the fields of a score that are wanted; reasons, trends and `explore` are read only where they are.
        objections: the ids of those who have objected since the night: they are withheld, whatever it says.

    Raises:
        StoreError: its files cannot be opened.
    """

    def __init__(
        self, workspace: Workspace, partition: Partition, entity: str, sources: Collection[str], objections: Collection[str] = ()
    ) -> None:
        self.partition, self.entity, self.objections = partition, entity, frozenset(objections)
        self._columns = [*_COLUMNS, *(path for source, path in _WANTED.items() if source in sources)]
        earlier = newest(workspace, partition.propensity, partition.as_of - MICROSECOND) if "trend" in sources else None
        self._earlier = None if earlier is None else _read(earlier, ["entity_id", "score"])
        try:
            self._files = [pq.ParquetFile(path) for path in partition.files]  # once: a night may put others in their place
        except OSError as problem:
            raise _not_opened(partition, problem) from problem

    def everybody(self) -> pa.Table:
        """Of every row, in the same order, what decides whether it is to be written."""
        columns = [name for name in ("entity_id", "score", "grade", "explore") if name in self._columns]
        return pa.concat_tables(file.read(columns) for file in self._files)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, so many at once."""
        for file in self._files:
            yield from file.iter_batches(ROWS_AT_ONCE, columns=self._columns)

    def changes(self, batch: pa.RecordBatch) -> list[Change]:
        """Rows as changes."""
        rows = batch.to_pylist()
        before = self._before(batch["entity_id"]) or [None] * len(rows)
        return [self._change(row, then) for row, then in zip(rows, before, strict=True)]

    def of(self, ids: Collection[str]) -> list[Change]:
        """What is said of some entities; those of whom nothing is said are left out."""
        wanted = pa.array(sorted(ids), pa.string())
        found = (batch.filter(pc.is_in(batch["entity_id"], wanted)) for batch in self.batches())
        return [change for batch in found for change in self.changes(batch)]

    def _before(self, ids: pa.Array) -> list[int | None] | None:
        if self._earlier is None:
            return None
        places = pc.index_in(ids, self._earlier["entity_id"])
        scores: list[int | None] = self._earlier["score"].take(places).to_pylist()
        return scores

    def _change(self, row: dict[str, Any], before: int | None) -> Change:
        if row["entity_id"] in self.objections:
            row = {
                **dict.fromkeys(row),
                "entity_id": row["entity_id"],
                "policy": "suppressed",
                "model_version": row["model_version"],
            }
        score = row["score"]
        return Change(
            self.entity,
            row["entity_id"],
            self.partition.propensity,
            "withheld" if row["policy"] else "scored",
            score,
            row["probability"],
            row["percentile"],
            row["grade"],
            row["expected_value"],
            "; ".join(reason["text"] for reason in row.get("reasons") or ()),
            None if before is None or score is None else heading(before, score),
            row["policy"],
            bool(row.get("explore")),
            row["model_version"],
            self.partition.as_of,
        )


def _not_opened(partition: Partition, problem: OSError) -> StoreError:
    where = f"the scores in {partition.path.parent}"
    if problem.errno != errno.EMFILE:
        return broken(where, problem)
    return StoreError(
        where,
        expected=f"all {len(partition.files):,} files open at once",
        received=f"{problem.strerror}: this process may open no more",
        repair="raise `ulimit -n`, or make fewer files with `[spark] rows_per_file`",
    )


def _read(partition: Partition, columns: list[str]) -> pa.Table:
    return pa.concat_tables(pq.ParquetFile(path).read(columns) for path in partition.files)


def gone(written: Written, as_of: datetime) -> Change:
    """What is said of somebody who is no longer eligible."""
    return Change(
        written.entity, written.entity_id, written.propensity, "gone",
        None, None, None, None, None, "", None, None, False, written.model_version, as_of,
    )  # fmt: skip


def changes(
    night: Night, target: Target, name: str, ledger: Ledger, forced: Collection[str]
) -> Iterator[tuple[list[Change], int]]:
    """What is to be written of a night, a batch at a time, each with how many rows were looked at.

    Args:
        night: the scores.
        target, name: where they are written to.
        ledger: knows what the target was last sent.
        forced: ids that are sent whatever it was.

    Raises:
        StoreError: the ledger does not answer.
    """
    propensity, start = night.partition.propensity, 0
    everybody, held = night.everybody(), _held(ledger, name, propensity, target)
    is_doubtful = pc.invert(_is_held(everybody, held, target, night.objections.union(forced)))
    for batch in night.batches():
        doubtful = batch.filter(is_doubtful.slice(start, batch.num_rows).combine_chunks())
        before = ledger.written(name, propensity, doubtful["entity_id"].to_pylist())
        found = night.changes(doubtful)
        due = [one for one in found if _is_due(one, before.get(one.entity_id), target, one.entity_id in forced)]
        yield due, batch.num_rows
        start += batch.num_rows
    if target.clear:
        yield _gone(night.partition, name, ledger, everybody["entity_id"], held["entity_id"], forced), 0


def _held(ledger: Ledger, name: str, propensity: str, target: Target) -> pa.Table:
    """Of whom the target holds a score, or may; the very score and grade where they are known to have come there."""
    pages = ledger.held(name, propensity, target.digest)
    columns = (list(map(pa.array, zip(*rows, strict=True), _HELD.types)) for rows in pages)
    return pa.Table.from_batches([pa.RecordBatch.from_arrays(mine, schema=_HELD) for mine in columns], _HELD)


def _is_held(everybody: pa.Table, held: pa.Table, target: Target, others: Collection[str]) -> pa.ChunkedArray:
    """Of whom the target has much the same score and the very grade, so that nothing is due: of most people in most nights.

    Of `others` it is not known.
    """
    places = pc.index_in(everybody["entity_id"], held["entity_id"])
    before, grades = held["score"].take(places), held["grade"].take(places)
    is_near = pc.less(pc.abs(pc.subtract(everybody["score"], before)), target.threshold)
    is_same = pc.and_(is_near, pc.equal(everybody["grade"], grades)).fill_null(False)
    is_wanted = pc.is_in(everybody["entity_id"], pa.array(sorted(others), pa.string()))
    if "explore" in everybody.schema.names:
        is_wanted = pc.or_(is_wanted, everybody["explore"].fill_null(False))
    return pc.and_(is_same, pc.invert(is_wanted))


def _is_due(change: Change, before: Written | None, target: Target, is_forced: bool) -> bool:
    if before is None:
        return change.state == "scored"
    if before.as_of > change.as_of:
        return False
    if is_forced or before.status == "waiting":
        return True
    if change.state == "scored" and before.settings != change.settings(target.digest):
        return True
    if change.state != "scored" or before.state != "scored":
        return (change.state == "scored") != (before.state == "scored")
    differs = before.score is None or change.score is None or abs(change.score - before.score) >= target.threshold
    return differs or change.grade != before.grade


def _gone(
    partition: Partition, name: str, ledger: Ledger, seen: pa.ChunkedArray, held: pa.ChunkedArray, forced: Collection[str]
) -> list[Change]:  # fmt: skip
    """Those of whom the target holds a score and this night says nothing."""
    wanted = pa.chunked_array([*held.chunks, pa.array(sorted(forced), pa.string())])
    absent = sorted(set(wanted.filter(pc.invert(pc.is_in(wanted, seen))).to_pylist()))
    before = ledger.written(name, partition.propensity, absent)
    return [gone(before[one], partition.as_of) for one in absent if one in before and before[one].as_of <= partition.as_of]
