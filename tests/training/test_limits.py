"""The limits of a model stand in its report and in its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from features.propensity import Gates, Propensity
from tests.training.conftest import QUIET
from tests.training.panels import panel
from training import registry
from training.audit import audit
from training.evaluation import Evaluation, Figure, evaluate
from training.gates import judge
from training.leakage.finding import Finding
from training.limits import limits
from training.report import card
from training.result import Result
from training.selection import select
from training.split import split as divide

QUESTION = {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "outcome": {"absent": "orders"}}


def result(folder: Path, dates: int, entities: int = 300, leaks: tuple[Finding, ...] = ()) -> Result:
    data, question = panel(dates, entities), Propensity.model_validate(QUESTION)
    selection = select(data, question, folder, QUIET)
    fitted, test = selection.fitted, selection.fitted.split.test
    figures = evaluate(fitted.probability, data.labels[test], data.frame["entity_id"][test], 0, replicates=50)
    return Result(data, selection, figures, judge(Gates(), figures, None), leaks, audit(data, question, (), fitted, 0))


def off(test: Evaluation, error: float) -> Evaluation:
    return replace(test, figures={**test.figures, "calibration_error": Figure(error, error, error)})


def test_a_single_date_and_a_single_test_period_are_told(tmp_path):
    assert "single date" in limits(result(tmp_path, dates=1, entities=600))[0]
    assert "one test period" in limits(result(tmp_path, dates=2))[0]
    assert "period" not in limits(result(tmp_path, dates=12))[0]


def test_probabilities_that_are_off_are_explained_and_others_are_not(tmp_path):
    made = result(tmp_path, dates=12)
    calm = " ".join(limits(replace(made, test=off(made.test, 0.029))))
    told = " ".join(limits(replace(made, test=off(made.test, 0.031))))
    assert "aimed at" not in calm
    assert "off by 0.031" in told
    assert "Tried: platt and beta calibration, of which" in told, "isotonic asks for a thousand of the rarer class"
    assert "is the simplest that none beats by more than two standard errors" in told and "least log loss" not in told
    happened = made.data.labels[made.fitted.split.test].mean()
    assert f"{happened:.1%} happened" in told and f"{made.fitted.probability.mean():.1%} on average" in told
    assert made.selection.shift is not None and made.selection.shift.sentence in told


def test_isotonic_calibration_is_named_where_it_was_tried(tmp_path):
    made = result(tmp_path, dates=12)
    data = panel(12, entities=2_000)
    split = divide(data.frame, data.labels, made.fitted.split.horizon)
    many = replace(made, data=data, selection=replace(made.selection, fitted=replace(made.fitted, split=split)))
    assert "Tried: platt, beta and isotonic calibration" in " ".join(limits(replace(many, test=off(made.test, 0.04))))


def test_a_wide_interval_and_a_waiver_are_told(tmp_path):
    leak = Finding("alone", "error", "vat", "vat knows the outcome.", "remove it", waived="it is known at the sale")
    made = result(tmp_path, dates=3, leaks=(leak,))
    wide = replace(made, test=replace(made.test, figures={**made.test.figures, "auc": Figure(0.7, 0.6, 0.8)}))
    assert any("from 0.600 to 0.800" in sentence for sentence in limits(wide))
    assert "Let pass: vat knows the outcome. The reason given: it is known at the sale." in limits(wide)


def test_the_card_holds_the_decision_the_slices_and_the_groups(trained_once):
    found = registry.report(trained_once, "churn", "1")[0]["audit"]
    lines = registry.card(trained_once, "churn", "1").splitlines()
    for sentence in found["decision"]["sentences"]:
        assert sentence in lines
    for policy, profit in found["decision"]["profit"].items():
        assert any(line.startswith(f"| {policy} | {profit['value']:,.0f} (") for line in lines)
    for part in (*found["slices"], *found["groups"]):
        assert any(line.startswith(f"| `{part['attribute']}`: {part['value']} | {part['rows']:,} |") for line in lines)
    assert {"## What to do with it", "## Where it is good", "## Fairness", "## Periods"} <= set(lines)


def test_a_card_of_what_was_split_by_entity_and_sampled_says_so(trained_once):
    document, _ = registry.report(trained_once, "churn", "1")
    made = {key: part for key, part in document.items() if key not in ("propensity", "version", "champion")}
    other = made | {"split": made["split"] | {"by": "entity"}, "audit": made["audit"] | {"sampled": "Counted on a sample."}}
    told = card(other)
    assert "each judged by a model fitted and calibrated without its customer" in told
    assert "that nothing was fitted or calibrated on" not in told
    assert "Counted on a sample." in told.splitlines()
    bare = card(made | {"audit": made["audit"] | {"decision": None, "slices": [], "groups": []}})
    assert not {"## What to do with it", "## Where it is good", "## Fairness"} & set(bare.splitlines())


def test_the_card_says_in_markdown_what_the_report_says(trained_once):
    document, _ = registry.report(trained_once, "churn", "1")
    card = registry.card(trained_once, "churn", "1")
    assert card.startswith(f"# {document['question']}\n") and "version 1," in card
    for sentence in (*document["limits"], *document["backtest"]["sentences"], *(gate["sentence"] for gate in document["gates"])):
        assert sentence in card
    assert f"| {document['test']['auc']:.3f} |" in card
    assert "{{" not in card and "&" not in card
    assert "that nothing was fitted or calibrated on" in card and "sample of" not in card
    with pytest.raises(Exception, match="version 9"):
        registry.card(trained_once, "churn", "9")
