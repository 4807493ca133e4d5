"""What CI runs says what it lacks, and leaves a machine alone that it may not change."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from features.settings import REPOSITORY


def test_without_root_and_with_a_tool_missing_it_says_so_and_stops(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "ls"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n", encoding="utf-8")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "bash"), str(REPOSITORY / ".ci" / "run")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr.replace(" faketime", "").replace(" nginx", "")  # looked for in the system's folders, where they may be
    everything = "make redis-server wrk postgresql openjdk-17-jre-headless python3 python3-venv"
    assert told == f"missing: {everything}; installing them needs root\n"
