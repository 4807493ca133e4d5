"""A rebuild proves a version equal to the last bit, or says what moved."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from features import snapshot
from features.catalog import Catalog, write_atomically
from features.errors import RegistryError
from features.forgetting.forgotten import RECEIPT, folder
from features.propensity import Tuning, load
from features.settings import SETTINGS_FILE
from tests.training.conftest import NOW, QUESTION, QUIET
from tests.training.panels import panel
from tests.training.test_commands import call, rewrite_report
from tests.training.test_registry_promotion import add
from training import dataset, registry
from training.dataset import fingerprint
from training.model import Model
from training.provenance import provenance
from training.rebuild import as_recorded, compare, rebuild
from training.train import train


def test_a_rebuild_of_the_same_data_is_equal_whatever_else_has_moved(trained):
    """The tables reach further by now, the propensity file was edited, and a library was another."""
    lightgbm = json.loads(call(trained, "report", "churn", "--json").stdout)["provenance"]["versions"]["lightgbm"]
    rewrite_report(trained, f'"lightgbm": "{lightgbm}"', '"lightgbm": "1.0"')
    (trained.own_propensities / "churn.toml").write_text(QUESTION + "min_auc = 0.55\n")
    before = len(dataset.as_ofs(trained, load(trained, "churn")))
    replace(Catalog.load(trained), observed_until="2024-03-01").save(trained)
    assert len(dataset.as_ofs(trained, load(trained, "churn"))) == before + 2
    done = call(trained, "rebuild", "churn")
    assert "equal to the last bit" in done.stderr
    assert f"lightgbm: 1.0 then, {lightgbm} now" in done.stdout
    assert "the propensity file: it was edited since" in done.stdout
    assert registry.newest_version(trained, "churn") == "1", "nothing is registered"


def test_a_row_that_was_changed_is_found_out_with_the_columns_it_moved(trained):
    orders = Catalog.load(trained).path(trained, "orders")
    frame = pd.read_parquet(orders)
    frame.loc[frame["occurred_at"].idxmin(), "amount"] += 1_000
    frame.to_parquet(orders)
    document = json.loads(call(trained, "rebuild", "churn", "--json", code=1).stdout)
    assert not document["equal"] and "fingerprint" in document["contract"]
    columns = {sentence.split()[1] for sentence in document["moved"]}
    assert "orders_amount_max_365d" in columns
    assert not columns & {"entity_id", "as_of", "label", "orders_count_90d", "customer_kind"}
    assert "is not what it was" in call(trained, "rebuild", "churn", code=1).stdout


def test_the_rows_of_people_who_were_forgotten_since_are_told_of(trained):
    for number, version in enumerate("112"):
        receipt = {"person": str(number), "models": [{"propensity": "churn", "version": version}]}
        write_atomically(folder(trained) / f"{RECEIPT}-{number}-20260101T000000.json", json.dumps(receipt).encode())
    told = call(trained, "rebuild", "churn").stdout
    assert "rows of 2 forgotten people are missing: they were erased since, for good" in " ".join(told.split())


def test_a_feature_that_came_later_is_left_out_and_named(trained):
    days = pd.date_range("2023-01-01", "2023-12-01", freq="28D", tz="UTC")
    usage = pd.DataFrame({"cid": [f"C{n}" for n in range(20) for _ in days], "at": [*days] * 20})
    usage.assign(minutes=range(len(usage))).to_parquet(trained.root / "usage.parquet")
    table = """
[external.usage]
entity = "customer"
path = "usage.parquet"
id = "cid"
timestamp = "at"
columns = { minutes = { type = "number" } }
"""
    settings = trained.root / SETTINGS_FILE
    settings.write_text(settings.read_text() + table)
    done = call(trained, "rebuild", "churn")
    assert "equal to the last bit" in done.stderr
    new = [line for line in done.stdout.splitlines() if line.startswith("  moved")]
    assert new and all("usage" in line and line.endswith("is new") for line in new)


def test_a_dataset_is_left_as_it_is_where_a_column_is_gone_or_none_is_new():
    data = panel(3)
    before = provenance(data, 0)
    assert as_recorded(data, before) is data
    lost = before.model_copy(update={"columns": {"gone": "0", **{n: d for n, d in before.columns.items() if n != "visits"}}})
    assert as_recorded(data, lost) is data
    kept = before.model_copy(update={"columns": {name: digest for name, digest in before.columns.items() if name != "visits"}})
    found = as_recorded(data, kept)
    assert "visits" not in found.frame and "visits" not in found.dtypes
    assert found.fingerprint == fingerprint(data.frame.drop(columns="visits")) != data.fingerprint


@pytest.mark.slow
def test_a_search_of_parameters_is_repeated_from_its_first_trial(trained):
    question = load(trained, "churn").model_copy(update={"tuning": Tuning(trials=3)})
    version = train(trained, question, NOW, QUIET).version
    rebuilt = rebuild(trained, "churn", version, QUIET)
    assert rebuilt.equal
    assert [sentence[:20] for sentence in rebuilt.moved] == ["the propensity file:"]


def test_models_that_differ_in_their_last_bits_are_told_apart(trained):
    stored = registry.load(trained, "churn", "1").model
    instants = dataset.as_ofs(trained, load(trained, "churn"))[-1:]
    frame = snapshot.read(trained, "customer", instants, list(stored.columns))
    assert compare("1", stored, stored, frame, ()).equal
    reference = (stored.contract.reference[0] + 1e-16, *stored.contract.reference[1:])
    other = Model(stored.contract.model_copy(update={"reference": reference}), stored.predictor)
    assert compare("1", stored, other, frame, ()).contract == ("reference",)
    without = compare("1", stored, stored, frame.drop(columns=stored.columns[0]), ())
    assert (without.different, without.equal) == (None, False)


def test_a_version_without_provenance_cannot_be_rebuilt(trained):
    add(trained)
    with pytest.raises(RegistryError, match="train again"):
        rebuild(trained, "churn", "2", QUIET)


def test_an_unknown_version_and_a_wrong_name_are_said(trained):
    assert "version 7" in call(trained, "rebuild", "churn", "--version", "7", code=1).stderr
    assert "one of churn" in call(trained, "rebuild", "chrun", code=2).stderr
