"""What monitoring says can be kept and read back, whatever its figures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from features.finding import Finding, Health, health_path, read_health, write_health
from features.settings import Settings, Workspace

NIGHT = datetime(2026, 3, 2, tzinfo=UTC)


def health(**figures: float) -> Health:
    found = Finding(
        kind="base_rate", subject="model", severity="alarm", where="version 1", propensities=("churn",), sentence="It doubled.",
        figures=figures,
    )  # fmt: skip
    return Health(propensity="churn", as_of=NIGHT, version="1", matured_until=None, findings=(found,))


def test_figures_that_are_no_numbers_do_not_hide_the_health(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings())
    write_health(workspace, health(beyond=float("inf"), rows=3.0, share=float("nan")))
    stored = read_health(workspace, "churn")
    assert stored is not None and stored == health(rows=3.0) and len(stored.alarms) == 1


def test_a_health_that_nobody_or_another_release_wrote_is_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings())
    assert read_health(workspace, "churn") is None
    write_health(workspace, health())
    health_path(workspace, "churn").write_text('{"propensity": "churn"}', encoding="utf-8")
    assert read_health(workspace, "churn") is None
