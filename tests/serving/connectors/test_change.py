"""What is due is found by columns as it is found record by record, of files that were opened once."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.errors import StoreError
from features.settings import Settings, Workspace
from features.target import Target
from serving.connectors import change
from serving.connectors.change import Change, Night, Partition, changes
from serving.ledger import Ledger, Written
from serving.partition import SCHEMA, write
from serving.partition import part as part_of

AS_OF = datetime(2025, 1, 1, tzinfo=UTC)
TARGET = Target(entity="customer", threshold=5, fields={"a": "score"})
SETTINGS = (TARGET.digest, TARGET.digest, TARGET.digest, f"{TARGET.digest}+explore", "of another field")
PEOPLE = 400


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "ROWS_AT_ONCE", 7)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(Workspace(tmp_path, Settings()))) as opened:
        yield opened


def scored(number: int, chance: random.Random) -> dict[str, Any]:
    score = chance.choice([None, *[chance.randint(1, 100)] * 4])
    said = {
        "feature": "f",
        "features": ["f"],
        "value": "1",
        "text": f"because {number}",
        "direction": "raises",
        "contribution": 0.1,
    }
    return {
        "entity_id": f"{number:04d}", "propensity": "churn", "eligible": True, "policy": None if score else "holdout",
        "score": score, "probability": score and score / 101, "grade": score and chance.choice("ABCD"),
        "reasons": [said] if score else [], "missing": [], "unseen": [], "stale": [], "feature_as_of": AS_OF,
        "scored_at": AS_OF, "model_version": "1", "explore": chance.random() < 0.1,
    }  # fmt: skip


def sent(row: dict[str, Any], chance: random.Random) -> Written:
    """What the target was last sent about somebody: much the same, or something else."""
    state = chance.choice(["scored"] * 4 + ["withheld", "gone"])
    near = (row["score"] or chance.randint(10, 90)) + chance.choice([0, 0, 3, 4, -4, 5, -5])
    score, grade = (near, row["grade"] or "A") if state == "scored" else (None, None)
    return Written(
        "crm", "churn", row["entity_id"], "customer", chance.choice(SETTINGS), state, score,
        grade and chance.choice([grade, grade, "B"]), "1", AS_OF + timedelta(days=chance.choice([-1, -1, 0, 1])),
        chance.choice(["sent"] * 4 + ["rejected", "waiting", "given up"]), None, 1, AS_OF,
    )  # fmt: skip


def partition(folder: Path, *parts: list[dict[str, Any]]) -> Partition:
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(parts):
        neighbour = folder / "new"
        with neighbour.open("wb") as file:
            write(file, [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)])
        neighbour.replace(folder / part_of(number))
    return Partition("churn", AS_OF, folder / part_of(0))


@pytest.mark.parametrize("sources", [{"score"}, {"score", "explore", "reasons"}])
@pytest.mark.parametrize("seed", range(5))
def test_who_is_due_is_found_as_one_by_one(ledger: Ledger, tmp_path: Path, sources: set[str], seed: int) -> None:
    chance = random.Random(seed)
    rows = [scored(number, chance) for number in range(PEOPLE + 50)]
    told, strangers = rows[:PEOPLE], rows[PEOPLE:]
    ledger.intend([sent(row, chance) for row in rows if chance.random() < 0.8])
    night = Night(Workspace(tmp_path, Settings()), partition(tmp_path / "p", told[:200], [], told[200:]), "customer", sources)
    forced = {row["entity_id"] for row in chance.sample(rows, 20)}
    found = {one.entity_id: one for due, _ in changes(night, TARGET, "crm", ledger, forced) for one in due}
    everybody = [one for batch in night.batches() for one in night.changes(batch)]
    before = ledger.written("crm", "churn", [row["entity_id"] for row in rows])
    due = {one.entity_id for one in everybody if change._is_due(one, before.get(one.entity_id), TARGET, one.entity_id in forced)}
    assert {name for name, one in found.items() if one.state != "gone"} == due and 50 < len(due) < PEOPLE
    gone = {row["entity_id"] for row in strangers if _is_left(before.get(row["entity_id"]), row["entity_id"] in forced)}
    assert {name for name, one in found.items() if one.state == "gone"} == gone != set()
    words = {row["entity_id"]: row["reasons"] for row in told if row["score"] and "reasons" in sources}
    assert all(one.reasons == "".join(said["text"] for said in words.get(name, ())) for name, one in found.items())


def _is_left(before: Written | None, is_forced: bool) -> bool:
    """Whether the target holds a score of somebody of whom the night says nothing."""
    if before is None or before.as_of > AS_OF:
        return False
    return is_forced or before.state != "gone" or before.status == "waiting"


def test_a_night_that_ends_meanwhile_is_not_mixed_with_the_one_that_is_written(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    chance = random.Random(0)
    rows = [scored(number, chance) for number in range(100)]
    night = Night(Workspace(tmp_path, Settings()), partition(tmp_path / "p", rows), "customer", {"score"})
    expected = _of(night, ledger)
    whole = Ledger.held

    def another(*asked: Any) -> Any:
        partition(tmp_path / "p", [scored(number, chance) for number in range(10, 150)])
        return whole(*asked)

    monkeypatch.setattr(Ledger, "held", another)
    assert _of(night, ledger) == expected and len(expected) > 50


def test_more_files_than_a_process_may_open_are_told_as_such(tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = partition(tmp_path / "p", [scored(number, chance) for number in range(10)])
    for number in range(1, 200):
        (tmp_path / "p" / f"part-{number}.parquet").hardlink_to(whole.path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 100, before[1]))
    try:
        with pytest.raises(StoreError, match="ulimit -n"):
            Night(Workspace(tmp_path, Settings()), whole, "customer", {"score"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _of(night: Night, ledger: Ledger) -> list[Change]:
    return [one for due, _ in changes(night, TARGET, "crm", ledger, ()) for one in due]
