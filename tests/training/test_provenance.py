from __future__ import annotations

import importlib.metadata
import platform

from tests.training.panels import panel
from training import provenance as module
from training import registry
from training.provenance import Provenance, moved, provenance


def test_a_report_says_what_its_version_was_made_from(trained):
    document, _ = registry.report(trained, "churn")
    found = Provenance.model_validate(document["provenance"])
    assert (found.instants[0].isoformat(), found.instants[-1].isoformat()) == (
        document["windows"]["train"]["first"],
        document["windows"]["test"]["last"],
    )
    assert {"entity_id", "as_of", "label", "customer_kind", "orders_count_90d"} <= set(found.columns)
    assert found.versions["lightgbm"] == importlib.metadata.version("lightgbm")
    assert (found.versions["python"], found.machine, len(found.lock)) == (platform.python_version(), platform.machine(), 16)


def test_nothing_has_moved_between_equal_datasets():
    assert moved(provenance(panel(3), 0), provenance(panel(3), 0)) == ()


def test_what_moved_is_named():
    before = provenance(panel(3), 0)
    values = {
        "columns": {**before.columns, "visits": "0", "newcomer": "1"},
        "rows": 7,
        "versions": {**before.versions, "lightgbm": "1.0"},
        "lock": "",
        "machine": "pdp11",
        "sources": "0",
    }
    del values["columns"]["age"]
    lightgbm = before.versions["lightgbm"]
    assert moved(before, before.model_copy(update=values)) == (
        "rows: 900 then, 7 now",
        "column age is gone",
        "column newcomer is new",
        "column visits has other values",
        f"lightgbm: {lightgbm} then, 1.0 now",
        f"requirements.lock: {before.lock} then, none now",
        f"machine: {before.machine} then, pdp11 now",
        f"Foresell's own code: {before.sources} then, 0 now",
    )


def test_every_library_of_a_training_is_named_with_its_version():
    versions = provenance(panel(1), 0).versions
    assert {name: versions[name] for name in ("optuna", "threadpoolctl")} == {
        name: importlib.metadata.version(name) for name in ("optuna", "threadpoolctl")
    }


def test_a_change_of_the_code_has_moved_and_one_of_its_tests_has_not(monkeypatch, tmp_path):
    rooms = (tmp_path / "features", tmp_path / "training")
    for room in rooms:
        (room / "inner").mkdir(parents=True)
        (room / "inner" / "code.py").write_text("1")
    monkeypatch.setattr(module, "ROOMS", rooms)
    before = provenance(panel(1), 0)
    (tmp_path / "tests.py").write_text("1")
    (rooms[0] / "page.html").write_text("1")
    assert moved(before, provenance(panel(1), 0)) == ()
    (rooms[1] / "inner" / "code.py").write_text("2")
    [sentence] = moved(before, provenance(panel(1), 0))
    assert sentence.startswith(f"Foresell's own code: {before.sources} then")
    changed = provenance(panel(1), 0).sources
    (rooms[1] / "inner" / "code.py").rename(rooms[1] / "inner" / "other.py")
    assert provenance(panel(1), 0).sources not in (before.sources, changed)


def test_what_was_kept_without_a_digest_of_the_code_can_still_be_read():
    kept = provenance(panel(1), 0).model_dump(mode="json")
    del kept["sources"]
    [sentence] = moved(Provenance.model_validate(kept), provenance(panel(1), 0))
    assert sentence.startswith("Foresell's own code: not kept then")


def test_the_code_of_this_repository_is_digested():
    assert all(list(room.rglob("*.py")) for room in module.ROOMS)


def test_without_a_lock_file_there_is_no_digest_of_one(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LOCK", tmp_path / "requirements.lock")
    assert provenance(panel(1), 0).lock == ""
