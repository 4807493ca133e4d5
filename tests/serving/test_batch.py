"""The batch scores everybody who is eligible, says what became of the others, and gives the same bytes again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort, obstacle
from features.errors import LostRowsError, QualityError, RegistryError, StoreError
from features.settings import Workspace
from serving import batch
from serving.answer import Call
from serving.columns import ColumnScorer
from serving.ledger import Ledger
from serving.ledger.address import Address
from serving.office import Office
from serving.partition import PART, RECEIPT, folder
from serving.reader import Ask
from tests.serving.shop import NOW
from training import registry


def quiet(what: str, total: int) -> Any:
    return nullcontext(lambda units: None)


def bytes_of(workspace: Workspace) -> dict[str, bytes]:
    return {str(path.relative_to(workspace.scores)): path.read_bytes() for path in workspace.scores.rglob("*") if path.is_file()}


def test_one_score_for_everybody_in_the_cohort_and_a_count_of_the_others(own: Workspace) -> None:
    night = batch.run(own, NOW, [], quiet)
    assert [receipt.propensity for receipt in night.receipts] == ["churn", "lead-conversion"] and not night.failures
    for receipt in night.receipts:
        question = registry.champion(own, receipt.propensity).model.propensity
        scores = pd.read_parquet(folder(own, receipt.propensity, NOW) / PART)
        assert scores["entity_id"].tolist() == cohort(own, question, [NOW])["entity_id"].tolist()
        assert scores["eligible"].all() and scores["score"].between(1, 100).all()
        assert (scores["scored_at"] == NOW).all() and (scores["feature_as_of"] == NOW).all()
        columns = [condition.column for condition in question.conditions]
        everybody = snapshot.read(own, question.entity, [NOW], columns)
        whys = Counter(obstacle(question, row) for row in everybody.to_dict("records"))  # type: ignore[arg-type]
        assert receipt.rows == whys.pop(None) and receipt.ineligible == whys and receipt.known == len(everybody)


@pytest.mark.parametrize("folder", ["scores", "latest"])
def test_a_disk_that_cannot_be_written_costs_one_propensity_and_is_told(own: Workspace, folder: str) -> None:
    in_the_way = own.root / folder / "propensity=churn"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("a file")
    night = batch.run(own, NOW, [], quiet)
    assert isinstance(night.failures["churn"], StoreError) and "with room left" in night.failures["churn"].expected
    assert [receipt.propensity for receipt in night.receipts][-1] == "lead-conversion" and len(night.failures) == 1
    assert (own.latest / "propensity=lead-conversion" / PART).is_file()
    in_the_way.unlink()
    assert not batch.run(own, NOW, [], quiet).failures and (own.latest / "propensity=churn" / PART).is_file()


def test_the_same_night_again_gives_the_same_bytes(own: Workspace) -> None:
    batch.run(own, NOW, [], quiet)
    before = bytes_of(own)
    shutil.rmtree(own.scores / "propensity=churn")
    batch.run(own, NOW, [], quiet)
    assert bytes_of(own) == before and len(before) == 4


def test_an_as_of_within_a_day_has_a_folder_of_its_own(own: Workspace) -> None:
    instant = NOW - timedelta(hours=17, minutes=30)
    (receipt,) = batch.run(own, instant, ["churn"], quiet).receipts
    assert (own.scores / "propensity=churn" / "as_of=20180514T063000Z" / RECEIPT).is_file()
    assert receipt.as_of == "2018-05-14T06:30:00+00:00"


def test_before_anybody_was_known_nobody_is_scored(own: Workspace) -> None:
    (receipt,) = batch.run(own, NOW - timedelta(days=2000), ["churn"], quiet).receipts
    assert receipt.known == 0 == receipt.rows and (folder(own, "churn", NOW - timedelta(days=2000)) / PART).is_file()


def test_a_propensity_that_fails_does_not_stop_the_others(own: Workspace) -> None:
    night = batch.run(own, NOW, ["upsell", "churn"], quiet)
    assert [receipt.propensity for receipt in night.receipts] == ["churn"]
    assert isinstance(night.failures["upsell"], RegistryError)


def test_a_champion_that_knows_a_vanished_feature_fails_alone(own: Workspace) -> None:
    catalog = Catalog.load(own)
    Catalog(**{**vars(catalog), "tables": {n: t for n, t in catalog.tables.items() if n != "orders"}}).save(own)
    night = batch.run(own, NOW, [], quiet)
    assert [receipt.propensity for receipt in night.receipts] == ["lead-conversion"]
    assert "orders" in str(night.failures["churn"])


def test_a_propensity_file_that_was_edited_badly_breaks_no_champion(own: Workspace) -> None:
    store.apply(own)
    own.own_propensities.mkdir()
    (own.own_propensities / "churn.toml").write_text("question = [", encoding="utf-8")
    (own.own_propensities / "lead-conversion.toml").write_text("colour = 'red'", encoding="utf-8")
    night = batch.run(own, NOW, [], quiet)
    assert [receipt.propensity for receipt in night.receipts] == ["churn", "lead-conversion"]
    assert {name: f"{name}.toml" in str(error) for name, error in night.failures.items()} == {
        "churn": True, "lead-conversion": True,
    }  # fmt: skip
    office = Office(own)
    ((answer,),) = office.answer(["churn"], [Ask("C0001")], NOW, Call("test", None, "http"))
    assert answer.score.entity_id == "C0001"


def test_a_score_that_is_lost_on_the_way_is_an_error_and_publishes_nothing(
    own: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ColumnScorer.scored

    def losing(self: ColumnScorer, *arguments: Any) -> Any:
        made = whole(self, *arguments)
        place, everybody = made.scores.schema.get_field_index("eligible"), [False] + [True] * (len(made.scores) - 1)
        return made._replace(scores=made.scores.set_column(place, "eligible", pa.array(everybody)))

    monkeypatch.setattr(ColumnScorer, "scored", losing)
    night = batch.run(own, NOW, ["churn"], quiet)
    assert isinstance(night.failures["churn"], LostRowsError) and not list(own.scores.rglob("*.parquet"))


def test_without_any_champion_it_says_to_train(shop: Workspace, tmp_path: Path) -> None:
    shutil.copytree(shop.root, tmp_path / "none", ignore=shutil.ignore_patterns("mlruns", "scores"))
    with pytest.raises(RegistryError, match="foresell train --all"):
        batch.run(Workspace.open(tmp_path / "none"), NOW, [], quiet)


def test_tables_with_errors_are_refused(own: Workspace) -> None:
    catalog = Catalog.load(own)
    path = catalog.path(own, "customers")
    twice = pd.read_parquet(path)
    pd.concat([twice, twice.head(1)]).to_parquet(path, index=False)
    Catalog(**{**vars(catalog), "version": "other"}).save(own)
    with pytest.raises(QualityError):
        batch.run(own, NOW, ["churn"], quiet)


def test_the_receipt_file_is_what_was_returned(own: Workspace) -> None:
    (receipt,) = batch.run(own, NOW, ["churn"], quiet).receipts
    stored = json.loads((folder(own, "churn", NOW) / RECEIPT).read_text())
    assert stored == vars(receipt)


def stored(workspace: Workspace, name: str = "churn") -> dict[str, Any]:
    """The last scores, by entity."""
    with closing(Ledger.open(workspace)) as ledger:
        return ledger.latest(name, ledger.scored(name, ledger.answered(name, "", 1_000)))


def test_the_nights_scores_are_the_last_stored_ones(own: Workspace) -> None:
    batch.run(own, NOW, ["churn"], quiet)
    kept, scores = stored(own), pd.read_parquet(folder(own, "churn", NOW) / PART).set_index("entity_id")
    assert sorted(kept) == list(scores.index)
    assert all(kept[each].probability == scores.loc[each, "probability"] and kept[each].scored_at == NOW for each in kept)
    documents = {each: json.loads(one.document) for each, one in kept.items()}
    assert all(documents[each]["reasons"][0]["text"] == scores.loc[each, "reasons"][0]["text"] for each in kept)
    batch.run(own, NOW, ["churn"], quiet)
    assert stored(own) == kept


def test_an_older_night_changes_no_last_score(own: Workspace) -> None:
    batch.run(own, NOW - timedelta(days=1), ["churn"], quiet)
    assert stored(own) == {}
    batch.run(own, NOW, ["churn"], quiet)
    kept = stored(own)
    batch.run(own, NOW - timedelta(days=1), ["churn"], quiet)
    assert stored(own) == kept != {}


def test_a_ledger_that_is_away_costs_no_file_and_is_told(own: Workspace) -> None:
    batch.run(own, NOW, [], quiet)
    before = bytes_of(own)
    shutil.rmtree(own.scores)
    ledger = Address.of(own).path
    assert ledger is not None
    for path in ledger.parent.glob(f"{ledger.name}*"):
        path.unlink()
    ledger.write_bytes(b"no database" * 1_000)
    night = batch.run(own, NOW, [], quiet)
    assert [receipt.propensity for receipt in night.receipts] == ["churn", "lead-conversion"] == sorted(night.failures)
    assert bytes_of(own) == before
    failure = night.failures["churn"]
    assert isinstance(failure, StoreError) and str(folder(own, "churn", NOW) / PART) in failure.expected
    assert failure.repair.endswith("then run `foresell score` again")
    ledger.unlink()
    assert not batch.run(own, NOW, [], quiet).failures and len(stored(own)) > 100 and bytes_of(own) == before


def test_over_http_trend_and_change_are_against_the_nights_score(filled: Workspace) -> None:
    batch.run(filled, NOW, ["lead-conversion"], quiet)
    office, call = Office(filled), Call("test", None, "http")
    kept = stored(filled, "lead-conversion")
    first = sorted(kept)[:40]
    ((*same,),) = office.answer(["lead-conversion"], [Ask(each) for each in first], NOW, call)
    asks = [Ask(each, {"budget": 40_000.0, "origin": "friend"}, True) for each in first]
    ((*told,),) = office.answer(["lead-conversion"], asks, NOW + timedelta(hours=1), call)
    office.stop()
    for each, one, two in zip(first, same, told, strict=True):
        points = json.loads(kept[each].document)["score"]
        assert one.score.change is not None and two.score.change is not None
        assert (one.score.change["from"], one.score.change["to"], one.score.change["causes"]) == (points, points, ())
        assert one.score.trend == "steady" and one.score.change["since"] == NOW
        assert (two.score.change["from"], two.score.change["to"]) == (points, two.score.score)
        assert json.loads(two.document)["change"]["from"] == points
    causes = [cause for one in told if one.score.change for cause in one.score.change["causes"]]
    assert {cause.cause for cause in causes} == {"data"} and any("before: " in cause.text for cause in causes)
