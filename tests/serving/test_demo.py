"""The demo goes the whole way, by the commands it prints, and may be run again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.partition import PART


@pytest.mark.slow
def test_the_demo_goes_from_a_sample_crm_to_scores_over_http_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "foresell", "demo", "--workspace", str(tmp_path / "demo"), "--customers", "3000"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        typed = re.findall(r"^\$ foresell (\w+)", done.stdout, re.MULTILINE)
        assert [name for name in typed if name not in ("init", "promote")] == [
            "ingest",
            "check",
            "snapshot",
            "train",
            "score",
            "serve",
        ]
        assert len(re.findall(r"^\$ curl ", done.stdout, re.MULTILINE)) == typed.count("promote")
        for title in ("The ten best leads", "The ten customers most at risk", "The ten best upsells"):
            listed = done.stdout.split(title)[1]
            assert re.search(r"^ 1\. .*score \d+ \([A-D]\), probability \d+%", listed, re.MULTILINE)
            assert re.search(r"^10\. .*\n +[▲▼] \w+", listed, re.MULTILINE)
    parts = list((tmp_path / "demo" / "scores").rglob(PART))
    assert sorted(part.parent.parent.name for part in parts) == [
        "propensity=churn", "propensity=lead-conversion", "propensity=upsell",
    ]  # fmt: skip
