"""A new model against the champion: on the same rows, by the champion's own features, whatever became of them."""

from __future__ import annotations

import json

import pytest

from features.catalog import Catalog
from features.propensity import load
from tests.training.conftest import ME, NOW, QUIET
from training import registry
from training.train import train


def test_choosing_fewer_features_spares_no_model_the_comparison(trained):
    registry.promote(trained, "churn", ME)
    narrow = load(trained, "churn").model_copy(update={"features": {"customer_orders": ("orders_amount_max_365d",)}})
    gate = train(trained, narrow, NOW, QUIET).verdict.gates[-1]
    assert not gate.passed
    assert "On the same rows worse than champion version 1: AUC -0." in gate.sentence


@pytest.mark.parametrize(("old", "new"), [('"format": 2', '"format": 0'), ('"horizon": "30d"', '"horizon": "30 days"')])
def test_a_champion_of_another_release_does_not_stop_its_replacement(trained, old, new):
    registry.promote(trained, "churn", ME)
    contract = next((trained.mlruns / "artifacts").rglob("contract.json"))
    assert old in contract.read_text()
    contract.write_text(contract.read_text().replace(old, new))
    verdict = train(trained, load(trained, "churn"), NOW, QUIET).verdict
    assert verdict.gates[-1].sentence == (
        "Not compared with champion version 1: its contract does not fit this version of Foresell, or these columns."
    )


@pytest.mark.parametrize(("last", "said"), [("2023-10-28", "On the same rows "), ("2023-10-29", "Not compared with champion ")])
def test_a_champion_that_has_learned_from_the_older_test_rows_is_compared_on_the_newer_ones(trained, last, said):
    """The newest as_of is of 2023-11-27, a horizon after the first of the two dates."""
    registry.promote(trained, "churn", ME)
    contract = next((trained.mlruns / "artifacts").rglob("contract.json"))
    document = json.loads(contract.read_text())
    document["windows"]["calibration"]["last"] = document["windows"]["calibration"]["last"].replace(
        document["windows"]["calibration"]["last"][:10], last
    )
    contract.write_text(json.dumps(document))
    verdict = train(trained, load(trained, "churn"), NOW, QUIET).verdict
    assert verdict.gates[-1].sentence.startswith(said)


def test_a_champion_whose_feature_vanished_is_not_compared_and_the_feature_is_named(trained):
    registry.promote(trained, "churn", ME)
    catalog = Catalog.load(trained)
    del catalog.attributes["customers"]["kind"]
    catalog.save(trained)
    verdict = train(trained, load(trained, "churn"), NOW, QUIET).verdict
    assert verdict.gates[-1].sentence == (
        "Not compared with champion version 1: it was trained on feature 'customer_kind', which is no longer there."
    )
