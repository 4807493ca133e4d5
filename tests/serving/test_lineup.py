"""Who answers, by what the registry says and by the copies beside the service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from features.catalog import Catalog
from features.errors import RegistryError
from features.settings import MlflowSettings, Workspace
from features.views import views
from serving import copies
from serving.desk import Desk
from serving.lineup import Lineup
from serving.scorer import Scorer
from tests.serving.running import copied
from tests.serving.shop import MODEL_COLUMNS, NOW, learn
from training import registry

NOWHERE = MlflowSettings(tracking_uri="http://127.0.0.1:9")  # the port of nobody


@pytest.fixture(scope="module")
def twice(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose churn has a champion and a challenger, which is heard."""
    workspace = copied(shop, tmp_path_factory.mktemp("lineup") / "workspace", serving='shadow = ["churn"]')
    learn(workspace, "churn", MODEL_COLUMNS["churn"][:4], 6)
    return workspace


def opened(workspace: Workspace) -> Lineup:
    found = Lineup(workspace, views(workspace, Catalog.load(workspace)), lambda entity: None)
    found.refresh()
    return found


def seats(lineup: Lineup) -> tuple[str, str | None]:
    """The versions at churn's desk."""
    desk = lineup.desks["churn"]
    assert isinstance(desk, Desk), desk
    return desk.scorer.version, desk.challenger.version if desk.challenger else None


def without_registry(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Workspace(workspace.root, workspace.settings.model_copy(update={"mlflow": NOWHERE}))


def test_without_a_registry_champion_and_challenger_come_from_their_copies(
    twice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seats(opened(twice)) == ("1", "2")
    away = opened(without_registry(twice, monkeypatch))
    assert seats(away) == ("1", "2") and away.failure is not None
    desk = away.desks["churn"]
    away.refresh()
    assert away.desks["churn"] is desk


def test_without_a_registry_and_a_copy_it_is_said_that_the_registry_is_away(
    twice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(opened(without_registry(twice, monkeypatch)).desks["upsell"], RegistryError)


@pytest.mark.parametrize("text", ["", "{}", '{"champion": 7}', "not JSON"])
def test_a_note_of_who_served_last_that_cannot_be_read_is_none(twice: Workspace, text: str) -> None:
    opened(twice)
    pointer = twice.serving / "champions" / "churn" / copies.POINTER
    whole = pointer.read_text()
    pointer.write_text(text)
    assert copies.last_champion(twice, "churn") is None
    opened(twice)
    assert pointer.read_text() == whole


def test_a_copy_that_is_damaged_is_not_used(twice: Workspace) -> None:
    opened(twice)
    for file in sorted((twice.serving / "champions" / "churn").glob("1-*/*.txt")):
        file.write_text(file.read_text()[:100])
    assert seats(opened(twice)) == ("1", "2")


def test_a_pinned_version_that_there_is_not_leaves_the_desk_closed_and_says_so(twice: Workspace) -> None:
    serving = twice.settings.serving.model_copy(update={"pin": {"churn": "7"}})
    found = opened(Workspace(twice.root, twice.settings.model_copy(update={"serving": serving}))).desks["churn"]
    assert isinstance(found, RegistryError) and "7" in str(found)


def test_a_challenger_that_cannot_be_opened_keeps_no_champion_from_answering(twice: Workspace, shop: Workspace) -> None:
    learn(twice, "churn", MODEL_COLUMNS["churn"][:3], 7)
    newest = max(shop.mlruns.glob("artifacts/churn/**/contract.json"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_text("{}")
    assert seats(opened(twice)) == ("1", None)
    registry.promote(twice, "churn", registry.Signature("anna", NOW), "2")
    assert seats(opened(twice)) == ("2", None)


def test_a_version_that_could_not_be_opened_once_is_opened_at_the_next_look(
    twice: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard = twice.settings.serving.model_copy(update={"shadow": ()})  # else the other version would be open already
    lineup = opened(Workspace(twice.root, twice.settings.model_copy(update={"serving": unheard})))
    before = seats(lineup)
    registry.promote(twice, "churn", registry.Signature("anna", NOW), "1" if before[0] == "2" else "2")
    warm = Scorer.warm
    monkeypatch.setattr(Scorer, "warm", lambda scorer: 1 / 0)  # nothing that anybody foresaw
    with pytest.raises(ZeroDivisionError):
        lineup.refresh()
    assert seats(lineup) == before
    monkeypatch.setattr(Scorer, "warm", warm)
    lineup.refresh()
    assert seats(lineup)[0] != before[0]


def test_what_could_not_be_remembered_is_remembered_at_the_next_look(twice: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(twice)
    pointer = twice.serving / "champions" / "churn" / copies.POINTER
    pointer.unlink()
    full = OSError(28, "no space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(copies, "write_atomically", Mock(side_effect=full))
        lineup = opened(twice)
    lineup.refresh()
    assert pointer.exists()


def test_counts_of_a_killed_worker_stay_and_what_it_said_of_the_present_goes(tmp_path: Path) -> None:
    said = "from serving.metrics import Metrics; m = Metrics(); m.up.labels('ledger').set(0); m.lost.labels('log').inc()"
    told = "from serving.metrics import Metrics; print(Metrics().text().decode())"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", said], env=environment, check=True)
    found = subprocess.run([sys.executable, "-c", told], env=environment, check=True, capture_output=True, text=True).stdout
    assert 'foresell_lost_total{what="log"} 1.0' in found and 'dependency="ledger"' not in found
