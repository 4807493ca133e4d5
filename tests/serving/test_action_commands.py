"""`foresell actions` as it is typed: what was done, and a file of what a CRM did that cannot call."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from features.console import Group
from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person
from features.operation import PolicySettings
from features.settings import SETTINGS_FILE, Workspace
from serving.action import SKEW, Diary, Told, derived
from serving.commands.actions import actions
from serving.flaw import Flaw
from serving.ledger import Action, Ledger
from serving.policy import share
from tests.serving.ledger.entries import NOW

FREE, OTHER, *_ = (f"C{i}" for i in range(100) if share(f"holdout:customer:C{i}") >= 0.2)
HELD = next(f"C{i}" for i in range(100) if share(f"holdout:customer:C{i}") < 0.2)
MICROSECOND = timedelta(microseconds=1)


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(Group(commands=[actions]), ["actions", "--workspace", str(root), *words], env={"COLUMNS": "250"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / SETTINGS_FILE).write_text("[serving]\nledger_deadline_ms = 5000\n[policy]\nholdout = 0.2\n")
    return tmp_path


def written(root: Path, text: str, name: str = "calls.csv", encoding: str = "utf-8") -> str:
    (root / name).write_text(text, encoding=encoding)
    return str(root / name)


def kept(root: Path) -> dict[str, Action]:
    with closing(Ledger.open(Workspace.open(root))) as ledger:
        return {one.id: one for one in ledger.actions()}


GOOD = f"""propensity,entity_id,kind,id,at,outcome
churn,{FREE},call,task:1,2018-05-15T09:30:00,reached
churn,{HELD},call,task:2,2018-05-15,
upsell,{OTHER},email,,2018-05-15T11:30:00+02:00,
"""


def test_a_file_is_kept_once_however_often_it_is_imported(root: Path) -> None:
    first, again = run(root, "--import", written(root, GOOD)), run(root, "--import", str(root / "calls.csv"), "--json")
    assert first.exit_code == 0 and "3 actions kept, 0 were known, 0 rows are wrong; 1 are about" in first.stderr
    assert json.loads(again.stdout) == {"kept": 0, "known": 3, "held_out": 1, "flaws": []}
    found = kept(root)
    at = datetime(2018, 5, 15, 9, 30, tzinfo=UTC)
    assert set(found) == {"task:1", "task:2", derived("upsell", OTHER, at, "email")}
    assert (found["task:1"].at, found["task:1"].outcome, found["task:1"].caller) == (at, "reached", None)
    assert found["task:2"].at == datetime(2018, 5, 15, tzinfo=UTC) and found["task:2"].held_out


def test_a_row_that_comes_again_a_thousand_rows_later_is_counted_once(root: Path) -> None:
    rows = [f"churn,C{i % 1_500},call,task:{i % 1_500}\n" for i in range(1_501)]
    told = run(root, "--import", written(root, "propensity,entity_id,kind,id\n" + "".join(rows)), "--json").stdout
    assert len(kept(root)) == json.loads(told)["kept"] == 1_500 and json.loads(told)["known"] == 1


def test_a_row_that_is_wrong_is_named_by_its_line_and_loses_no_other(root: Path) -> None:
    lines = [
        "propensity,entity_id,kind,id,at", "churn,C1,call,a,", "chrun,C2,call,b,", "churn,C3,called Ana,c,", ",C4,call,d,", "",
        'churn,"C\n5",call,e,2999-01-01', "churn,C6,call,f,soon", "churn,C7,call,,", "churn,C8,call,g,,more", "churn,C9,visit,a,",
        "churn,C10,call,h,",
    ]  # fmt: skip
    result = run(root, "--import", written(root, "\n".join(lines)), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and set(kept(root)) == {"a", "h"} and told["kept"] == 2
    wheres = [flaw["where"] for flaw in told["flaws"]]
    named = ["3.propensity", "4.kind", "5.propensity", "8.at", "9.at", "10", "11", "12.id"]
    assert wheres == [f"line {name}" for name in named]
    assert "did you mean `churn`?" in told["flaws"][0]["repair"]
    words = run(root, "--import", str(root / "calls.csv"))
    assert "line 3.propensity: expected one of churn" in words.stderr and words.exit_code == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("calls.csv", "propensity,entity_id,knd,id\n", "did you mean `kind`?"),
        ("calls.csv", "propensity,entity_id,kind\n", "no `at`"),
        ("calls.csv", "propensity,kind,at\n", "no `entity_id`"),
        ("calls.csv", "", "no `propensity`"),
        ("calls.xlsx", "x", "by its ending"),
        ("calls.parquet", "no parquet", "received"),
        ("calls.csv", "propensity,entity_id,kind,at,name\n", "leave it out"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(root: Path, name: str, text: str, told: str) -> None:
    result = run(root, "--import", written(root, text, name))
    assert result.exit_code == 1 and told in result.stderr and "Traceback" not in result.stderr and kept(root) == {}


def test_a_file_in_another_encoding_or_that_is_not_there_is_refused(root: Path) -> None:
    text = "propensity,entity_id,kind,at\nchurn,Müller,call,2018-05-15\n"
    assert run(root, "--import", written(root, text, encoding="latin-1")).exit_code == 1
    assert "not there" in run(root, "--import", str(root / "none.csv")).stderr
    assert run(root, "--import", written(root, text, encoding="utf-8-sig")).exit_code == 0


def test_parquet_brings_instants_days_and_numbered_records(root: Path) -> None:
    columns: dict[str, Any] = {
        "propensity": ["churn"] * 3, "entity_id": pa.array([7, 8, 9], pa.int64()), "kind": ["call", None, "call"],
        "at": pa.array([NOW, NOW, None], pa.timestamp("us", tz="UTC")), "id": pa.array([17, 18, 19], pa.int32()),
    }  # fmt: skip
    pq.write_table(pa.table(columns), root / "calls.parquet")
    told = json.loads(run(root, "--import", str(root / "calls.parquet"), "--json").stdout)
    assert told["kept"] == 2 and [flaw["where"] for flaw in told["flaws"]] == ["row 2.kind"]
    assert kept(root)["17"].at == NOW and kept(root)["17"].entity_id == "7"
    day = {**columns, "at": pa.array([date(2018, 5, 15)] * 3), "kind": ["visit"] * 3, "id": ["a", "b", "c"]}
    pq.write_table(pa.table(day), root / "visits.parquet")
    assert run(root, "--import", str(root / "visits.parquet")).exit_code == 0
    assert kept(root)["a"].at == datetime(2018, 5, 15, tzinfo=UTC)


def test_more_rows_than_go_at_once_are_kept_and_what_is_listed_is_counted_whole(root: Path) -> None:
    rows = "".join(f"churn,C{i},call,task:{i},2018-05-{15 + i % 2}\n" for i in range(2_500))
    assert run(root, "--import", written(root, f"propensity,entity_id,kind,id,at\n{rows}")).exit_code == 0
    told = json.loads(run(root, "--json", "--since", "2018-05-16", "--limit", "3").stdout)
    assert [one["propensity"] for one in told["actions"]] == ["churn"] * 3
    assert sum(one["actions"] for one in told["counts"]) == 1_250 and {one["held_out"] for one in told["counts"]} == {True, False}
    words = run(root, "--entity-id", "C1")
    assert "C1" in words.stdout and "file" in words.stdout and "1 actions in all, " in words.stderr
    assert "nothing of the kind" in run(root, "--propensity", "upsell").stderr


def test_of_somebody_who_was_forgotten_nothing_is_kept(root: Path) -> None:
    Forgotten(Workspace.open(root)).add(Person.of([("customer", FREE)]))
    told = json.loads(run(root, "--import", written(root, GOOD), "--json").stdout)
    assert set(told["flaws"][0].values()) >= {"line 2.entity_id", "somebody who was forgotten"} and len(told["flaws"]) == 1
    assert {one.entity_id for one in kept(root).values()} == {HELD, OTHER}


def test_what_lies_in_the_future_is_refused_beyond_the_skew_of_a_clock(root: Path) -> None:
    diary = Diary({"churn": "customer"}, PolicySettings(), Forgotten(Workspace.open(root)))

    def said(at: datetime | None) -> Action | Flaw:
        return diary.action(Told("churn", "C1", "call", "a", at), "line 2", NOW, "r", None)

    assert isinstance(said(NOW + SKEW), Action) and isinstance(said(NOW + SKEW + MICROSECOND), Flaw)
    now = said(None)
    assert isinstance(now, Action) and now.at == NOW


@given(
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5), st.datetimes(), st.text(max_size=5)), unique=True, max_size=8)
)
def test_a_derived_id_is_that_of_one_action(several: list[tuple[str, str, datetime, str]]) -> None:
    assert len({derived(name, who, at, kind) for name, who, at, kind in several}) == len(several)


def test_a_derived_id_is_the_same_in_every_release() -> None:
    assert derived("churn", "C1", NOW, "call") == "2238fc3bf43c43e1627867010a1c3eff"


def test_an_action_about_somebody_forgotten_is_wrong_and_loses_no_other(root: Path) -> None:
    Forgotten(Workspace.open(root)).add(Person.of([("customer", FREE)]))
    told = run(root, "--import", written(root, GOOD), "--json")
    (flaw,) = json.loads(told.stdout)["flaws"]
    assert told.exit_code == 1 and flaw["where"] == "line 2.entity_id" and FREE not in told.stdout
    assert {one.entity_id for one in kept(root).values()} == {HELD, OTHER}
