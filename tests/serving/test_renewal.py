"""A night that follows another leaves what it would leave alone, to the byte, and makes anew only what has changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import duckdb
import pyarrow as pa
import pytest

from features import store, stream
from features.catalog import Catalog
from features.errors import StoreError
from features.settings import PolicySettings, Workspace
from serving import batch, earlier
from serving import last_scores as last_scores_of
from serving.columns import ColumnScorer
from serving.earlier import Inputs, digests
from serving.earlier import alone as one_run
from serving.ledger import Ledger
from serving.partition import PART, folder
from tests.serving.nightly.state import last_scores
from tests.serving.shop import NOW, crown
from tests.serving.test_batch import bytes_of, quiet

NAME = "churn"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ROWS_PER_CHUNK", 64)
    monkeypatch.setattr(earlier, "ROWS_PER_READ", 50)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose scores were made."""
    made: list[str] = []
    whole = ColumnScorer.scored

    def counted(self: ColumnScorer, chunk: pa.RecordBatch, at: datetime) -> Any:
        made.extend(chunk["entity_id"].to_pylist())
        return whole(self, chunk, at)

    monkeypatch.setattr(ColumnScorer, "scored", counted)
    return made


def night(workspace: Workspace, as_of: datetime = NOW) -> int:
    """Rows of the partition."""
    ended = batch.run(workspace, as_of, [NAME], quiet)
    assert not ended.failures
    return ended.receipts[0].rows


def alone(workspace: Workspace, place: Path, as_of: datetime = NOW) -> Any:
    """What a night leaves in a workspace in which none was before."""
    shutil.copytree(workspace.root, place, ignore=shutil.ignore_patterns("scores", "serving", "scored", "latest"))
    other = Workspace(place, workspace.settings)
    night(other, as_of)
    return bytes_of(other), last_scores(other) if other.serving.exists() else []


def corrected(workspace: Workspace, *changes: str, table: str = "subscriptions") -> None:
    """Late data: rows of a table are others than they were."""
    catalog = Catalog.load(workspace)
    path = catalog.path(workspace, table)
    with duckdb.connect() as connection:
        connection.execute(f"create table changed as select * replace ({', '.join(changes)}) from '{path}'")
        connection.execute(f"copy changed to '{path}' (format parquet)")
    Catalog(**{**vars(catalog), "version": f"{catalog.version}+"}).save(workspace)


def test_the_same_night_again_makes_nothing_anew(own: Workspace, scored: list[str]) -> None:
    rows = night(own)
    before = bytes_of(own), last_scores(own)
    assert len(scored) == rows == 284
    scored.clear()
    assert night(own) == rows and scored == [] and (bytes_of(own), last_scores(own)) == before


def test_after_late_data_only_what_changed_is_made_anew(own: Workspace, scored: list[str], tmp_path: Path) -> None:
    night(own)
    first, *others = scored
    changed, back = others[70], "C0000"
    assert back not in scored
    ended = f"case customer_id when '{first}' then timestamp '2018-05-14' when '{back}' then null else ended_at end"
    corrected(own, f"if(customer_id = '{changed}', 'never seen', tier) as tier", f"{ended} as ended_at")
    scored.clear()
    night(own)
    assert set(scored) == {changed, back, first}  # the first to be told that it is eligible no more
    assert (bytes_of(own), _but(last_scores(own), first)) == alone(own, tmp_path / "alone")
    with closing(Ledger.open(own)) as ledger:
        assert ledger.latest(NAME, [first])[first].probability is None


def _but(rows: list[Any], entity_id: str) -> list[Any]:
    """Without somebody who was scored in the night before, and of whom a night alone knows nothing."""
    return [row for row in rows if row[1] != entity_id]


@pytest.mark.parametrize("days", [1, -1])
def test_the_next_night_and_an_older_one_leave_what_they_would_alone(own: Workspace, tmp_path: Path, days: int) -> None:
    as_ofs = [NOW - timedelta(days=1), NOW][::days]
    for as_of in as_ofs:
        night(own, as_of)
    files, kept = alone(own, tmp_path / "alone", as_ofs[1])
    assert files.items() <= bytes_of(own).items()
    assert last_scores(own) == kept or days == -1


def test_another_policy_model_or_kind_of_night_makes_everything_anew(own: Workspace, scored: list[str], tmp_path: Path) -> None:
    rows = night(own)
    held = own.settings.model_copy(update={"policy": PolicySettings(holdout=0.3)})
    bare = own.settings.model_copy(update={"nightly": own.settings.nightly.model_copy(update={"reasons": False})})
    for number, settings in enumerate((held, bare, own.settings)):
        other = Workspace(own.root, settings)
        scored.clear()
        assert night(other) == rows == len(scored)
        assert bytes_of(other) == alone(other, tmp_path / str(number))[0]


def test_another_champion_makes_everything_anew(own: Workspace, scored: list[str], tmp_path: Path) -> None:
    shutil.copytree(own.root, tmp_path / "mine")
    (tmp_path / "mine" / "foresell.toml").write_text('adapter = "canonical"\n', encoding="utf-8")
    mine = Workspace.open(tmp_path / "mine")
    store.apply(mine)
    for seed in (5, 6):
        crown(mine, NAME, seed)
        scored.clear()
        assert night(mine) == len(scored)


@pytest.mark.parametrize("other", ["foresell", "lightgbm", "numpy"])
def test_another_release_makes_everything_anew(
    own: Workspace, scored: list[str], monkeypatch: pytest.MonkeyPatch, other: str
) -> None:  # fmt: skip
    rows = night(own)
    scored.clear()
    monkeypatch.setattr(earlier, "version", lambda name: f"{version(name)}{'.post1' if name == other else ''}")
    assert night(own) == rows == len(scored)


@pytest.mark.parametrize("damaged", ["partition", "inputs", "cut inputs", "no partition"])
def test_a_partition_that_is_not_what_it_was_is_made_anew(own: Workspace, scored: list[str], damaged: str) -> None:
    rows = night(own)
    before = bytes_of(own)
    (inputs,) = (own.root / "data" / "scored" / NAME).iterdir()
    if damaged == "inputs":
        inputs.rename(inputs.with_name(inputs.name[:-1] + "x"))
    elif damaged == "cut inputs":
        os.truncate(inputs, inputs.stat().st_size - 8)
    else:
        target = folder(own, NAME, NOW) / PART
        target.write_bytes(b"PAR1") if damaged == "partition" else target.unlink()
    scored.clear()
    assert night(own) == len(scored) == rows and bytes_of(own) == before


def test_a_ledger_that_lost_its_scores_gets_them_again(own: Workspace, scored: list[str]) -> None:
    rows = night(own)
    before = bytes_of(own), last_scores(own)
    for path in own.serving.glob("ledger.db*"):
        path.unlink()
    scored.clear()
    night(own)
    assert len(scored) == rows and (bytes_of(own), last_scores(own)) == before


class Away(StoreError):
    def __init__(self, *args: object) -> None:
        super().__init__("the ledger", expected="an answer", received="none", repair="wait")


def test_what_the_ledger_did_not_take_is_made_anew(
    own: Workspace, scored: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    night(own)
    corrected(own, f"if(customer_id = '{scored[70]}', 'never seen', tier) as tier")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep_latest", Mock(side_effect=Away))
        assert list(batch.run(own, NOW, [NAME], quiet).failures) == [NAME]
    night(own)
    assert (bytes_of(own), last_scores(own)) == alone(own, tmp_path / "alone")


def test_a_night_that_broke_off_leaves_nothing_to_carry_over(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    night(own)
    before = bytes_of(own), last_scores(own)
    held = Workspace(own.root, own.settings.model_copy(update={"policy": PolicySettings(holdout=0.3)}))
    with monkeypatch.context() as patch:
        patch.setattr(batch, "publish", lambda target, scores, facts: broken_off(scores))
        assert list(batch.run(held, NOW, [NAME], quiet).failures) == [NAME]
    assert bytes_of(own) == before[0] and last_scores(own) != before[1]
    night(own)
    assert (bytes_of(own), last_scores(own)) == before


def test_an_answer_given_since_stays_unless_the_night_has_another(own: Workspace, scored: list[str]) -> None:
    night(own)
    changed, same = scored[70:72]
    with closing(Ledger.open(own)) as ledger:
        since = [one._replace(scored_at=NOW + timedelta(hours=9)) for one in ledger.latest(NAME, [changed, same]).values()]
        ledger.keep_latest(since)
    corrected(own, f"if(customer_id = '{changed}', 'never seen', tier) as tier")
    scored.clear()
    night(own)
    assert scored == [changed]
    with closing(Ledger.open(own)) as ledger:
        told = ledger.latest(NAME, [changed, same])
        assert told[same] in since and told[changed].scored_at == NOW


def test_a_ledger_that_was_put_back_to_an_earlier_night_gets_this_one_again(own: Workspace, scored: list[str]) -> None:
    rows = night(own)
    shutil.copytree(own.serving, own.root / "backup")
    corrected(own, f"if(customer_id = '{scored[70]}', 'never seen', tier) as tier")
    night(own)
    after = last_scores(own)
    shutil.rmtree(own.serving)
    (own.root / "backup").rename(own.serving)
    assert last_scores(own) != after
    scored.clear()
    night(own)
    assert len(scored) == rows and last_scores(own) == after


@pytest.mark.parametrize("at", ["night", "begin_night", "end_night"])
def test_a_ledger_that_fails_at_what_it_holds_is_made_up_for(
    own: Workspace, scored: list[str], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:  # fmt: skip
    rows = night(own)
    before = bytes_of(own), last_scores(own)
    scored.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, at, Mock(side_effect=Away))
        assert list(batch.run(own, NOW, [NAME], quiet).failures) == [NAME]
    assert not scored and bytes_of(own) == before[0]
    assert night(own) == rows == len(scored) and (bytes_of(own), last_scores(own)) == before


def test_who_comes_back_ineligible_is_not_left_with_a_score_of_nights_ago(own: Workspace, scored: list[str]) -> None:
    night(own)
    gone = scored[70]
    path = Catalog.load(own).path(own, "customers")
    before = path.read_bytes()
    with duckdb.connect() as connection:
        connection.execute(f"create table others as select * from '{path}' where customer_id <> '{gone}'")
        connection.execute(f"copy others to '{path}' (format parquet)")
    corrected(own, "tier as tier")
    assert night(own) == 283
    path.write_bytes(before)
    corrected(own, f"if(customer_id = '{gone}', timestamp '2018-05-14', ended_at) as ended_at")
    night(own)
    with closing(Ledger.open(own)) as ledger:
        assert ledger.latest(NAME, [gone])[gone].probability is None


def test_a_night_that_broke_off_vouches_for_nothing(own: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    night(own)
    after = last_scores(own)
    shutil.copytree(own.root / "data" / "scored", tmp_path / "scored")
    shutil.copytree(own.scores, tmp_path / "scores")
    held = Workspace(own.root, own.settings.model_copy(update={"policy": PolicySettings(holdout=0.3)}))
    with monkeypatch.context() as patch:
        patch.setattr(batch, "publish", lambda target, scores, facts: broken_off(scores))
        assert list(batch.run(held, NOW, [NAME], quiet).failures) == [NAME]
    with closing(Ledger.open(own)) as ledger:
        assert ledger.night(NAME) is None
    for name, place in (("scored", own.root / "data" / "scored"), ("scores", own.scores)):  # a backup without the ledger
        shutil.rmtree(place)
        shutil.copytree(tmp_path / name, place)
    assert last_scores(own) != after
    night(own)
    assert last_scores(own) == after


def broken_off(scores: Iterable[pa.RecordBatch]) -> None:
    assert len(list(scores)) > 1
    raise OSError("no room")


def test_a_second_run_waits_for_the_first(own: Workspace) -> None:
    with ThreadPoolExecutor(1) as pool:
        with one_run(own, NAME):
            waiting = pool.submit(night, own)
            with pytest.raises(TimeoutError):
                waiting.result(5)
            assert not folder(own, NAME, NOW).exists()
        assert waiting.result(120) == 284


def test_where_nobody_can_tell_who_objected_nobody_is_scored_anew(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may answer again a moment later; neither a CRM nor the ledger may then have a score of somebody who objected."""
    night(own)
    part = folder(own, NAME, NOW) / PART
    before = part.read_bytes()
    objecting = Workspace(
        own.root, own.settings.model_copy(update={"policy": PolicySettings(suppress={"customer": ("customer_age_days < 0",)})})
    )
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "withheld_since", Mock(side_effect=Away))
        patch.setattr(Ledger, "keep_latest", kept := Mock())
        ended = batch.run(objecting, NOW, [NAME], quiet)
    assert list(ended.failures) == [NAME] and not ended.receipts and not kept.called and part.read_bytes() == before


def test_digests_are_of_one_as_of_and_are_taken_once(own: Workspace) -> None:
    night(own)
    (path,) = (own.root / "data" / "scored" / NAME).iterdir()
    data, maker = path.read_bytes(), path.name.rpartition(".")[2]
    assert Inputs(own, NAME, maker).take(NOW - timedelta(days=1)) is None and not path.exists()
    for only in (NOW, None):
        path.write_bytes(data)
        assert Inputs(own, NAME, maker).take(only) is not None and Inputs(own, NAME, maker).take(only) is None


def test_a_ledger_that_fails_at_those_who_left_is_left_alone(
    own: Workspace, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    night(own)
    corrected(own, f"if(customer_id in {tuple(scored[:3])}, timestamp '2018-05-14', ended_at) as ended_at")
    monkeypatch.setattr(last_scores_of, "ROWS_PER_WRITE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep_latest", failing := Mock(side_effect=Away))
        assert list(batch.run(own, NOW, [NAME], quiet).failures) == [NAME]
    assert failing.call_count == 1


def test_without_reasons_scores_are_the_same_and_the_receipt_says_so(own: Workspace) -> None:
    night(own)
    part = folder(own, NAME, NOW) / PART
    told = duckdb.sql(f"select * exclude (reasons) from '{part}'").fetchall()
    settings = own.settings.model_copy(update={"nightly": own.settings.nightly.model_copy(update={"reasons": False})})
    (receipt,) = batch.run(Workspace(own.root, settings), NOW, [NAME], quiet).receipts
    assert not receipt.reasons and duckdb.sql(f"select * exclude (reasons) from '{part}'").fetchall() == told
    assert duckdb.sql(f"select sum(len(reasons)) from '{part}'").fetchall() == [(0,)]


def test_a_digest_tells_values_apart_by_their_bits() -> None:
    def of(numbers: list[float | None], words: list[str | None]) -> list[int]:
        batch = pa.record_batch({"n": pa.array(numbers, pa.float64()), "w": pa.array(words, pa.string())})
        found: list[int] = digests(batch, ["n", "w"]).tolist()
        return found

    found = of([0.0, -0.0, None, 1.0, 1.0 + 2**-52, 1.0, 1.0, 1.0], ["a", "a", "a", "a", "a", "", None, "b"])
    assert len(set(found)) == len(found)
    assert of([None, float("nan")], ["x", "x"])[0] == of([float("nan")], ["x"])[0]
    assert of([1.0, 2.0], ["a", "b"])[1:] == of([2.0], ["b"])
