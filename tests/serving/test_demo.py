"""The demo goes the whole way, by the commands it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from features.settings import Workspace
from serving.http import keys
from serving.http.keys import SECRET
from serving.partition import PART


@pytest.mark.slow(minutes=10)
def test_the_demo_goes_from_a_sample_crm_to_scores_over_http(sample_workspace: Path) -> None:
    printed = (sample_workspace / "demo.out").read_text(encoding="utf-8")
    typed = re.findall(r"^\$ foresell (\w+)", printed, re.MULTILINE)
    assert typed == [
        "init", "ingest", "check", "snapshot", "train", "promote", "promote", "promote", "score", "key", "serve", "key",
    ]  # fmt: skip
    keyed = r'^\$ curl \S+ http://\S+/v1/\S+ -H "Authorization: Bearer fs_[0-9a-f]{8}_\.\.\." '
    assert len(re.findall(keyed, printed, re.MULTILINE)) == 3 and not SECRET.search(printed)
    key = next(key for key in keys.load(Workspace.open(sample_workspace)) if key.name == "demo")
    assert key.revoked_at is not None and f"fs_{key.id}_..." in printed
    for title in ("The ten best leads", "The ten customers most at risk", "The ten best upsells"):
        listed = printed.split(title)[1]
        assert re.search(r"^ 1\. .*score \d+ \([A-D]\), probability \d+%", listed, re.MULTILINE)
        assert re.search(r"^10\. .*\n +[▲▼] \w+", listed, re.MULTILINE)
    parts = (sample_workspace / "scores").rglob(PART)
    assert sorted(part.parent.parent.name for part in parts) == [
        "propensity=churn", "propensity=lead-conversion", "propensity=upsell",
    ]  # fmt: skip
