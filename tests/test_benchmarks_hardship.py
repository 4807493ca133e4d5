"""The write-back through every hardship of the benchmark: nothing is lost, and nothing is given twice that was not in flight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import hardship
from benchmarks.hardship import CHUNK, HARDSHIPS, Trial, full_disk, killed, main, may_mount, table, undergo

IN_FLIGHT = {hardship.failing, hardship.silent, killed, full_disk}


@pytest.mark.parametrize("kind", ["rest", "webhook"])
@pytest.mark.parametrize("one", HARDSHIPS, ids=lambda one: one.__name__)
def test_nothing_is_lost_and_nothing_twice_that_was_not_in_flight(
    one: Callable[[Trial], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if one is full_disk and not may_mount():
        pytest.skip("only root may mount a disk")
    monkeypatch.setattr(hardship, "KILLS", 3)
    monkeypatch.setattr(hardship, "SILENCES", 2)
    row = undergo(one, kind, 230, tmp_path)
    assert (row["there"], row["lost"]) == (230, 0) and one.__name__.replace("_", " ") == row["hardship"]
    largest = CHUNK if kind == "webhook" else 1
    assert int(row["twice"]) <= (int(row["retries"]) * largest if one in IN_FLIGHT else 0)
    assert one is not killed or int(row["kills"]) >= 1


def test_the_table_is_printed_and_a_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, int | str] = dict.fromkeys(hardship.COLUMNS, 1_000)
    assert table([row | {"hardship": "calm"}]).splitlines()[2] == "| calm" + " | 1,000" * 8 + " |"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "benchmarks.hardship --records 1000" in capsys.readouterr().out
