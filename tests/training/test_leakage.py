from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from features.errors import LeakageError
from training.leakage import Attribute, declared_at, findings, require_none

SEGMENT = {"lead_segment": Attribute("leads.segment", "adapter.toml:14")}


def rows(filled_positives: float, filled_negatives: float, *, positives: int = 300, negatives: int = 4_000, seed: int = 0):
    """One column that is filled for these shares of the positives and negatives."""
    random = np.random.default_rng(seed)
    labels = np.array([1] * positives + [0] * negatives, dtype=np.int8)
    share = np.where(labels == 1, filled_positives, filled_negatives)
    values = pd.Series(np.where(random.random(len(labels)) < share, "x", None), dtype=object)
    return pd.DataFrame({"entity_id": [f"L{n}" for n in range(len(labels))], "lead_segment": values}), labels


@pytest.mark.parametrize(("positives", "negatives"), [(1.0, 0.03), (0.08, 0.003), (0.0, 0.9), (1.0, 0.0)])
def test_an_attribute_filled_by_the_outcome_is_found(positives, negatives):
    frame, labels = rows(positives, negatives)
    found = findings(frame, labels, ["lead_segment"], SEGMENT)
    assert [finding.feature for finding in found] == ["lead_segment"]
    assert "adapter.toml:14" in found[0].repair
    assert "lead_segment is filled for" in found[0].sentence


@pytest.mark.parametrize(("positives", "negatives"), [(0.9, 0.9), (0.5, 0.4), (0.3, 0.1), (1.0, 1.0), (0.0, 0.0)])
def test_an_honest_attribute_is_not_condemned(positives, negatives):
    frame, labels = rows(positives, negatives)
    assert findings(frame, labels, ["lead_segment"], SEGMENT) == []


def test_a_handful_of_filled_rows_condemns_nobody():
    frame, labels = rows(0.02, 0.0, positives=200)
    assert findings(frame, labels, ["lead_segment"], SEGMENT) == []


def valued(values: np.ndarray, labels: np.ndarray, rows_per_entity: int = 1) -> pd.DataFrame:
    entities = [f"L{n // rows_per_entity}" for n in range(len(labels))]
    return pd.DataFrame({"entity_id": entities, "lead_segment": pd.Series(values)})


def outcomes(rows: int = 2_000, rate: float = 0.1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(rows) < rate).astype(np.int8)


LABELS = outcomes()
NOISE = np.random.default_rng(1).normal(0, 1, len(LABELS))


@pytest.mark.parametrize(
    "values",
    [
        LABELS.astype(float),
        1.0 - LABELS,
        np.where(LABELS == 1, 2.0, np.random.default_rng(2).choice([1.0, 3.0], len(LABELS))),
        np.where(LABELS == 1, "won", "lost").astype(object),
        np.where(np.random.default_rng(3).random(len(LABELS)) < 0.6, None, np.where(LABELS == 1, "won", "lost")),
        -3.0 * LABELS + NOISE,
    ],
    ids=["label", "reversed", "code without order", "category", "filled for some", "number"],
)
def test_an_attribute_whose_value_tells_the_outcome_is_found_though_filled_alike(values):
    [found] = findings(valued(values, LABELS), LABELS, ["lead_segment"], SEGMENT)
    assert "lead_segment alone tells the outcome: AUC" in found.sentence
    assert "adapter.toml:14" in found.repair
    assert findings(valued(values, LABELS), LABELS, ["lead_segment"], {}) == [], "events carry their own time"


def test_a_strong_honest_attribute_is_not_condemned():
    strong = 1.3 * LABELS + NOISE
    assert 0.78 < roc_auc_score(LABELS, strong) < 0.83
    for values in (strong, np.where(strong > 1, "big", "small").astype(object)):
        assert findings(valued(values, LABELS), LABELS, ["lead_segment"], SEGMENT) == []


def test_many_categories_condemn_nobody():
    """Each entity has a category of its own and one outcome in all its rows: seen in the fit, that would rank perfectly."""
    labels = np.repeat(outcomes(500), 4)
    own = np.repeat([f"street {n}" for n in range(500)], 4).astype(object)
    assert findings(valued(own, labels, rows_per_entity=4), labels, ["lead_segment"], SEGMENT) == []


def test_perfection_on_a_few_rows_may_be_chance():
    labels = np.array([1] * 5 + [0] * 30, dtype=np.int8)
    assert findings(valued(labels.astype(float), labels), labels, ["lead_segment"], SEGMENT) == []


def test_what_was_computed_elsewhere_is_mended_elsewhere():
    usage = {"lead_segment": Attribute("usage.logins", "foresell.toml:9", external=True)}
    [found] = findings(valued(LABELS.astype(float), LABELS), LABELS, ["lead_segment"], usage)
    assert found.repair.startswith("foresell.toml:9: `usage.logins`")
    assert "where it is computed" in found.repair and "attribute_history" not in found.repair


def test_an_event_feature_may_be_filled_mostly_for_one_outcome():
    """Only customers who bought lately have a mean basket of the last 30 days: strong and honest."""
    frame, labels = rows(0.04, 0.5)
    assert findings(frame, labels, ["lead_segment"], {}) == []
    frame, labels = rows(0.95, 0.1)
    assert findings(frame, labels, ["lead_segment"], {})[0].repair.startswith("give the rows behind lead_segment a `known_at`")


def test_findings_stop_the_training_with_evidence_and_repair():
    frame, labels = rows(1.0, 0.03)
    with pytest.raises(LeakageError) as caught:
        require_none(findings(frame, labels, ["lead_segment"], SEGMENT), "lead-conversion")
    assert "lead_segment is filled for 100.0% of the rows with the outcome" in caught.value.received
    assert "adapter.toml:14: `leads.segment` is not fixed at creation" in caught.value.repair
    require_none([], "lead-conversion")


def test_the_line_of_a_declaration_is_found_in_either_form(tmp_path):
    adapter, workspace = tmp_path / "adapter.toml", tmp_path / "foresell.toml"
    adapter.write_text("[attributes.customers]\nsegment = {}\n[attributes.leads]\norigin = { fixed = true }\nsegment = {}\n")
    workspace.write_text(
        "\n[attributes.leads.score]\nfixed = true\n[external.usage]\npath = 'x'\n[external.usage.columns]\nlogins = {}\n"
    )
    files = [adapter, workspace]
    assert declared_at(files, "attributes.leads", "segment") == "adapter.toml:5"
    assert declared_at(files, "attributes.customers", "segment") == "adapter.toml:2"
    assert declared_at(files, "attributes.leads", "score") == "foresell.toml:2"
    assert declared_at(files, "external.usage.columns", "logins") == "foresell.toml:7"
    assert declared_at(files, "attributes.leads", "nowhere") == "adapter.toml"
