"""The recipe, its pages and its command, on a shop with champions: what it writes, what fails alone, what is the same again."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.fitted import PASSED
from features import snapshot
from features.catalog import Catalog
from features.errors import FeatureError, PropensityError, RegistryError
from features.finding import Finding, Health, read_health, write_health
from features.settings import Workspace
from foresell import main
from serving import batch
from serving.monitor import matured, page
from serving.monitor import monitor as recipe
from serving.monitor.alerts.alarms import Alarms
from serving.monitor.alerts.alert import Alerts
from serving.monitor.monitor import Monitored, monitor
from tests.serving.monitor.worlds import DAY, asked, keep, silent
from tests.serving.shop import NOW
from training import registry

EARLIER = NOW - 30 * DAY


def look(workspace: Workspace, *names: str) -> Monitored:
    found = monitor(workspace, NOW, silent, names)
    page.write(workspace, found)
    return found


def told(workspace: Workspace, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((workspace.monitor / f"{name}.json").read_text())
    return document


@pytest.fixture(scope="module")
def scored(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop whose leads were scored 30 days ago and a week later, by night and online."""
    root = tmp_path_factory.mktemp("scored") / "shop"
    shutil.copytree(shop.root, root, ignore=shutil.ignore_patterns("mlruns", "scores", "serving"))
    (root / "mlruns").symlink_to(shop.root / "mlruns")
    workspace = Workspace.open(root)
    for as_of in (EARLIER, EARLIER + 7 * DAY):
        snapshot.build(workspace, [as_of])
        assert not batch.run(workspace, as_of, ["lead-conversion"], silent).failures
    keep(workspace, [asked("L0001", EARLIER, propensity="lead-conversion", model_version="1")])
    return workspace


@pytest.fixture
def mine(scored: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(scored.root, tmp_path / "mine", symlinks=True)
    return Workspace.open(tmp_path / "mine")


def test_outcomes_mature_and_are_shown_and_what_is_missing_is_said(mine: Workspace) -> None:
    found = look(mine)
    assert found.failures == {} and sorted(found.watched) == ["churn", "lead-conversion"]
    leads = told(mine, "lead-conversion")
    assert set(leads["roads"]) == {"batch", "http"} and leads["coverage"][0]["waiting"] == 0 < leads["coverage"][1]["waiting"]
    assert leads["matured_until"] == EARLIER.isoformat()
    churn = told(mine, "churn")
    assert churn["coverage"] == [] and churn["newest"] is None and churn["alarms"] != []
    assert churn["status"] == "alarm", "the shop's tables have stopped, and monitoring says so"
    html = (mine.monitor / "lead-conversion.html").read_text()
    assert html.count("<svg") == 3 and "Outcomes of" in html and "cannot be told yet" in html
    index = (mine.monitor / "index.html").read_text()
    assert 'href="churn.html"' in index and "No score has been given yet." in index
    assert not re.search(r'(src|href)="(?!#|churn|lead|index)', index + html), "a page is complete in itself"
    health = read_health(mine, "lead-conversion")
    assert health is not None and health.version == "1" and health.matured_until == EARLIER


def test_looking_again_changes_nothing(mine: Workspace) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for root in (mine.monitor, mine.watch) for path in root.rglob("*") if path.is_file()}

    look(mine)
    before = files()
    look(mine)
    assert files() == before and not any("-04:" in path for path in before)


def test_one_propensity_that_fails_does_not_stop_the_others(mine: Workspace) -> None:
    look(mine)
    stood = read_health(mine, "churn")
    mine.own_propensities.mkdir()
    found = look(mine, "lead-conversion")
    assert found.failures == {} and list(found.watched) == ["lead-conversion"]
    (mine.own_propensities / "churn.toml").write_text(
        'question = "?"\nentity = "customer"\nhorizon = "90d"\n[outcome]\ntable = "cases"\n'
    )
    found = look(mine)
    assert isinstance(found.failures["churn"], PropensityError) and "lead-conversion" in found.watched
    assert told(mine, "churn")["status"] == "unknown" and "could not be looked at" in (mine.monitor / "churn.html").read_text()
    now = read_health(mine, "churn")
    assert stood is not None and now is not None and now.findings == stood.findings, "what was found before stands"


def test_a_failure_of_the_tables_is_told_and_the_rest_is_done(mine: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recipe.incidents, "incidents", failing)
    found = look(mine)
    assert list(found.failures) == ["tables"] and len(found.watched) == 2
    assert "Not looked at" in (mine.monitor / "index.html").read_text()


def test_alarms_are_told_by_one_look_at_a_time(mine: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    held, send = [], recipe.alert.send

    def sending(workspace: Workspace, found: Alarms) -> Alerts:
        with (workspace.watch / ".alarms.json.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
        return send(workspace, found)

    monkeypatch.setattr(recipe.alert, "send", sending)
    look(mine, "churn")
    assert held == [True]


def test_a_look_at_an_earlier_day_leaves_what_a_later_one_found(mine: Workspace) -> None:
    look(mine)
    stood = read_health(mine, "churn")
    monitor(mine, NOW - timedelta(microseconds=1), silent)
    assert stood is not None and read_health(mine, "churn") == stood


def test_what_could_not_be_looked_at_ahead_stands_and_of_another_version_does_not(mine: Workspace) -> None:
    moved = Finding(
        kind="drift", subject="feature", severity="alarm", where="orders_count_90d", propensities=("churn",), sentence="It moved."
    )
    for version, stands in (("1", True), ("0", False)):
        earlier = NOW - DAY
        write_health(mine, Health(propensity="churn", as_of=earlier, version=version, matured_until=None, findings=(moved,)))
        found = monitor(mine, NOW, silent)
        assert found.watched["churn"].ahead.drift is None, "the shop's reports do not say what a version was trained on"
        assert (moved in found.health["churn"].findings) is stands


def test_a_champion_whose_feature_is_declared_no_more_is_still_held_against_outcomes(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise FeatureError("feature 'budget'", expected="a declared feature", received="none of that name", repair="declare it")

    monkeypatch.setattr(recipe, "drift", lost)
    found = look(mine, "lead-conversion")
    assert found.failures == {} and found.watched["lead-conversion"].performance.coverage
    assert any("none of that name" in one.sentence for one in found.health["lead-conversion"].findings)


def test_what_is_wrong_with_a_table_that_no_model_reads_is_shown(mine: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Finding(
        kind="late", subject="data", severity="warning", where="vehicles", propensities=(), sentence="Vehicles are late."
    )
    monkeypatch.setattr(recipe.incidents, "incidents", lambda *_: (alone,))
    assert look(mine).untouched == (alone,) and "Vehicles are late." in (mine.monitor / "index.html").read_text()


def test_where_the_source_of_the_outcome_has_stopped_nobody_counts_as_one_to_whom_it_did_not_happen(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def matured() -> int:
        return sum(week.matured for week in look(mine, "lead-conversion").watched["lead-conversion"].performance.coverage)

    assert matured() > 0
    gone = Finding(
        kind="stopped", subject="data", severity="alarm", where="leads.converted_at", propensities=("lead-conversion",),
        sentence="It brings nothing.", since=EARLIER,
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(recipe.incidents, "incidents", lambda *_: (gone,))
        assert matured() == 0
    assert matured() > 0


def test_without_a_champion_there_is_nothing_to_watch(mine: Workspace) -> None:
    with pytest.raises(RegistryError, match="upsell"):
        look(mine, "upsell")
    with pytest.raises(PropensityError, match="chrun"):
        look(mine, "chrun")


def test_a_question_that_has_changed_is_not_held_against_the_report_of_another(mine: Workspace) -> None:
    found = look(mine)
    assert found.watched["lead-conversion"].performance.promise is None  # the shop's models were registered without a test
    assert "promises nothing" in " ".join(one.sentence for one in found.health["lead-conversion"].findings)


def test_the_command_tells_and_ends_with_a_code(mine: Workspace) -> None:
    run = CliRunner().invoke(main, ["monitor", "--workspace", str(mine.root), "--json"])
    assert run.exit_code == 0, run.output
    assert set(json.loads(run.stdout)["propensities"]) == {"churn", "lead-conversion"}
    told = CliRunner().invoke(main, ["monitor", "--workspace", str(mine.root), "churn", "--fail-on", "alarm"])
    assert told.exit_code == 1 and "churn, version 1: Act" in told.stdout and "No score has been given yet." in told.stdout
    (mine.own_propensities).mkdir()
    (mine.own_propensities / "churn.toml").write_text(
        'question = "?"\nentity = "customer"\nhorizon = "90d"\n[outcome]\ntable = "cases"\n'
    )
    assert CliRunner().invoke(main, ["monitor", "--workspace", str(mine.root)]).exit_code == 1
    assert CliRunner().invoke(main, ["monitor", "--workspace", str(mine.root), "nope"]).exit_code == 2


def test_a_version_with_a_report_is_held_against_it_in_whole_and_in_parts(mine: Workspace, tmp_path: Path) -> None:
    shutil.copyfile(registry.store_uri(mine).removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    address = mine.settings.mlflow.model_copy(update={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    workspace = dataclasses.replace(mine, settings=mine.settings.model_copy(update={"mlflow": address}))
    figures = {"auc": 0.95, "log_loss": 0.2, "brier": 0.1, "calibration_error": 0.01, "lift_at_10pct": 3.0}
    bounds = {f"{name}_{side}": value for name, value in figures.items() for side in ("low", "high")}
    test = {**figures, **bounds, "rows": 5_000, "positives": 1_000, "entities": 5_000, "from": "2018-01-01", "to": "2018-03-01"}
    part = {"attribute": "lead_origin", "value": "web", "auc": {"value": 0.9, "low": 0.8, "high": 0.95}}
    gone = {"attribute": "lead_of_before", "value": "x", "auc": {"value": 0.9, "low": 0.8, "high": 0.95}}
    report = {"gates": [], "horizon": "30d", "test": test, "audit": {"slices": [part, gone]},
              "provenance": {"as_ofs": [EARLIER.isoformat()]}}  # fmt: skip
    model = registry.champion(workspace, "lead-conversion").model
    version = registry.register(workspace, model, dataclasses.replace(PASSED, report=report))
    registry.promote(workspace, "lead-conversion", registry.Signature("anna", NOW), version)
    assert not batch.run(workspace, EARLIER, ["lead-conversion"], silent).failures
    found = look(workspace).watched["lead-conversion"]
    assert found.version == version and found.performance.promise is not None and found.performance.promise.auc == 0.95
    document = told(workspace, "lead-conversion")
    assert document["promise"]["auc"] == 0.95 and document["newest"]["weeks"] == 1 and "profit" not in document["newest"]
    assert {one["kind"] for one in document["findings"] if one["kind"] in ("performance", "calibration", "base_rate")}
    html = (workspace.monitor / "lead-conversion.html").read_text()
    assert "promised 0.950" in html and "By road" in html
    workspace.own_propensities.mkdir()
    (workspace.own_propensities / "lead-conversion.toml").write_text(
        'question = "?"\nentity = "lead"\nhorizon = "7d"\n[outcome]\ntable = "leads"\nat = "converted_at"\n'
    )
    assert look(workspace).watched["lead-conversion"].performance.promise is None, "it promised something else"


def test_before_anything_was_scored_it_says_so(own: Workspace) -> None:
    found = look(own)
    assert found.failures == {} and "No score has been given yet." in (own.monitor / "index.html").read_text()
    assert not (own.watch / "matured").exists() and matured.coverage(own, "churn") == ()


def test_a_later_now_of_the_data_matures_more(mine: Workspace) -> None:
    before = look(mine).watched["lead-conversion"].performance.coverage[1].matured
    catalog = Catalog.load(mine)
    later = catalog.now + timedelta(days=7)
    raw = json.loads((mine.tables / "catalog.json").read_text()) | {"observed_until": later.isoformat()}
    (mine.tables / "catalog.json").write_text(json.dumps(raw))
    after = look(mine).watched["lead-conversion"].performance.coverage[1]
    assert before == 0 < after.matured and after.waiting == 0
