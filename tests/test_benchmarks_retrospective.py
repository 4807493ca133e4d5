"""The retrospective knows no more of a day than was known on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import retrospective
from benchmarks.questions import bank_by_months
from benchmarks.retrospective import BANK_FROM, DATED, Month, Watched, as_known, table
from features.settings import parse_instant

AT = datetime(2018, 2, 1, tzinfo=UTC)


@pytest.mark.real_data
def test_an_export_of_olist_holds_nothing_that_was_not_known_yet(shared_data: Path, tmp_path: Path) -> None:
    workspace = as_known(shared_data / "olist", tmp_path, AT)
    assert workspace.settings.now is not None and parse_instant(workspace.settings.now) == AT
    later = as_known(shared_data / "olist", tmp_path / "later", AT + timedelta(days=28))
    for stem, known in DATED.items():
        frame = pd.read_parquet(workspace.source / f"{stem}.parquet")
        assert (pd.to_datetime(frame[known]) < pd.Timestamp("2018-02-01")).all()
        assert 0 < len(frame) < len(pd.read_parquet(later.source / f"{stem}.parquet"))


@pytest.mark.slow
@pytest.mark.real_data
def test_a_month_of_bank_marketing_is_judged_by_months_whose_outcomes_are_known(shared_data: Path) -> None:
    asked = bank_by_months(shared_data, Path())
    at = asked.data.frame["as_of"]
    watched = Watched.of(asked, asked.data.only((at + asked.propensity.horizon <= BANK_FROM).to_numpy()))
    assert max(watched.known.dates) + asked.propensity.horizon <= BANK_FROM
    assert watched.matured_by(BANK_FROM).empty
    june, july = datetime(2009, 6, 1, tzinfo=UTC), datetime(2009, 7, 1, tzinfo=UTC)
    assert set(watched.matured_by(july)["scored_at"]) == {pd.Timestamp(BANK_FROM), pd.Timestamp(june)}
    said = watched.month(july)
    frame = asked.data.frame
    turned = frame.assign(label=frame["label"].where(frame["as_of"] < july, 1 - frame["label"]))
    other = replace(watched, asked=replace(asked, data=replace(asked.data, frame=turned)), looks=[], estimates=[])
    assert other.month(july).findings == said.findings and other.month(july).auc != said.auc


def test_a_finding_is_told_in_words_when_it_is_first_said() -> None:
    finding = ("drift", "age", "alarm", "age: moved.")
    months = [Month("q", f"2009-0{number}-01", 5, 0.7, None, 0.6, 0.1, (finding,)) for number in (1, 2)]
    lines = table(months).splitlines()
    assert lines[2] == "| q | 2009-01-01 | 5 | 0.700 |  | 0.600 | 0.100 | drift age |  |"
    assert [line for line in lines if "moved" in line] == ["- 2009-01-01 q, alarm: age: moved."]


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["retrospective", "--help"])
    with pytest.raises(SystemExit):
        retrospective.main()
    assert "benchmarks.retrospective --data" in capsys.readouterr().out
