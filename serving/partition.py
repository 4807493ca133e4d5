"""A partition: the scores of one propensity at one as_of, in one Parquet file with a receipt beside it.

`scores/propensity=churn/as_of=2018-05-15/part-0.parquet` holds the fields the service answers with, sorted by entity. Readers
that know Hive layouts add `as_of` from the folder's name. The same scores give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalog import sweep, write_atomically
from features.settings import Workspace
from serving.wording import Value

PART, RECEIPT = "part-0.parquet", "_receipt.json"
_INSTANT = pa.timestamp("us", tz="UTC")
REASON = pa.struct(
    [
        ("feature", pa.string()),
        ("features", pa.list_(pa.string())),
        ("value", pa.string()),  # numbers and categories in one column: a number is written so that it reads back the same
        ("text", pa.string()),
        ("direction", pa.string()),
        ("contribution", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("entity_id", pa.string()),
        ("propensity", pa.dictionary(pa.int32(), pa.string())),  # the type engines give to the folder's name
        ("eligible", pa.bool_()),
        ("why", pa.string()),
        ("policy", pa.string()),
        ("score", pa.int32()),
        ("probability", pa.float64()),
        ("percentile", pa.float64()),
        ("grade", pa.string()),
        ("expected_value", pa.float64()),
        ("reasons", pa.list_(REASON)),
        ("missing", pa.list_(pa.string())),
        ("unseen", pa.list_(pa.string())),
        ("stale", pa.list_(pa.string())),
        ("feature_as_of", _INSTANT),
        ("scored_at", _INSTANT),
        ("model_version", pa.string()),
        ("explore", pa.bool_()),
    ]
)


def _leaves(name: str, kind: pa.DataType) -> Iterator[str]:
    """The columns that Parquet makes of one."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for one in kind:
            yield from _leaves(f"{name}.{one.name}", one.type)
    else:
        yield name


_SCALARS = [one.name for one in SCHEMA if not pa.types.is_list(one.type)]  # nobody asks for a range of reasons
_UNIQUE = ("entity_id", "probability", "expected_value", "contribution")  # a dictionary of them costs a quarter of the writing
_REPEATED = [path for one in SCHEMA for path in _leaves(one.name, one.type) if path.rpartition(".")[2] not in _UNIQUE]


@dataclass(frozen=True)
class Receipt:
    """What became of everybody known at an as_of.

    Attributes:
        propensity, as_of, model_version: which question, when, answered by which champion.
        catalog_version: digest of the tables the features were made from.
        known: entities known at the as_of.
        rows: how many of them were eligible and have a score, or a policy that withholds it.
        withheld: how many of the rows have no score, by policy.
        ineligible: how many failed each condition first.
        grades: how many scores of each grade.
        mean_probability: over the scores; None when there are none.
        late: a sentence for each source that was late or missing.
        reasons: whether the scores have reasons; a night without them is made in a fraction of the time.
        sha256: of the Parquet file, so that a receipt of another file is noticed; of several, of their digests in order.
    """

    propensity: str
    as_of: str
    model_version: str
    catalog_version: str
    known: int
    rows: int
    withheld: dict[str, int]
    ineligible: dict[str, int]
    grades: dict[str, int]
    mean_probability: float | None
    sha256: str
    late: list[str] = field(default_factory=list)
    reasons: bool = True


def folder(workspace: Workspace, propensity: str, as_of: datetime) -> Path:
    """Where a partition lies."""
    return workspace.scores / f"propensity={propensity}" / f"as_of={label(as_of)}"


def part(number: int) -> str:
    """The name of a file of a partition; what one machine scores has only the first."""
    return f"part-{number}.parquet"


def parts(target: Path) -> list[Path]:
    """The files of a partition, in order."""
    return sorted(target.glob("part-*.parquet"), key=lambda path: int(path.stem.removeprefix("part-")))


def label(as_of: datetime) -> str:
    """An as_of in a folder's name: `2018-05-15`, or `20180515T063000Z` when it is not midnight."""
    instant = as_of.astimezone(UTC)
    if instant.time() == time():
        return f"{instant:%Y-%m-%d}"
    fraction = f"{instant:.%f}" if instant.microsecond else ""
    return f"{instant:%Y%m%dT%H%M%S}{fraction}Z"


def partitions(workspace: Workspace) -> dict[str, list[tuple[datetime, Path]]]:
    """The folders of every propensity's partitions with the as_of of each, oldest first."""
    found: dict[str, list[tuple[datetime, Path]]] = {}
    for path in workspace.scores.glob("propensity=*/as_of=*"):
        at = instant(path.name.partition("=")[2])
        if at is not None:
            found.setdefault(path.parent.name.partition("=")[2], []).append((at, path))
    return {name: sorted(found[name]) for name in sorted(found)}


def instant(text: str) -> datetime | None:
    """The as_of that a folder's name tells, the inverse of `label`; None for a name that somebody else gave."""
    for form in ("%Y-%m-%d", "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S.%fZ"):
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None


def publish(target: Path, scores: Iterable[pa.RecordBatch], facts: Mapping[str, Any]) -> Receipt:
    """Write the scores into a neighbour file, put it in place of the old one in one step, then write the receipt.

    Whoever kills the process leaves the old file or the new one, never a part of one.

    Args:
        target: the partition's folder.
        scores: batches of `SCHEMA`, in the order of the rows.
        facts: the fields of the receipt that the scores do not tell.
    """
    target.mkdir(parents=True, exist_ok=True)
    sweep(target, PART, RECEIPT)
    neighbour = target / f".{PART}.{os.getpid()}"
    try:
        tally = _write(neighbour, scores)
        receipt = Receipt(**facts, **tally.facts(), sha256=digest(neighbour))
        if others := parts(target)[1:]:
            (target / RECEIPT).unlink(missing_ok=True)  # until they are gone, nobody is to take all of it for one partition
        neighbour.replace(target / PART)
        for other in others:
            other.unlink()
    finally:
        neighbour.unlink(missing_ok=True)
    write_atomically(target / RECEIPT, (json.dumps(asdict(receipt), indent=1) + "\n").encode())
    return receipt


class Tally:
    """Counts over the scores as they pass."""

    def __init__(self) -> None:
        self.grades = Counter({grade: 0 for grade in "ABCD"})
        self.withheld: Counter[str] = Counter()
        self.total = 0.0

    def add(self, scores: pa.RecordBatch) -> None:
        for counter, name in ((self.grades, "grade"), (self.withheld, "policy")):
            for found in scores[name].drop_null().value_counts().to_pylist():
                counter[found["values"]] += found["counts"]
        self.total += pc.sum(scores["probability"]).as_py() or 0.0

    def plus(self, grades: Mapping[str, int], withheld: Mapping[str, int], total: float) -> None:
        """Add what another tally counted."""
        self.grades.update(grades)
        self.withheld.update(withheld)
        self.total += total

    def facts(self) -> dict[str, Any]:
        scored, withheld = sum(self.grades.values()), dict(sorted(self.withheld.items()))
        mean = self.total / scored if scored else None
        return {
            "rows": scored + sum(withheld.values()), "withheld": withheld, "grades": dict(self.grades), "mean_probability": mean,
        }  # fmt: skip


def _write(path: Path, batches: Iterable[pa.RecordBatch]) -> Tally:
    with path.open("wb") as file:
        tally = write(file, batches)
        file.flush()
        os.fsync(file.fileno())
    return tally


def write(file: IO[bytes], batches: Iterable[pa.RecordBatch]) -> Tally:
    """Write scores as Parquet, and count them."""
    tally = Tally()
    with pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=_REPEATED, write_statistics=_SCALARS) as writer:
        for scores in batches:
            tally.add(scores)
            writer.write_batch(scores)
    return tally


def text_of(value: Value) -> str | None:
    """A reason's value as the partition holds it: a number so that it reads back the same."""
    return value if value is None or isinstance(value, str) else repr(value)


def joint(digests: Sequence[str]) -> str:
    """The digest of several files: of one, its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file, as a receipt has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
