"""A workspace in which a person lies in every place, beside somebody whose id begins with theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.settings import SETTINGS_FILE, Workspace
from serving.answer import Call
from serving.connectors.dead_letter import bury
from serving.hooks.call import Call as WebhookCall
from serving.ledger import Compared, Ledger, Letter
from serving.monitor.matured import SCHEMA as MATURED
from serving.office import Office
from serving.reader import Ask
from tests.serving.nightly.conftest import SETTINGS, Nights, nights
from tests.serving.nightly.test_job import night
from tests.serving.shop import NOW

__all__ = ["SETTINGS", "Nights", "nights"]

CUSTOMER, LEAD, LONGER = "C-Zoë/7'x", "L-Zoë 7", "C-Zoë/7'x0"  # whoever is forgotten, and whose id begins so
CALL = Call("request", None, "http")
FURTHER = """
[serving]
keys = "off"
ledger = "LEDGER"
shadow = ["churn"]
[hooks.crm]
entity = "customer"
id = "customer_id"
[write_back.files]
to = "files"
entity = "customer"
path = "handed/over"
[write_back.lists]
to = "files"
entity = "customer"
path = "handed/lists"
format = "csv"
"""


def fill(nights: Nights, root: Path, ledger: str = "sqlite", project: str = "night", **settings: Any) -> Workspace:
    """A workspace after a night, requests, webhooks and targets, with the person in every place."""
    workspace = nights(root, **settings)
    _rename(workspace.source)
    path = root / SETTINGS_FILE
    text = path.read_text(encoding="utf-8").replace('"night"', f'"{project}"')
    path.write_text(text + FURTHER.replace("LEDGER", ledger), encoding="utf-8")
    workspace = Workspace.open(root)
    ended = night(workspace)
    assert ended.exit_code == 0, ended.failures
    with office(workspace) as opened:
        opened.answer(["churn"], [Ask(CUSTOMER), Ask(LONGER)], NOW, CALL)
        opened.answer(["lead-conversion"], [Ask(LEAD)], NOW, CALL)
        opened.receive("crm", "call", None, webhook(CUSTOMER), NOW)
    _papers(workspace)
    return workspace


@contextmanager
def office(workspace: Workspace) -> Iterator[Office]:
    opened = Office(workspace)
    try:
        yield opened
    finally:
        opened.stop()


def webhook(entity_id: str) -> WebhookCall:
    body = json.dumps({"customer_id": entity_id}).encode()
    return WebhookCall("POST", "http://localhost/v1/hooks/crm", httpx.Headers(), body)


def _rename(export: Path) -> None:
    """Two customers get ids of which one begins with the other, a lead is linked to the first, and has odd letters, too."""
    names = {"C0012": CUSTOMER, "C0014": LONGER, "L0012": LEAD}
    for file in export.glob("*.parquet"):
        frame = pd.read_parquet(file)
        keys = [key for key in ("customer_id", "lead_id") if key in frame]
        frame[keys] = frame[keys].replace(names)
        if file.stem == "leads":
            frame["customer_id"] = frame["lead_id"].map({LEAD: CUSTOMER})
        frame.to_parquet(file, index=False)


def _papers(workspace: Workspace) -> None:
    """What a rejecting target, a challenger, a sender that waits, monitoring and a broken check leave."""
    later = datetime.now(UTC) - timedelta(minutes=1)
    with closing(Ledger.open(workspace)) as ledger:
        ledger.keep_shadow([Compared(NOW, "churn", one, "1", 0.5, "2", 0.6) for one in (CUSTOMER, LONGER)])
        ledger.send_later(
            [Letter(f"{one}/churn", "crm", "customer", one, "churn", b'{"entity_id": "x"}') for one in (CUSTOMER, LONGER)], later
        )
        ledger.settle("files", "churn", [CUSTOMER, LONGER], "rejected", later, {CUSTOMER: f"no {CUSTOMER}", LONGER: "no"})
        bury(workspace, "files", ledger)
    folder = workspace.watch / "matured" / "propensity=churn" / "week=2018-05-14"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"entity_id": one, "scored_at": NOW, "road": "http", "probability": 0.5, "label": 0} for one in (CUSTOMER, LONGER)]
    pq.write_table(pa.Table.from_pylist(rows, MATURED), folder / "part-0.parquet")
    workspace.monitor.mkdir(exist_ok=True)
    (workspace.monitor / "churn.html").write_text(f"<p>worst: C-Zoë/7&#x27;x, and {LONGER}</p>", encoding="utf-8")
    (workspace.monitor / "other.html").write_text(f"<p>worst: {LONGER}</p>", encoding="utf-8")
    (workspace.root / "data" / "serve.log").write_text(f"one\n{json.dumps({'id': CUSTOMER})}\nthree\n", encoding="utf-8")
    (workspace.quality / "example.json").write_text(json.dumps({"examples": [{"customer_id": CUSTOMER}]}), encoding="utf-8")
