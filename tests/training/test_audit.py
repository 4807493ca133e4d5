from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.propensity import Propensity, Value
from tests.training.panels import panel
from training import audit as room
from training import report
from training.audit import ATTRIBUTES, INSIGHTS, audit, document
from training.boosting import learn
from training.calibration import Calibration
from training.contract import Contract, Window
from training.decision import NEWEST
from training.fitting import Fitted
from training.leakage.origin import Attribute
from training.model import Model
from training.split import split

WEEKLY = Value(column="mrr_now", times=12, cost=3, success=0.5, capacity_per_day=2)
QUESTION = Propensity.model_validate(
    {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "every": "28d", "outcome": {"absent": "orders"}}
)


@pytest.fixture(scope="module")
def world():
    """A panel of eight dates with a protected gender, a worth and an age aside, and a model of it."""
    data = panel(8)
    random = np.random.default_rng(3)
    rows = len(data.frame)
    aside = pd.DataFrame(
        {
            "customer_gender": random.choice(["female", "male"], rows),
            "mrr_now": random.exponential(20, rows),
            "customer_age_days": random.exponential(400, rows),
        }
    )
    data = replace(data, aside=aside, attributes={"plan": Attribute("customers.plan", "foresell.toml:1")})
    divided = split(data.frame, data.labels, timedelta(days=30))
    learned = learn(data.examples(divided.fit), False)
    window = Window(first="2020-01-06", last="2020-01-06", rows=1, positives=1)
    contract = Contract(
        propensity=QUESTION.model_dump(mode="json"), candidate="lightgbm", members=("model.txt",), features=learned.features,
        calibration=Calibration(method="platt", x=(0.0,), y=(0.0,), below=1.0, above=1.0), reference=(0.0, 1.0), fingerprint="f",
        windows={"test": window},
    )  # fmt: skip
    model = Model(contract, learned.predictor)
    return data, Fitted(model, divided, model.probability(model.matrix(data.frame[divided.test])))


def test_every_side_of_a_model_is_looked_at(world):
    data, fitted = world
    found = audit(data, QUESTION.model_copy(update={"value": WEEKLY}), ("customer_gender", "lead_source"), fitted, seed=1)
    assert found.decision is not None
    assert found.decision.list_length == 300
    assert found.decision.capacity == pytest.approx(2 * 28 / 300)
    happened = fitted.split.test & (data.labels == 1)
    assert found.decision.mean_worth == pytest.approx(12 * data.aside.loc[happened, "mrr_now"].mean())
    assert NEWEST in found.decision.curves
    assert {part.attribute for part in found.slices} == {"plan"}
    assert {group.value for group in found.groups} == {"female", "male"}
    assert found.proxies == ()
    assert sum(group.rows for group in found.groups) == fitted.split.test.sum()
    assert next(iter(found.importance)) == found.insights[0].feature == "visits"
    assert len(found.insights) == min(INSIGHTS, 4)


def test_without_a_value_or_anything_aside_those_parts_are_empty(world):
    data, fitted = world
    found = audit(replace(data, aside=pd.DataFrame(), attributes={}), QUESTION, ("customer_gender",), fitted, seed=1)
    assert found.decision is None
    assert found.slices == found.groups == found.proxies == ()
    assert "decision" not in {key for key, part in document(found, QUESTION).items() if part}


def test_a_constant_amount_needs_no_column(world):
    data, fitted = world
    question = QUESTION.model_copy(update={"value": Value(amount=50)})
    found = audit(replace(data, aside=pd.DataFrame()), question, (), fitted, seed=1)
    assert found.decision is not None
    assert found.decision.mean_worth == 50
    assert NEWEST not in found.decision.curves


def test_a_protected_attribute_is_judged_by_fairness_and_not_by_slices(world):
    data, fitted = world
    both = replace(data, aside=data.frame[["plan"]])
    found = audit(both, QUESTION, ("plan",), fitted, seed=1)
    assert found.slices == ()
    assert {group.attribute for group in found.groups} == {"plan"}


def test_a_large_test_is_sampled_by_entity(world, monkeypatch):
    data, fitted = world
    monkeypatch.setattr(room, "MOST_ROWS", 300)
    found = audit(data, QUESTION.model_copy(update={"value": WEEKLY}), ("customer_gender",), fitted, seed=1)
    assert found.decision is not None
    assert found.decision.list_length == 300, "of the lists, not of the sample"
    rows = sum(group.rows for group in found.groups)
    assert 200 < rows < 400
    assert rows % (fitted.split.test.sum() // 300) == 0, "an entity's rows come together"
    assert (found.rows, found.test_rows) == (rows, fitted.split.test.sum())
    assert document(found, QUESTION)["sampled"].startswith(f"Counted on a sample of {rows} of the {found.test_rows} test rows")


def test_a_test_of_many_rows_is_looked_at_whole(world):
    """Of an outcome of one in two hundred, a tenth of the rows would leave too few positives to judge a slice by."""
    _, fitted = world
    many = panel(8, entities=12_000)
    many = replace(many, attributes={"plan": Attribute("customers.plan", "foresell.toml:1")})
    divided = split(many.frame, many.labels, timedelta(days=30))
    probability = fitted.model.probability(fitted.model.matrix(many.frame[divided.test]))
    found = audit(many, QUESTION, (), Fitted(fitted.model, divided, probability), seed=1)
    assert found.rows == found.test_rows == divided.test.sum() > 20_000
    assert sum(part.rows for part in found.slices) == found.rows


def test_a_test_without_a_positive_is_looked_at_all_the_same(world):
    data, fitted = world
    frame = data.frame.assign(label=np.where(fitted.split.test, 0, data.frame["label"]).astype(np.int8))
    question = QUESTION.model_copy(update={"value": WEEKLY})
    found = audit(replace(data, frame=frame), question, ("customer_gender",), fitted, seed=1)
    assert found.decision is not None and found.decision.mean_worth is None
    assert found.slices == ()
    assert [group.found for group in found.groups] == [None]
    json.dumps(document(found, question), allow_nan=False)


def test_the_document_is_plain_and_says_the_decision_in_sentences(world):
    data, fitted = world
    question = QUESTION.model_copy(update={"value": WEEKLY})
    made = document(audit(data, question, ("customer_gender",), fitted, seed=1), question)
    again = json.loads(json.dumps(made, allow_nan=False))
    assert again["sampled"] == ""
    assert again["decision"]["sentences"][0].startswith("A contact costs 3 and wins or saves 50 % of the outcomes it meets")
    assert again["decision"]["sentences"][1].startswith("Contact the best 18.7 % of a list, as many as 2 contacts a day reach")
    assert "more than newest first" in again["decision"]["sentences"][2]
    assert len(again["slices"]) <= ATTRIBUTES * 13


def test_the_page_says_that_it_is_of_a_sample():
    nothing = {"decision": None, "slices": [], "groups": []}
    for sampled in ("Counted on a sample of 300 rows.", ""):
        page = report._render("audit.html", {"audit": {**nothing, "sampled": sampled}, "entity": "customer"})
        assert ("Counted on a sample of 300 rows." in page) == bool(sampled)
