"""Planted leaks are found, honest strong features are not condemned: on the sample CRM and on Telco."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import ingest
from features.adapter import ADAPTERS
from features.propensity import load
from features.settings import Settings, Workspace
from tests.training.conftest import QUIET
from tests.training.planted import ATTRIBUTES, careless
from training import dataset
from training.leakage.finding import Finding
from training.leakage.guard import guard

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUSTOMERS = 1_500
PLANTED = {
    "customer_cancel_reason": "fill",
    "customer_refund": "fill",
    "customer_churn_score": "single",
    "customer_care_team": "single",
    "customer_flag_7": "single",
    "customer_last_seen_days": "single",
    "customer_closed_calls": "name",
    "customer_segment": "history",
    "usage_outlook": "single",
    "usage_archive": "single",
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """What the guard finds in the careless sample CRM, by check and place."""
    workspace = careless(tmp_path_factory.mktemp("careless"), NOW, CUSTOMERS)
    question = load(workspace, "churn")
    return {finding.key: finding for finding in guard(workspace, question, dataset.prepare(workspace, question, QUIET))}


@pytest.mark.slow
@pytest.mark.parametrize("feature", PLANTED)
def test_every_planted_leak_is_an_error_that_names_its_line(findings, feature):
    finding = findings[f"{PLANTED[feature]}:{feature}"]
    assert finding.severity == "error"
    assert any(character.isdigit() for character in finding.sentence), "evidence in figures"
    assert ("foresell.toml:" if feature.startswith("usage") else "adapter.toml:") in finding.repair
    assert feature.startswith("usage") or "customers.sql:" in finding.repair


@pytest.mark.slow
def test_events_that_were_entered_afterwards_and_rows_loaded_at_once_are_warned_of(findings):
    backdated = findings["single:unsubscribes_count_365d"]
    assert backdated.severity == "warning", "events may be as strong as that and honest"
    assert backdated.repair.startswith("interactions.sql:")
    assert findings["known_at:cases.known_at"].severity == "warning"


@pytest.mark.slow
def test_no_honest_feature_is_condemned(findings):
    """Neither the sample's own nor ten that are as strong as any honest one can be."""
    errors = {finding.place for finding in findings.values() if finding.severity == "error"}
    assert errors == set(PLANTED)
    assert not any(finding.place.startswith("usage_risk") for finding in findings.values())
    assert len(ATTRIBUTES) + 2 == len(PLANTED)


@pytest.mark.real_data
def test_the_extended_columns_of_telco_are_found(tmp_path: Path, shared_data: Path):
    """As IBM's extended file has them: who left, why, a score made with hindsight, and a value that only sounds like one."""
    [file] = (shared_data / "telco").glob("Telco-Customer-Churn.*")
    telco = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    random, left = np.random.default_rng(0), (telco["Churn"].astype(str).isin(["Yes", "True"])).to_numpy()
    telco["churn_reason"] = np.where(left, random.choice(["price", "competitor", "moved"], len(telco)), None)
    telco["churn_score"] = np.clip(random.normal(np.where(left, 82, 50), 13), 5, 100).round()
    telco["cltv"] = random.normal(4_400 - 250 * left, 1_180).round()
    (tmp_path / "export").mkdir()
    telco.to_csv(tmp_path / "export" / "Telco-Customer-Churn.csv", index=False)
    adapter = tmp_path / "extended"
    shutil.copytree(ADAPTERS / "telco", adapter)
    toml, sql = adapter / "adapter.toml", adapter / "customers.sql"
    toml.write_text(
        toml.read_text().replace(
            "[attributes.customers]\n",
            "[attributes.customers]\nchurn_reason = { fixed = true }\nchurn_score = { type = 'number', fixed = true }\n"
            "cltv = { type = 'number', fixed = true }\n",
        )
    )
    sql.write_text(sql.read_text().replace("    gender,\n", "    gender,\n    churn_reason,\n    churn_score,\n    cltv,\n"))
    workspace = Workspace(tmp_path / "w", Settings(adapter=str(adapter), source=str(tmp_path / "export")))
    ingest.run(workspace, NOW)
    question = load(workspace, "churn")
    findings = guard(workspace, question, dataset.prepare(workspace, question, QUIET))
    serious = [(finding.key, finding.severity) for finding in findings if finding.severity != "note"]
    assert serious == [
        ("fill:customer_churn_reason", "error"),
        ("single:customer_churn_score", "error"),
        ("name:customer_cltv", "warning"),
    ]
    assert all("adapter.toml:" in finding.repair and "customers.sql:" in finding.repair for finding in findings[:3])
