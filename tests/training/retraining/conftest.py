"""A shop whose champion learned in October, when it is New Year: there is something new to learn from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from features import matured_file, snapshot, store
from features.cohort import cohort
from features.finding import Finding, Health, Kind, Severity, Subject, write_health
from features.propensity import load
from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.monitor.matured import SCHEMA
from tests.training.conftest import QUIET, copied, deliver
from training import registry
from training.label import labels
from training.registry import Signature
from training.rival import said
from training.train import train

OCTOBER = datetime(2023, 10, 15, tzinfo=UTC)
NIGHT = datetime(2023, 11, 6, tzinfo=UTC)  # a Monday; its outcomes are known a month later
ANNA = Signature("anna", OCTOBER)


@pytest.fixture(scope="session")
def october(make_shop: Callable[..., Workspace]) -> Workspace:
    """Champion 1 learned from what was known in October; only read it."""
    workspace = make_shop(until=OCTOBER)
    train(workspace, load(workspace, "churn"), OCTOBER, QUIET)
    registry.promote(workspace, "churn", ANNA, reason="it is the first one")
    deliver(workspace.root)
    return workspace


@pytest.fixture
def shop(october: Workspace, tmp_path: Path) -> Workspace:
    return copied(october, tmp_path / "shop")


@pytest.fixture(scope="session")
def refused(october: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Performance was lost, and retraining refused version 2, of one feature that says little; only read it."""
    workspace = copied(october, tmp_path_factory.mktemp("refused") / "shop")
    narrow(workspace)
    say(workspace, alarm("performance", "model", "AUC fell to 0.60."))
    (workspace.root / "told.txt").write_text(call(workspace, "churn").stderr)
    return workspace


def call(workspace: Workspace, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["retrain", *words, "--workspace", str(workspace.root)])
    assert done.exit_code == code, done.output
    return done


def told(workspace: Workspace, *words: str) -> dict:
    """What `foresell retrain churn --json` says of it."""
    [one] = json.loads(call(workspace, "churn", "--json", *words).stdout)["retrained"]
    return one


def set_keys(workspace: Workspace, keys: str) -> Workspace:
    path = workspace.root / SETTINGS_FILE
    path.write_text(f"{path.read_text()}\n[retrain]\n{keys}\n")
    return Workspace.open(workspace.root)


def alarm(kind: Kind, subject: Subject, sentence: str, severity: Severity = "alarm") -> Finding:
    return Finding(kind=kind, subject=subject, severity=severity, where="orders", propensities=("churn",), sentence=sentence)


def say(workspace: Workspace, *findings: Finding, version: str = "1", until: datetime | None = None) -> None:
    """Let monitoring have said so."""
    as_of = datetime(2024, 1, 1, tzinfo=UTC)
    write_health(workspace, Health(propensity="churn", as_of=as_of, version=version, matured_until=until, findings=findings))


def narrow(workspace: Workspace) -> None:
    """Leave the next model one feature to learn from, which says little."""
    path = workspace.root / "propensities" / "churn.toml"
    path.write_text(
        re.sub(r"\[outcome\]", '[features]\ncustomer_orders = ["orders_amount_max_365d"]\n[outcome]', path.read_text())
    )


def mature(
    workspace: Workspace,
    version: str,
    nights: list[datetime],
    by: str | None = None,
    rows: int | None = None,
    road: str = "batch",
) -> None:
    """What version `by` says of everybody at these instants, under the name of a version, with what happened.

    Args:
        workspace: a shop.
        version: whose name they bear.
        nights: as_ofs.
        by: which version says it; None: the same.
        rows: of each night only so many.
        road: on which it was said.
    """
    propensity, model = load(workspace, "churn"), registry.load(workspace, "churn", by or version).model
    snapshot.build(workspace, nights, entities=["customer"])
    store.apply(workspace)
    for night in nights:
        people = cohort(workspace, propensity, [night]).head(rows) if rows else cohort(workspace, propensity, [night])
        frame = pd.DataFrame(
            {
                "entity_id": people["entity_id"],
                "scored_at": people["as_of"],
                "road": road,
                "model_version": version,
                "probability": said(workspace, "customer", model, people),
                "score": 50,
                "label": labels(workspace, propensity, people),
            }
        )
        monday = night - timedelta(days=night.weekday())
        path = matured_file.folder(workspace, "churn") / f"week={monday:%Y-%m-%d}" / f"part-{night:%d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), path)
