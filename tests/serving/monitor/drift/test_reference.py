"""A reference in a real workspace: made once from the snapshots a version was trained on, and held against nights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.fitted import PASSED, column
from features import propensity, snapshot
from features.cohort import cohort
from features.errors import RegistryError, SnapshotError
from features.settings import SETTINGS_FILE, Workspace
from serving.monitor.drift import look as looks
from serving.monitor.drift import reference
from serving.monitor.drift.drift import drift
from serving.monitor.drift.reference import Reference
from serving.monitor.drift.youth import young
from tests.serving.shop import MODEL_COLUMNS, NOW, fit
from training import registry
from training.model import Model
from training.registry import Registered

DATES = [NOW - timedelta(days=days) for days in (84, 77, 70, 63, 56, 49)]
NAME = "lead-conversion"
Made = tuple[Workspace, Registered, Reference]


def watch(_what: str, _units: int):  # type: ignore[no-untyped-def]
    from contextlib import nullcontext

    return nullcontext(lambda _: None)


def train(workspace: Workspace) -> Registered:
    """A version, and what it was trained on."""
    question = propensity.load(workspace, NAME)
    columns = MODEL_COLUMNS[NAME]
    rows = cohort(workspace, question, DATES)
    frame = snapshot.read(workspace, question.entity, DATES, columns).merge(rows, on=["entity_id", "as_of"])
    labels = (frame["lead_budget"].fillna(0) > 20_000).to_numpy().astype("int8")
    model = fit(question.model_dump(mode="json"), [column(frame[name]) for name in columns], frame, labels)
    told = {"gates": [], "provenance": {"as_ofs": [at.isoformat() for at in DATES]}, "importance": {"lead_budget": 2.0}}
    return register(workspace, model, told)


def register(workspace: Workspace, model: Model, document: dict[str, object]) -> Registered:
    """A version that says of itself what the document says."""
    return registry.load(workspace, NAME, registry.register(workspace, model, replace(PASSED, report=document)))


@pytest.fixture(scope="module")
def made(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A workspace with a version and its reference; tests that use it must not change it."""
    root = tmp_path_factory.mktemp("reference") / "own"
    shutil.copytree(shop.root, root, ignore=shutil.ignore_patterns("mlruns", "scores", "serving"))
    shutil.copyfile(
        registry.store_uri(shop).removeprefix("sqlite:///"), root / "mlflow.db"
    )  # the shop's versions stay as they are
    address = f'[mlflow]\ntracking_uri = "sqlite:///{root}/mlflow.db"\n'
    (root / SETTINGS_FILE).write_text(f'adapter = "canonical"\n{address}[monitor]\nleast_rows = 50\n', encoding="utf-8")
    workspace = Workspace.open(root)
    snapshot.build(workspace, DATES, entities=["lead"])
    version = train(workspace)
    return workspace, version, reference.reference(workspace, version, watch)


@pytest.fixture
def trained(made: Made, tmp_path: Path) -> tuple[Workspace, Registered]:
    """The same in a copy that a test may change, before anybody looked: its snapshots are there, its reference is not."""
    workspace, version, _ = made
    shutil.copytree(workspace.root, tmp_path / "own", ignore=shutil.ignore_patterns("monitor"))
    return Workspace.open(tmp_path / "own"), version


def test_a_reference_is_made_once_and_the_same_each_time(trained: tuple[Workspace, Registered]) -> None:
    workspace, version = trained
    made = reference.reference(workspace, version, watch)
    path = reference.place(workspace, NAME, version.version)
    first, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert reference.reference(workspace, version, watch) == made
    assert path.stat().st_mtime_ns == stamp
    path.unlink()
    reference.reference(workspace, version, watch)
    assert path.read_bytes() == first


def test_it_counts_the_eligible_at_each_date_and_on_six_more_days(made: Made) -> None:
    workspace, version, found = made
    assert list(found.dates) == DATES
    assert list(found.further) == [DATES[-1] + timedelta(days=number) for number in range(1, 7)]
    sizes = cohort(workspace, version.model.propensity, DATES).groupby("as_of").size().tolist()
    assert list(found.rows[:6]) == sizes
    for counted in found.features.values():
        assert [sum(row) for row in counted.counts] == list(found.rows)
    assert found.importance["lead_budget"] == max(found.importance.values())
    assert sum(found.importance.values()) == pytest.approx(1)
    assert set(found.base_rate) <= set(DATES)
    assert all(0 <= rate <= 1 for rate in found.base_rate.values())
    assert all(0.5 <= auc <= 1 for auc in found.aucs)


def test_features_whose_window_is_longer_than_their_history_are_named(made: Made) -> None:
    """Interactions begin 60 days before now, the newest reference date is 49 days before it."""
    workspace, _, found = made
    assert set(found.young) == {"interactions_count_30d", "interactions_days_since_last", "channel_latest"}
    names = ["interactions_count_30d", "interactions_days_since_last", "lead_age_days"]
    assert young(workspace, "lead", names, NOW) == ("interactions_days_since_last",)


def test_a_spoilt_file_or_one_of_another_model_is_made_anew(trained: tuple[Workspace, Registered]) -> None:
    workspace, version = trained
    made = reference.reference(workspace, version, watch)
    path = reference.place(workspace, NAME, version.version)
    path.write_text("{", encoding="utf-8")
    assert reference.reference(workspace, version, watch) == made
    path.write_text(made.model_copy(update={"fingerprint": "other"}).model_dump_json(), encoding="utf-8")
    assert reference.reference(workspace, version, watch) == made


def test_a_night_is_judged_kept_and_told_as_json(trained: tuple[Workspace, Registered]) -> None:
    workspace, version = trained
    found = drift(workspace, version, NOW, watch)
    assert found.is_enough
    assert len(found.probability) == found.rows == len(cohort(workspace, version.model.propensity, [NOW]))
    told = json.loads(json.dumps(found.document(), allow_nan=False))
    assert {one["name"] for one in told["features"]} == set(version.model.columns)
    kept = looks.kept(workspace, reference.reference(workspace, version, watch))
    assert [one.as_of for one in kept] == [NOW]
    assert drift(workspace, version, NOW, watch).document() == found.document()


def test_what_is_found_is_followed_back_through_nights_nobody_looked_at(trained: tuple[Workspace, Registered]) -> None:
    """Every lead came from a source that the model does not know; only a night ago it did not."""
    workspace, version = trained
    strange = version.model.contract.features[1]
    assert strange.name == "lead_origin"
    made = reference.reference(workspace, version, watch)
    nights = [NOW - timedelta(days=number) for number in (3, 2, 1)]
    snapshot.build(workspace, nights, entities=["lead"])
    counted = made.features["lead_origin"]
    none = {"counts": tuple((*(sum(row) if place == 0 else 0 for place in range(len(row))),) for row in counted.counts)}
    path: Path = reference.place(workspace, NAME, version.version)
    other = made.model_copy(update={"features": {**made.features, "lead_origin": counted.model_copy(update=none)}})
    path.write_text(other.model_dump_json(), encoding="utf-8")
    found = {one.where: one for one in drift(workspace, version, NOW, watch).findings}
    assert found["lead_origin"].since == nights[0]
    kept = looks.kept(workspace, other)
    assert {NOW, *nights} <= {one.as_of for one in kept}


def test_a_version_that_does_not_tell_its_dates_is_refused_with_the_repair(trained: tuple[Workspace, Registered]) -> None:
    workspace, version = trained
    with pytest.raises(RegistryError, match="the dates it was trained on"):
        reference.reference(workspace, register(workspace, version.model, {"gates": []}), watch)


def test_dates_at_which_nobody_is_eligible_any_more_are_refused_with_the_repair(trained: tuple[Workspace, Registered]) -> None:
    workspace, version = trained
    told = {"gates": [], "provenance": {"as_ofs": [(NOW - timedelta(days=5000)).isoformat()]}}
    with pytest.raises(SnapshotError, match="nobody at 1 dates"):
        reference.reference(workspace, register(workspace, version.model, told), watch)
