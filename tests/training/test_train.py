from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import ingest, snapshot, store
from features.adapter import ADAPTERS
from features.errors import DataFloorError, LeakageError, PropensityError
from features.propensity import SHIPPED, load, read_file
from features.settings import Settings, Workspace
from tests.training.conftest import ME, NOW, QUIET
from training import backtest, dataset, registry
from training.candidates import LOGISTIC, RULE
from training.dataset import Dataset
from training.evaluation import Ranking
from training.fitting import fit
from training.split import split
from training.train import train


def test_the_registered_model_is_the_one_that_was_tested(trained):
    document, _ = registry.report(trained, "churn")
    question, model = load(trained, "churn"), registry.load(trained, "churn", "1").model
    store.apply(trained)
    data = dataset.build(trained, question, dataset.as_ofs(trained, question))
    test = split(data.frame, data.labels, question.horizon).test
    probability = model.probability(model.matrix(data.frame[test]))
    again = Ranking(probability, data.labels[test]).figures(np.ones(test.sum()))
    assert again["auc"] == document["test"]["auc"]
    assert again["log_loss"] == document["test"]["log_loss"]
    assert model.contract.fingerprint == data.fingerprint
    assert model.percentile(np.array([probability.min()]))[0] == 0
    assert model.percentile(np.array([np.nextafter(probability.max(), 1)]))[0] == 1


def test_equal_data_give_an_equal_model_and_no_worse_a_champion(trained):
    registry.promote(trained, "churn", ME)
    again = train(trained, load(trained, "churn"), NOW, QUIET)
    first, second = (registry.load(trained, "churn", version).model for version in ("1", again.version))
    assert first.files == second.files
    assert first.contract == second.contract
    assert (
        again.verdict.gates[-1].sentence == "On the same rows not worse than champion version 1: AUC +0.000 (+0.000 to +0.000)."
    )


def test_a_model_that_lost_its_best_feature_is_refused_against_the_champion(trained):
    registry.promote(trained, "churn", ME)
    question = load(trained, "churn")
    worse = question.model_copy(update={"features": {"customer_orders": ("orders_amount_max_365d",)}})
    verdict = train(trained, worse, NOW, QUIET).verdict
    assert [gate.gate for gate in verdict.gates if not gate.passed] == ["not_worse_than_champion"]
    assert "worse than champion version 1: AUC -0." in verdict.gates[-1].sentence


def test_snapshots_that_are_missing_are_built(make_shop):
    shop = make_shop(customers=150, seed=8)
    assert not shop.snapshots.exists()
    train(shop, load(shop, "churn"), NOW, QUIET)
    assert snapshot.read(shop, "customer", dataset.as_ofs(shop, load(shop, "churn"))[:1], []).shape[0] > 0


def test_too_few_customers_are_refused_with_the_counts(make_shop):
    shop = make_shop(customers=10)
    with pytest.raises(DataFloorError, match="at least 100 rows with 20 positives and 20 negatives"):
        train(shop, load(shop, "churn"), NOW, QUIET)


def test_a_question_about_absent_tables_is_refused(make_shop):
    shop = make_shop(customers=5)
    with pytest.raises(PropensityError, match="`subscriptions`"):
        train(shop, load(shop, "upsell"), NOW, QUIET)


def test_data_of_one_date_are_judged_by_models_that_did_not_see_the_entity():
    """A feature that is only the entity's number learns nothing that holds for others: honest figures say 0.5."""
    random = np.random.default_rng(0)
    rows = 1_000
    frame = pd.DataFrame(
        {
            "entity_id": [f"C{n}" for n in range(rows)],
            "as_of": pd.Timestamp("2020-01-06", tz="UTC"),
            "label": (random.random(rows) < 0.3).astype(np.int8),
            "number": np.arange(rows, dtype=float),
            "noise": random.random(rows),
        }
    )
    question = read_file(SHIPPED / "churn.toml")
    data = Dataset(frame, {"number": "number", "noise": "number"}, (), {}, "f")
    divided = split(frame, data.labels, question.horizon)
    fitted = fit(data, question, divided, backtest.run(data, divided, [], (RULE, LOGISTIC)), "logistic")
    auc = Ranking(fitted.probability, data.labels).figures(np.ones(rows))["auc"]
    assert divided.by == "entity"
    assert auc == pytest.approx(0.5, abs=0.06)


@pytest.mark.real_data
def test_olist_columns_of_won_deals_cannot_be_trained_on(tmp_path: Path, shared_data: Path):
    """Declared as fixed attributes of a lead, in a copy of the adapter that has lost its own warning."""
    adapter = tmp_path / "careless"
    shutil.copytree(ADAPTERS / "olist", adapter)
    settings = re.sub(r"(?ms)^\[leaks\..*?(?=^\[|\Z)", "", (adapter / "adapter.toml").read_text())
    settings += "\n[attributes.leads.business_segment]\nfixed = true\n[attributes.leads.lead_behaviour_profile]\nfixed = true\n"
    (adapter / "adapter.toml").write_text(settings)
    sql = (adapter / "leads.sql").read_text()
    (adapter / "leads.sql").write_text(
        sql.replace("won_date as converted_at,", "won_date as converted_at, business_segment, lead_behaviour_profile,").replace(
            "(select mql_id, won_date from", "(select mql_id, won_date, business_segment, lead_behaviour_profile from"
        )
    )
    workspace = Workspace(tmp_path / "w", Settings(adapter=str(adapter), source=str(shared_data / "olist")))
    ingest.run(workspace, NOW)
    with pytest.raises(LeakageError) as caught:
        train(workspace, load(workspace, "lead-conversion"), NOW, QUIET)
    assert "lead_business_segment is filled for" in caught.value.received
    assert "lead_lead_behaviour_profile is filled for" in caught.value.received
    assert "leads.business_segment` is not fixed at creation" in caught.value.repair
    assert "adapter.toml:" in caught.value.repair
