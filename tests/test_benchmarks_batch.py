"""The benchmark of the batch measures what it says: everybody is scored in each job, and the second night finds the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.batch import AS_OF, NAMES, run
from features.settings import Workspace
from serving.partition import PART, folder


@pytest.mark.slow
def test_every_job_and_both_nights_are_in_the_tables(tmp_path: Path) -> None:
    told = run(tmp_path, 400, NAMES[:2], 5, 100)
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in told.splitlines() if line.startswith("| ")}
    counts = {name: row[0] for name, row in rows.items() if "reasons" in name or "predict" in name or "contrib" in name}
    assert counts == {
        "`Booster.predict`, in memory": "400", "the job with `pred_contrib`": "100", "with reasons": "800",
        "with reasons, and last scores": "800", "without reasons": "800", "without reasons, and last scores": "800",
        "with reasons, and last scores: 4 times fewer customers": "200",
    }  # fmt: skip
    assert {"snapshot", "online store", "scores", "latest", "write-back", "all"} <= rows.keys()
    workspace = Workspace.open(tmp_path / "large")
    assert all((folder(workspace, name, AS_OF) / PART).is_file() for name in NAMES[:2])
    assert len(list((workspace.root / "crm" / NAMES[0]).rglob("part-*.parquet"))) == 2  # everybody, then what differed
