"""Changes: whose score is to be written to a target, because it is not what the target was last sent.

A score is sent when it differs by the threshold, when the grade does, or when the same entity had none; when the last try was not
settled, which is what a killed process leaves; and when it is asked for. A score that is withheld, or whose entity is no longer
eligible, is sent as nothing, to those of whom the target holds a score. A night never goes over a newer one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.settings import Workspace, parse_instant
from features.target import Target
from serving.ledger import Ledger, State, Written
from serving.partition import PART

ROWS_AT_ONCE = 10_000
_COLUMNS = (
    "entity_id", "policy", "score", "probability", "percentile", "grade", "expected_value", "model_version",
)  # fmt: skip


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
        withheld: the policy that withholds the score.
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
    withheld: str | None
    version: str
    as_of: datetime


class Partition(NamedTuple):
    """The scores of one propensity at one as_of."""

    propensity: str
    as_of: datetime
    path: Path

    @property
    def rows(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)


def newest(workspace: Workspace, propensity: str, until: datetime | None) -> Partition | None:
    """The newest partition of a propensity, of `until` or earlier; None where there is none."""
    found = [
        Partition(propensity, parse_instant(path.parent.name.partition("=")[2]), path)
        for path in (workspace.scores / f"propensity={propensity}").glob(f"as_of=*/{PART}")
    ]
    return max((one for one in found if until is None or one.as_of <= until), key=lambda one: one.as_of, default=None)


def changes(
    partition: Partition, target: Target, name: str, ledger: Ledger, forced: Collection[str], with_reasons: bool
) -> Iterator[tuple[list[Change], int]]:
    """What is to be written of a partition, a batch at a time, each with how many rows were looked at.

    Args:
        partition: the scores.
        target, name: where they are written to.
        ledger: knows what the target was last sent.
        forced: ids that are sent whatever it was.
        with_reasons: whether the reasons' texts are read.

    Raises:
        StoreError: the ledger does not answer.
    """
    seen: list[pa.Array] = []
    for batch in _batches(partition.path, with_reasons):
        seen.append(batch["entity_id"])
        before = ledger.written(name, partition.propensity, batch["entity_id"].to_pylist())
        rows = (_change(partition, target.entity, row) for row in batch.to_pylist())
        found = [
            one for one in rows if _is_due(one, before.get(one.entity_id), target.threshold, one.entity_id in forced)
        ]  # fmt: skip
        yield found, batch.num_rows
    if target.clear:
        yield _gone(partition, target, name, ledger, pa.chunked_array(seen, pa.string()), forced)


def read(partition: Partition, entity: str, ids: Collection[str]) -> list[Change]:
    """What a partition says of some entities, with reasons; those it says nothing of are left out."""
    table = pq.ParquetFile(partition.path)
    wanted = pa.array(sorted(ids), pa.string())
    return [
        _change(partition, entity, row)
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=[*_COLUMNS, "reasons"])
        for row in batch.filter(pc.is_in(batch["entity_id"], wanted)).to_pylist()
    ]


def _batches(path: Path, with_reasons: bool) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(ROWS_AT_ONCE, columns=[*_COLUMNS, *(["reasons"] if with_reasons else [])])


def _change(partition: Partition, entity: str, row: dict[str, Any]) -> Change:
    reasons = "; ".join(reason["text"] for reason in row.get("reasons") or ())
    return Change(
        entity, row["entity_id"], partition.propensity, "withheld" if row["policy"] else "scored",
        row["score"], row["probability"], row["percentile"], row["grade"], row["expected_value"], reasons,
        row["policy"], row["model_version"], partition.as_of,
    )  # fmt: skip


def _is_due(change: Change, before: Written | None, threshold: int, is_forced: bool) -> bool:
    if before is None:
        return change.state == "scored"
    if before.as_of > change.as_of:
        return False
    if is_forced or before.status == "waiting":
        return True
    if change.state != "scored" or before.state != "scored":
        return (change.state == "scored") != (before.state == "scored")
    differs = before.score is None or change.score is None or abs(change.score - before.score) >= threshold
    return differs or change.grade != before.grade


def _gone(
    partition: Partition, target: Target, name: str, ledger: Ledger, seen: pa.ChunkedArray, forced: Collection[str]
) -> tuple[list[Change], int]:
    """Those of whom the target holds a score and this night says nothing."""
    held = pa.array(ledger.with_score(name, partition.propensity), pa.string())
    ids = held.filter(pc.invert(pc.is_in(held, seen))).to_pylist()
    before = ledger.written(name, partition.propensity, [*ids, *(sorted(forced) if forced else [])])
    absent = set(before) - set(seen.to_pylist()) if forced else set(ids)
    found = [
        Change(
            target.entity, one, partition.propensity, "gone",
            None, None, None, None, None, "", None, before[one].model_version, partition.as_of,
        )
        for one in sorted(absent)
        if before[one].as_of <= partition.as_of
    ]  # fmt: skip
    return found, 0
