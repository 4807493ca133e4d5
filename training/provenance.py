"""What a training was made from, exactly enough to repeat it: dates, a digest of every column, code, libraries, machine.

It stands in the report of a version, and `foresell rebuild` holds it against the present.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import datetime

import pandas as pd

from features.engine import Name
from features.settings import REPOSITORY
from features.strict import Strict
from training.dataset import Dataset, digests
from training.sampling import Sampling

LIBRARIES = (
    "foresell",
    "lightgbm",
    "numpy",
    "pandas",
    "pydantic",
    "scikit-learn",
    "scipy",
    "duckdb",
    "feast",
    "pyarrow",
    "optuna",
    "threadpoolctl",
)
LOCK = REPOSITORY / "requirements.lock"
ROOMS = (REPOSITORY / "features", REPOSITORY / "training")  # whose code makes rows and models


class Provenance(Strict):
    """What a training was made from.

    Attributes:
        as_ofs: every date that the dataset has rows of, ISO, UTC.
        rows: how many it has.
        trials: of the tuning; 0 without one.
        columns: digest of the values of each column in the order of the rows, `entity_id`, `as_of` and `label` among them.
        versions: of the libraries that made rows or model, and of Python.
        lock: digest of `requirements.lock`; empty where Foresell was installed without one.
        machine: its architecture, for floating-point sums can differ between two.
        sources: digest of Foresell's own code; empty in what a release wrote that kept none.
        engine: what made the rows.
        sampling: which share of the rows these are; None where they are all.
    """

    as_ofs: tuple[str, ...]
    rows: int
    trials: int
    columns: dict[str, str]
    versions: dict[str, str]
    lock: str
    machine: str
    sources: str = ""
    engine: Name = "duckdb"
    sampling: Sampling | None = None

    @property
    def instants(self) -> list[datetime]:
        """The dates, as `dataset.prepare` takes them."""
        return [datetime.fromisoformat(text) for text in self.as_ofs]


def provenance(data: Dataset, trials: int) -> Provenance:
    """Of a training that happens here and now, with so many trials of tuning."""
    return Provenance(
        as_ofs=tuple(pd.Timestamp(instant).isoformat() for instant in sorted(data.frame["as_of"].unique())),
        rows=len(data.frame),
        trials=trials,
        columns=digests(data.frame),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        lock=hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16] if LOCK.is_file() else "",
        machine=platform.machine(),
        sources=_sources(),
        engine=data.engine,
        sampling=data.sampling,
    )


def moved(before: Provenance, now: Provenance) -> tuple[str, ...]:
    """What is not as it was, in sentences; none if everything is."""
    return (
        *_rows(before, now),
        *([f"the sample: {_told(before)} then, {_told(now)} now"] if before.sampling != now.sampling else []),
        *_columns(before.columns, now.columns),
        *(_versions(before.versions, now.versions)),
        *([f"requirements.lock: {before.lock or 'none'} then, {now.lock or 'none'} now"] if before.lock != now.lock else []),
        *([f"machine: {before.machine} then, {now.machine} now"] if before.machine != now.machine else []),
        *(
            [f"Foresell's own code: {before.sources or 'not kept'} then, {now.sources} now"]
            if before.sources != now.sources
            else []
        ),
    )


def _sources() -> str:
    """16 hexadecimal digits over the name and the text of every Python file that rows and models are made by."""
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted(room.rglob("*.py")):
            digest.update(f"{room.name}/{path.relative_to(room).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _told(one: Provenance) -> str:
    return one.sampling.sentence if one.sampling else "every row"


def _rows(before: Provenance, now: Provenance) -> list[str]:
    return [f"rows: {before.rows:,} then, {now.rows:,} now"] if before.rows != now.rows else []


def _columns(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    gone = [f"column {name} is gone" for name in before if name not in now]
    new = [f"column {name} is new" for name in now if name not in before]
    return gone + new + [f"column {name} has other values" for name in before if name in now and before[name] != now[name]]


def _versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {before.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
