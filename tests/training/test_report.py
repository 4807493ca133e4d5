from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser

import pytest

from tests.training.conftest import ME
from training import registry

ASKED_FOR = {
    "auc", "auc_low", "auc_high", "pr_auc", "log_loss", "brier", "calibration_error", "lift_at_10pct", "rows",
    "positives", "from", "to",
}  # fmt: skip


@pytest.fixture
def stored(trained):
    return registry.report(trained, "churn")


class Balance(HTMLParser):
    """Whether every element that is opened is closed, in order."""

    EMPTY = frozenset({"meta", "br", "img", "link", "input", "hr", "path", "use", "image"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_document_says_what_programs_ask_for(stored):
    document, _ = stored
    assert set(document) >= {"propensity", "version", "champion", "verdict", "gates", "test"}
    assert set(document["test"]) >= ASKED_FOR
    assert document["propensity"] == "churn"
    assert document["version"] == "1"
    assert document["champion"] is None
    assert document["verdict"] == "pass"
    assert document["test"]["auc_low"] <= document["test"]["auc"] <= document["test"]["auc_high"]
    assert document["windows"]["test"]["rows"] == document["test"]["rows"]
    json.dumps(document, allow_nan=False)


def test_the_champion_is_who_serves_now_not_who_served_then(trained):
    registry.promote(trained, "churn", ME)
    assert registry.report(trained, "churn")[0]["champion"] == "1"


def test_the_page_is_complete_in_itself(stored):
    _, page = stored
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(http" not in page


def test_the_page_is_well_formed_and_tells_the_whole_story(stored):
    document, page = stored
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert page.count("<svg") == 8 + len(document["audit"]["insights"])
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert document["question"] in words
    assert "version 1" in words
    gates = [gate["sentence"] for gate in document["gates"]]
    for sentence in (*document["split"]["sentences"], *document["backtest"]["sentences"], *document["limits"], *gates):
        assert sentence in words
    for heading in (
        "Gates",
        "Periods",
        "Candidates",
        "What has moved",
        "Over time",
        "Reliability",
        "Gains",
        "Lift",
        "Figures",
        "What to do with it",
        "Where it is good",
        "Fairness",
        "What it looks at",
        "What each value goes with",
        "Limits",
        "How it was made",
    ):
        assert f">{heading}<" in page
    assert document["data_fingerprint"] in words


def test_the_page_tells_the_audit(stored):
    document, page = stored
    words = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page)))
    for sentence in document["audit"]["decision"]["sentences"]:
        assert sentence in words
    assert {group["attribute"] for group in document["audit"]["groups"]} == {"customer_vat"}
    assert ("customer_kind", "customer_vat") in {(proxy["feature"], proxy["attribute"]) for proxy in document["audit"]["proxies"]}
    assert {part["attribute"] for part in document["audit"]["slices"]} == {"customer_kind"}
    for insight in document["audit"]["insights"]:
        assert f"<h3>{insight['feature']}</h3>" in page
    assert f"{document['test']['chance_calibration_error']:.3f} ± {document['test']['chance_calibration_sd']:.3f}" in words


def test_text_from_a_propensity_file_is_escaped(trained):
    from features.propensity import load
    from tests.training.conftest import NOW, QUIET
    from training.train import train

    question = load(trained, "churn").model_copy(update={"question": "<script>alert(1)</script>"})
    train(trained, question, NOW, QUIET)
    page = registry.report(trained, "churn")[1]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
