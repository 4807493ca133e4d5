"""Whoever is killed while pulling loses nothing, has nothing twice, and goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import BusyError, SourceError
from features.settings import Workspace
from tests.features.sources.odoo_world import DAY, MONDAY, OdooWorld, answering, shop
from tests.features.sources.worlds import open_workspace, rows, run
from tests.serving.connectors.worlds import Asked, Crm, Reply, serving

LEADS, SKIPPED = 30, ("sale_order", "res_partner", "utm_medium", "utm_campaign", "utm_source", "res_country", "crm_lost_reason")
SCRIPT = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from features.console import progress
from features.settings import Workspace
from features.sources.pull import pull
pull(Workspace.open(Path(sys.argv[1])), "crm", datetime(2026, 11, 26, tzinfo=UTC), time.monotonic, time.sleep, progress)
"""


@pytest.fixture
def world() -> OdooWorld:
    world = OdooWorld()
    shop(world, LEADS)
    return world


@pytest.fixture
def crm(world: OdooWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("ODOO_PASSWORD", "sesame")
    with serving(answering(world)) as found:
        yield found


def opened(root: Path, crm: Crm) -> Workspace:
    return open_workspace(
        root, "odoo", of="odoo", url=crm.url, version=19, database="crm", password="${ODOO_PASSWORD}", per_second=10_000.0,
        page=4, overlap_minutes=0.0, skip=SKIPPED,
    )  # fmt: skip


def of_leads(crm: Crm) -> int:
    return sum("crm.lead/search_read" in one.path for one in crm.got)


def export(workspace: Workspace) -> dict[str, list[tuple[object, ...]]]:
    return {path.stem: rows(workspace, path.stem) for path in sorted(workspace.source.glob("*.parquet"))}


def test_a_process_that_is_killed_on_a_page_goes_on_there(crm: Crm, tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole", crm)
    run(whole)
    needed = of_leads(crm)
    crm.got.clear()
    workspace, answer, started = opened(tmp_path / "killed", crm), crm.answer, []

    def killing(asked: Asked) -> Reply:
        if of_leads(crm) == needed // 2 and started:
            os.kill(started[0].pid, signal.SIGKILL)
        return answer(asked)

    crm.answer = killing
    started.append(subprocess.Popen([sys.executable, "-c", SCRIPT, str(workspace.root)]))
    assert started[0].wait() == -signal.SIGKILL
    assert not (workspace.source / "crm_lead.parquet").exists()
    crm.answer = answer
    crm.got.clear()
    run(workspace)
    assert of_leads(crm) <= needed // 2 + 3
    assert export(workspace) == export(whole)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_pull_that_ends_between_the_export_and_the_cursor_is_done_again(
    crm: Crm, world: OdooWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    whole, workspace = opened(tmp_path / "whole", crm), opened(tmp_path / "ended", crm)
    run(whole)
    run(workspace)
    world.put("crm.lead", 3, MONDAY + 30 * DAY, priority="2")
    replace, calls = Path.replace, []

    def ending(self: Path, target: Path) -> Path:
        if target.name == "crm_lead.parquet":
            calls.append(target)
            if len(calls) == fails_at:
                raise OSError("killed")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", ending)
    with pytest.raises(OSError, match="killed"):
        run(workspace)
    monkeypatch.setattr(Path, "replace", replace)
    assert run(workspace)["crm_lead"].versions == 1
    run(whole)
    assert export(workspace) == export(whole)
    assert run(workspace)["crm_lead"].versions == 0


def test_pages_that_came_before_an_error_are_kept(crm: Crm, tmp_path: Path) -> None:
    workspace, answer = opened(tmp_path, crm), crm.answer

    def failing(asked: Asked) -> Reply:
        return (403, {"message": "not allowed"}) if of_leads(crm) == 5 else answer(asked)

    crm.answer = failing
    with pytest.raises(SourceError, match=r"crm\.lead"):
        run(workspace)
    crm.answer = answer
    assert run(workspace, dry_run=True)["crm_lead"].records < LEADS
    run(workspace)
    assert len(rows(workspace, "crm_lead", "distinct id")) == len(rows(workspace, "crm_lead")) == LEADS


def test_one_pull_at_a_time(crm: Crm, tmp_path: Path) -> None:
    workspace, answer, second = opened(tmp_path, crm), crm.answer, []

    def again(asked: Asked) -> Reply:
        if not second:
            second.append(True)
            with pytest.raises(BusyError, match="another one at work"):
                run(workspace)
        return answer(asked)

    crm.answer = again
    run(workspace)
    assert second
