"""A table of SQLite and of a real PostgreSQL holds what there is to know now, and says no in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from features.errors import WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from serving.http.address import free_port
from tests.servers import POSTGRES, database
from tests.serving.connectors.worlds import DAY, FIRST, Time, night, open_workspace, run, score


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'crm.db'}"
    else:
        with database("foresell_sql") as name:
            yield f"{POSTGRES}/{name}"


def execute(address: str, statement: str) -> list[Any]:
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            done = connection.execute(text(statement))
            return [tuple(row) for row in done] if done.returns_rows else []
    finally:
        engine.dispose()


def open_target(root: Path, address: str, **target: object) -> Workspace:
    return open_workspace(root, to="sql", database=address, **target)


def test_a_table_is_made_filled_and_kept_current(address: str, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, address)
    night(workspace, {f"{number:04d}": 1 + number % 99 for number in range(2_500)} | {"z": 50})
    assert run(workspace).sent == 2_501
    night(workspace, {f"{number:04d}": 1 + number % 99 for number in range(2_500)} | {"0000": 80}, FIRST + DAY)
    assert run(workspace).sent == 2
    query = "select entity_id, score, probability, grade, state from foresell_scores where entity_id in ('0000', 'z') order by 1"
    assert execute(address, query) == [("0000", 80, 0.8, "A", "scored"), ("z", None, None, None, "gone")]
    assert execute(address, "select count(*) from foresell_scores") == [(2_501,)]
    assert reconcile(workspace, "crm", 50).differences == []


def test_a_table_of_ones_own_with_other_names(address: str, tmp_path: Path) -> None:
    execute(
        address,
        "create table mine (entity text, entity_id text, propensity text, points integer, p double precision, extra text, "
        "primary key (entity, entity_id, propensity))",
    )
    execute(address, "insert into mine values ('customer', 'a', 'churn', 1, 0.1, 'kept')")
    workspace = open_target(tmp_path, address, table="mine", fields={"points": "score", "p": "probability"})
    night(workspace, {"a": 42})
    assert run(workspace).is_complete
    assert execute(address, "select points, p, extra from mine") == [(42, 0.42, "kept")]


def test_one_record_that_the_table_refuses_holds_up_no_other(address: str, tmp_path: Path) -> None:
    execute(
        address,
        "create table foresell_scores (entity text, entity_id text, propensity text, score integer check (score <> 13), "
        "primary key (entity, entity_id, propensity))",
    )
    workspace = open_target(tmp_path, address, fields={"score": "score"})
    night(workspace, {f"{number:02d}": number for number in range(1, 31)})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.stopped) == (29, 1, None)
    assert outcome.rejections[0][:2] == ("churn", "13") and "constraint" in outcome.rejections[0][2].lower()
    assert execute(address, "select count(*) from foresell_scores") == [(29,)]


def test_a_column_that_is_not_there_stops_the_run_and_blames_no_record(address: str, tmp_path: Path) -> None:
    execute(
        address,
        "create table foresell_scores (entity text, entity_id text, propensity text, "
        "primary key (entity, entity_id, propensity))",
    )
    workspace = open_target(tmp_path, address)
    night(workspace, {"a": 10, "b": 20})
    outcome = run(workspace)
    assert outcome.stopped and (outcome.rejected, outcome.waiting) == (0, 2)
    execute(address, "drop table foresell_scores")
    assert run(workspace).sent == 2


def test_what_is_no_number_never_reaches_the_table(address: str, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, address)
    bad = {"nan": float("nan"), "inf": float("inf"), "low": -0.1}
    made = {name: score(name, 50, probability=value) for name, value in bad.items()}
    night(workspace, {**made, "value": score("value", 50, expected_value=float("inf")), "points": score("points", 101), "ok": 50})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected) == (1, 5)
    assert execute(address, "select entity_id from foresell_scores") == [("ok",)]
    assert run(workspace).changed == 0


@pytest.mark.postgres
def test_a_database_that_is_down_is_tried_again_and_its_password_is_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_PASSWORD", "sesame/@:")
    address = f"postgresql://me:${{CRM_PASSWORD}}@127.0.0.1:{free_port('127.0.0.1')}/crm"
    workspace = open_target(tmp_path, address)
    night(workspace, {"a": 10})
    time = Time()
    outcome = run(workspace, time)
    assert outcome.waiting == 1 and time.slept == [1, 2]
    shown = repr(run(workspace, dry_run=True).as_dict()) + repr(outcome.as_dict())
    assert "sesame" not in shown and "me:***@127.0.0.1" in shown


@pytest.mark.parametrize(
    ("told", "received"),
    [
        ("mysql://host/db", "something else"),
        ("no address", "something else"),
        ("postgresql://me:sesame@host/db", "password itself"),
        ("postgresql://me:${FORESELL_ABSENT}@host/db", "not set"),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(told: str, received: str, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, told)
    night(workspace, {"a": 10})
    with pytest.raises(WorkspaceError, match=received) as error:
        run(workspace)
    assert "sesame" not in str(error.value)
