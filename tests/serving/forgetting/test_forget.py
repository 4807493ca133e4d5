"""A person is forgotten in every place; whose id begins with theirs, and everybody else, stays as they were."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from features import snapshot
from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person
from features.settings import Workspace
from foresell import main
from serving import latest
from serving.ledger import Entry
from serving.ledger.address import Address
from serving.partition import RECEIPT, digest, joint, parts
from serving.reader import Ask
from tests.serving.forgetting.conftest import CALL, CUSTOMER, LEAD, LONGER, Nights, fill, office, webhook
from tests.serving.ledger.conftest import schema
from tests.serving.nightly.test_job import night
from tests.serving.shop import NOW

AS_HTML = "C-Zoë/7&#x27;x"


@pytest.fixture(scope="module")
def made(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return fill(nights, tmp_path_factory.mktemp("filled") / "night")


@pytest.fixture
def filled(made: Workspace, tmp_path: Path) -> Workspace:
    return copy(made, tmp_path / "night")


def copy(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace.open(root)


def run(workspace: Workspace, *words: str) -> Any:
    return CliRunner().invoke(main, ["forget", *words, "--workspace", str(workspace.root)])


def forgotten(workspace: Workspace) -> dict[str, Any]:
    done = run(workspace, CUSTOMER, "--linked", "--yes", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def found(root: Path) -> set[str]:
    """The files, but those of the export, in which an id of the person stands; written apart from the command's own search."""
    hits = set()
    for path in root.rglob("*"):
        if path.is_file() and "export" not in path.relative_to(root).parts[:1]:
            text = str(pq.ParquetFile(path).read().to_pylist()) if path.suffix == ".parquet" else ""
            raw = path.read_bytes().decode("utf-8", "replace") + text
            plain = raw.replace("\\u00eb", "ë").replace("\\'", "'").replace(AS_HTML, CUSTOMER).replace(LONGER, "")
            if CUSTOMER in plain or LEAD in plain:
                hits.add(re.sub(r"[0-9a-f]{16}|\d{8}T\d{12}Z", "*", str(path.relative_to(root))))
    return hits


def others(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Every row of scores, latest and what was handed over that is about somebody else."""
    roots = [workspace.scores, workspace.latest, workspace.root / "handed"]
    files = sorted(path for root in roots for path in root.rglob("*.parquet"))
    return {
        str(path): [row for row in pq.ParquetFile(path).read().to_pylist() if row["entity_id"] not in (CUSTOMER, LEAD)]
        for path in files
    }


def test_nothing_is_left_of_them_and_everybody_else_stays_as_they_were(filled: Workspace) -> None:
    before, places = others(filled), found(filled.root)
    for expected in ("data/serving/ledger.db", "data/store/online.db", "data/quality/example.json", "data/serve.log",
                     "data/write_back/files/rejected.jsonl", "monitor/churn.html", "data/tables/*/orders.parquet",
                     "data/snapshots/customer/customer_orders/*.parquet", "latest/propensity=churn/part-0.parquet"):  # fmt: skip
        assert expected in places, places
    assert any(place.startswith("handed/lists/churn") for place in places)
    done = forgotten(filled)
    assert found(filled.root) == set() and done["left"] == []
    assert others(filled) == before
    assert {place["kind"] for place in done["places"]} == {"table", "snapshot", "online store", "scores", "ledger", "file"}
    assert (filled.root / "data" / "serve.log").read_text(encoding="utf-8") == "one\nthree\n"
    assert LONGER in (filled.root / "data" / "write_back" / "files" / "rejected.jsonl").read_text(encoding="utf-8")
    assert (filled.monitor / "other.html").is_file() and not list((filled.root / "data" / "forgotten").glob("pending-*"))
    with closing(sqlite3.connect(str(Address.of(filled).path))) as connection:
        for table in ("latest", "served", "shadow", "outbox", "written"):
            kept = connection.execute(f"select count(*) from {table} where entity_id = ?", [LONGER]).fetchone()[0]
            assert kept, table


def test_receipts_agree_with_their_files_and_the_next_night_ends_well_without_them(filled: Workspace) -> None:
    forgotten(filled)
    for folder in [*filled.scores.glob("*/*"), *filled.latest.glob("*")]:
        told = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        size = sum(pq.read_metadata(path).num_rows for path in parts(folder))
        assert told["sha256"] == joint([digest(path) for path in parts(folder)]) and told["rows"] == size
    assert latest.is_published(filled, "churn")
    shutil.rmtree(filled.nightly / "2018-05-15")
    assert set(night(filled).failures) <= {"write-back files"}  # which still rejects somebody else
    assert found(filled.root) == set()
    rows = {row["entity_id"] for row in pq.read_table(filled.latest / "propensity=churn" / "part-0.parquet").to_pylist()}
    assert LONGER in rows and len(rows) > 100


def test_the_same_export_brings_nobody_back_also_at_older_instants(filled: Workspace) -> None:
    forgotten(filled)
    done = CliRunner().invoke(main, ["ingest", "--workspace", str(filled.root)])
    assert done.exit_code == 0 and "forgotten" in done.output, done.output
    snapshot.build(filled, [NOW.replace(month=4)])
    assert found(filled.root) == set()


def test_a_service_that_runs_gives_no_score_and_keeps_nothing(filled: Workspace) -> None:
    with office(filled) as opened:
        forgotten(filled)
        ((gone, other),) = opened.answer(["churn"], [Ask(CUSTOMER, {}, may_be_new=True), Ask(LONGER)], NOW, CALL)
        assert gone.score.score is None and "forgotten" in (gone.score.why or "") and other.score.entity_id == LONGER
        assert opened.stored("customer", CUSTOMER, NOW, CALL) == [] and opened.stored("customer", LONGER, NOW, CALL)
        assert opened.receive("crm", "again", None, webhook(CUSTOMER), NOW).received == ()
        assert opened.receive("crm", "other", None, webhook(LONGER), NOW).received
    assert found(filled.root) == set()


@pytest.mark.parametrize("propensity", ["churn", "received"])
def test_what_waits_to_be_kept_about_them_is_not(filled: Workspace, propensity: str) -> None:
    with office(filled) as opened:
        Forgotten(filled).add(Person.of([("customer", CUSTOMER)]))
        before = {one: len(opened.archive.ledger.audit(entity_id=one)) for one in (CUSTOMER, LONGER, LEAD)}
        opened.archive.recorder.put([Entry(NOW, "r", None, "http", propensity, one, "1", 0.5) for one in before])
        assert opened.archive.recorder.flush(10)
        after = {one: len(opened.archive.ledger.audit(entity_id=one)) for one in before}
    assert after == {CUSTOMER: before[CUSTOMER], LONGER: before[LONGER] + 1, LEAD: before[LEAD] + 1}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 4, 9, 16, 24])
def test_who_is_killed_anywhere_runs_it_again(filled: Workspace, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    replace, left = Path.replace, [after]

    def killed(self: Path, target: Any) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "replace", killed)
        run(filled, CUSTOMER, "--linked", "--yes")
    forgotten(filled)
    assert found(filled.root) == set()
    for folder in filled.scores.glob("*/*"):
        told = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        assert told["sha256"] == joint([digest(path) for path in parts(folder)])


def test_what_is_asked_wrongly_changes_nothing(filled: Workspace) -> None:
    linked = run(filled, CUSTOMER, "--yes")
    assert linked.exit_code == 2 and "--linked" in linked.stderr
    nowhere = run(filled, "C-Zoe", "--yes")
    assert nowhere.exit_code == 2 and "--anyway" in nowhere.stderr and CUSTOMER not in nowhere.output
    assert run(filled, CUSTOMER, "--linked", "--json").exit_code == 2
    dry = run(filled, CUSTOMER, "--linked", "--dry-run", "--json")
    assert dry.exit_code == 0 and json.loads(dry.stdout)["places"]
    assert not (filled.root / "data" / "forgotten").exists()


def test_an_id_that_is_nowhere_can_be_kept_out_for_good(filled: Workspace) -> None:
    assert run(filled, "C9999", "--anyway", "--yes").exit_code == 0
    assert run(filled, "C9999", "--yes").exit_code == 0
    kept = (filled.root / "data" / "forgotten" / "forgotten.json").read_text(encoding="utf-8")
    assert "C9999" not in kept


def test_forgetting_one_id_alone_leaves_the_lead_that_was_linked(filled: Workspace) -> None:
    assert run(filled, CUSTOMER, "--alone", "--yes").exit_code == 0
    (leads,) = filled.tables.glob("*/leads.parquet")
    (row,) = [row for row in pq.read_table(leads).to_pylist() if row["lead_id"] == LEAD]
    assert row["customer_id"] is None


@pytest.mark.redis
@pytest.mark.postgres
def test_it_goes_from_redis_and_postgresql(nights: Nights, tmp_path: Path) -> None:
    import psycopg
    import redis

    with schema() as address, closing(redis.Redis()) as online:
        project = f"forget{uuid4().hex}"
        workspace = fill(nights, tmp_path / "night", address, project, store='online = "redis://127.0.0.1:6379"')
        try:
            ids = (CUSTOMER.encode(), LEAD.encode())
            assert sum(key.removesuffix(project.encode()).endswith(ids) for key in online.scan_iter(f"*{project}")) == 2
            forgotten(workspace)
            assert not any(key.removesuffix(project.encode()).endswith(ids) for key in online.scan_iter(f"*{project}"))
            assert found(workspace.root) == set()
            with psycopg.connect(address) as connection:
                for table in ("latest", "served", "shadow", "inbox", "outbox", "written"):
                    query = f"select count(*) from {table} where entity_id in (%s, %s)"
                    assert connection.execute(query, [CUSTOMER, LEAD]).fetchone() == (0,)
        finally:
            for key in online.scan_iter(f"*{project}"):
                online.delete(key)
