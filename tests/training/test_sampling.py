from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from features.propensity import Propensity
from tests.training.panels import panel
from training.calibration import log_loss
from training.dataset import Dataset
from training.provenance import Provenance, moved, provenance
from training.sampling import Sampling
from training.selection import select

QUESTION = Propensity.model_validate(
    {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "outcome": {"absent": "orders"}}
)


@pytest.fixture(scope="module")
def everybody() -> Dataset:
    """Rows of which about one in twenty has the outcome."""
    data = panel(dates=8, entities=2_500)
    return data.only((data.labels == 0) | (np.random.default_rng(3).random(len(data.frame)) < 0.09))


def sampled(data: Dataset, most: int) -> Dataset:
    """As many of the rows as Spark would bring, by the shares that it would keep."""
    sampling = Sampling.of(len(data.frame), int(data.labels.sum()), most, data.frame["as_of"].nunique())
    share = np.where(data.labels == 1, sampling.positives_kept, sampling.negatives_kept)
    return replace(data.only(np.random.default_rng(4).random(len(data.frame)) < share), sampling=sampling)


def test_probabilities_are_right_after_most_negatives_were_left_out(everybody, tmp_path):
    """Three times the rate among the rows learned from, and nothing of it in a probability."""
    data = sampled(everybody, 3_500)
    assert data.labels.mean() > 3 * everybody.labels.mean()
    found = select(data, QUESTION, tmp_path, lambda what, total: nullcontext(lambda units: None))
    newest = everybody.frame["as_of"].isin(data.frame["as_of"][found.fitted.split.test].unique()).to_numpy()
    model, labels = found.fitted.model, everybody.labels[newest]
    said = model.probability(model.matrix(everybody.frame[newest]))
    assert said.mean() == pytest.approx(labels.mean(), rel=0.15)
    top = said >= np.quantile(said, 0.9)
    assert said[top].mean() == pytest.approx(labels[top].mean(), rel=0.25)
    assert log_loss(said, labels).mean() < log_loss(np.full(len(labels), labels.mean()), labels).mean()
    tested = data.labels[found.fitted.split.test].mean()
    assert tested == pytest.approx(labels.mean(), rel=0.35)  # what figures are computed on is a plain sample
    assert "Learned from a sample of" in found.fitted.model.contract.split[0]


@pytest.mark.parametrize(
    ("known", "positives", "most", "dates", "kept"),
    [
        (1_000, 20, 2_000, 5, (1.0, 1.0)),  # few enough
        (100_000, 1_000, 11_000, 5, (1.0, 10_000 / 99_000)),  # every positive
        (100_000, 40_000, 10_000, 5, (5_000 / 40_000, 5_000 / 60_000)),  # half and half
        (100_000, 99_000, 11_000, 5, (10_000 / 99_000, 1.0)),  # the negatives are rarer
        (100_000, 1_000, 10_000, 1, (0.1, 0.1)),  # of a single date every row is tested on
        (0, 0, 10, 1, (1.0, 1.0)),
    ],
)
def test_the_rarer_outcome_is_kept_as_long_as_may_be(known, positives, most, dates, kept):
    found = Sampling.of(known, positives, most, dates)
    assert (found.positives_kept, found.negatives_kept) == pytest.approx(kept)
    assert found.positives_kept * positives + found.negatives_kept * (known - positives) <= most + 1e-6 or known <= most


def test_a_plain_sample_has_both_outcomes_in_one_share_and_the_same_rows_always(everybody):
    data = sampled(everybody, 3_500)
    plain = data.plain
    assert plain[data.labels == 0].all() and 0 < plain[data.labels == 1].sum() < (data.labels == 1).sum()
    assert data.labels[plain].mean() == pytest.approx(everybody.labels.mean(), rel=0.35)
    order = np.random.default_rng(1).permutation(len(plain))
    assert (data.sampling.plain(data.frame.iloc[order], data.labels[order]) == plain[order]).all()


def test_without_a_sample_every_row_counts_and_is_tested_on(everybody):
    assert everybody.plain.all() and (everybody.weights == 1).all()


def test_the_sample_is_on_record_with_the_version(everybody):
    data = sampled(everybody, 3_500)
    kept = Provenance.model_validate_json(provenance(data, 0).model_dump_json())
    assert kept.sampling == data.sampling and kept.engine == "duckdb"
    other = replace(data, sampling=data.sampling.model_copy(update={"negatives_kept": 0.5}))
    assert [line for line in moved(kept, provenance(other, 0)) if "sample" in line]
