"""The benchmark of the write-back measures nights in which everybody's score has changed, and counts the calls of the second."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import write_back


@pytest.mark.postgres
def test_everybody_is_written_and_equal_values_go_in_one_call(tmp_path: Path) -> None:
    told = write_back.measure(tmp_path, 300)
    assert told.startswith("300 changed scores\n")
    assert re.search(r"\| write-back into PostgreSQL \| [\d.]+ \| [\d,]+ \| \|", told)
    assert re.search(r"\| write-back into an Odoo \| [\d.]+ \| [\d,]+ \| 100 \|", told), "a call for each of 100 scores"
    assert re.search(r"Of the bare upsert: \d\.\d\d of its records/s", told)
