from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.errors import LeakageError
from training.leakage import Attribute, declared_at, findings, require_none

SEGMENT = {"lead_segment": Attribute("leads.segment", "adapter.toml:14")}


def rows(filled_positives: float, filled_negatives: float, *, positives: int = 300, negatives: int = 4_000, seed: int = 0):
    """One column that is filled for these shares of the positives and negatives."""
    random = np.random.default_rng(seed)
    labels = np.array([1] * positives + [0] * negatives, dtype=np.int8)
    share = np.where(labels == 1, filled_positives, filled_negatives)
    values = pd.Series(np.where(random.random(len(labels)) < share, "x", None), dtype=object)
    return pd.DataFrame({"lead_segment": values}), labels


@pytest.mark.parametrize(("positives", "negatives"), [(1.0, 0.03), (0.08, 0.003), (0.0, 0.9), (1.0, 0.0)])
def test_an_attribute_filled_by_the_outcome_is_found(positives, negatives):
    frame, labels = rows(positives, negatives)
    found = findings(frame, labels, ["lead_segment"], SEGMENT)
    assert [finding.feature for finding in found] == ["lead_segment"]
    assert "adapter.toml:14" in found[0].repair
    assert f"{found[0].filled_positives:.1%}" in found[0].sentence


@pytest.mark.parametrize(("positives", "negatives"), [(0.9, 0.9), (0.5, 0.4), (0.3, 0.1), (1.0, 1.0), (0.0, 0.0)])
def test_an_honest_attribute_is_not_condemned(positives, negatives):
    frame, labels = rows(positives, negatives)
    assert findings(frame, labels, ["lead_segment"], SEGMENT) == []


def test_a_handful_of_filled_rows_condemns_nobody():
    frame, labels = rows(0.02, 0.0, positives=200)
    assert findings(frame, labels, ["lead_segment"], SEGMENT) == []


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
    workspace.write_text("\n[attributes.leads.score]\nfixed = true\n")
    files = [adapter, workspace]
    assert declared_at(files, "leads", "segment") == "adapter.toml:5"
    assert declared_at(files, "customers", "segment") == "adapter.toml:2"
    assert declared_at(files, "leads", "score") == "foresell.toml:2"
    assert declared_at(files, "leads", "nowhere") == "adapter.toml"
