"""A sample CRM with a careless adapter: columns that were filled in once the outcome was known, beside honest ones as strong."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from features import ingest
from features.adapter import ADAPTERS
from features.sample.crm import Sample, make
from features.settings import SETTINGS_FILE, Workspace

ATTRIBUTES = {
    "cancel_reason": "category", "refund": "number", "churn_score": "number", "care_team": "category", "flag_7": "integer",
    "last_seen": "timestamp", "closed_calls": "number", "segment": "category",
}  # fmt: skip
USAGE = ("outlook", "archive", *(f"risk_{number}" for number in range(10)))
SETTINGS = """
adapter = "careless"
source = "export"
now = "{now}"
[external.usage]
entity = "customer"
path = "usage.parquet"
id = "customer"
timestamp = "computed"
[external.usage.columns]
"""


def careless(root: Path, now: datetime, customers: int) -> Workspace:
    """A workspace over the sample CRM, ingested, with the leaks of this module in it."""
    sample = make(root / "export", now=now, customers=customers)
    random = np.random.default_rng(0)
    lost = _lost(sample)
    _contacts(sample, lost, now, random)
    _backdated(sample, lost, random)
    _usage(sample, lost, random).to_parquet(root / "usage.parquet")
    _adapter(root / "careless", now)
    columns = "".join(f'{name} = {{ type = "number" }}\n' for name in USAGE)
    (root / SETTINGS_FILE).write_text(SETTINGS.format(now=now.date()) + columns)
    workspace = Workspace.open(root)
    ingest.run(workspace, now)
    return workspace


def _lost(sample: Sample) -> pd.Series:
    """When each customer who has no contract any more gave up the last one, by number."""
    contracts = pd.read_csv(sample.export / "contracts.csv", parse_dates=["end", "changed"])
    newest = contracts.sort_values("changed").groupby("contract").tail(1)
    running = newest.loc[newest["end"].isna(), "customer_no"]
    ended = newest[newest["end"].notna() & ~newest["customer_no"].isin(running)]
    return ended.groupby("customer_no")["end"].max()


def _contacts(sample: Sample, lost: pd.Series, now: datetime, random: np.random.Generator) -> None:
    """What somebody wrote into the customer's record after the customer had left."""
    contacts = pd.read_csv(sample.export / "contacts.csv")
    people = pd.DataFrame({"customer_no": contacts["customer_no"].unique()})
    gone = people["customer_no"].isin(lost.index).to_numpy()
    size, chance = len(people), random.random
    today = pd.Timestamp(now).tz_localize(None)
    people["cancel_reason"] = np.where(gone, random.choice(["price", "moved", "service"], size), None)
    people["refund"] = np.where(chance(size) < np.where(gone, 0.4, 0.02), random.gamma(2, 20, size).round(2), np.nan)
    people["churn_score"] = (2.5 * gone + random.normal(0, 1, size)).round(3)
    people["care_team"] = np.where(chance(size) < np.where(gone, 0.95, 0.02), "blue", random.choice(["red", "green"], size))
    people["flag_7"] = (gone ^ (chance(size) < 0.03)).astype(int)
    people["last_seen"] = people["customer_no"].map(lost).fillna(today - pd.Timedelta(hours=5))
    people["closed_calls"] = (1.3 * gone + random.normal(0, 1, size)).round(3)
    people["segment"] = people["customer_no"].map(_newest_segment(sample))
    contacts.merge(people, on="customer_no", how="left").to_csv(sample.export / "contacts.csv", index=False)


def _newest_segment(sample: Sample) -> pd.Series:
    history = pd.read_csv(sample.export / "field_history.csv", parse_dates=["since"])
    segments = history[(history["object"] == "customer") & (history["field"] == "segment")]
    return segments.sort_values("since").groupby("number")["value"].last()


def _backdated(sample: Sample, lost: pd.Series, random: np.random.Generator) -> None:
    """A newsletter cancelled by nearly all who left, entered afterwards under a date long before."""
    path = sample.export / "activities.parquet"
    activities = pd.read_parquet(path).astype({"lead_no": "Int64", "customer_no": "Int64"})
    chosen = lost[random.random(len(lost)) < 0.97]
    day = (chosen - pd.Timedelta(days=95)).to_numpy()
    planted = pd.DataFrame(
        {
            "activity_no": activities["activity_no"].max() + 1 + np.arange(len(chosen)),
            "customer_no": chosen.index, "occurred": day, "logged": day,
            "channel": "email", "kind": "unsubscribe", "direction": "inbound",
        }
    )  # fmt: skip
    every = [
        activities[activities["kind"] != "unsubscribe"],
        planted.reindex(columns=activities.columns).astype(activities.dtypes),
    ]
    pd.concat(every).to_parquet(path, index=False)


def _usage(sample: Sample, lost: pd.Series, random: np.random.Generator) -> pd.DataFrame:
    """A table computed elsewhere, at every as_of: an outlook with hindsight, an archive of who left, and ten honest risks.

    The honest ones are the true probability of leaving, given all that had happened by then, seen ever less sharply: nothing
    honest can be stronger.
    """
    true = pd.read_parquet(sample.truth / "churn.parquet")
    end = true["entity_id"].str[1:].astype(int).map(lost)
    ahead = (end - true["as_of"].dt.tz_localize(None)) / pd.Timedelta(days=1)
    log_odds = np.log(true["probability"] / (1 - true["probability"]))
    noise = {f"risk_{number}": log_odds + 0.15 * number * random.normal(0, 1, len(true)) for number in range(10)}
    return pd.DataFrame(
        {
            "customer": true["entity_id"],
            "computed": true["as_of"] - pd.Timedelta(days=1),
            "outlook": 3.0 * ahead.between(0, 90) + random.normal(0, 1, len(true)),
            "archive": end.notna().astype(float),
            **noise,
        }
    )


def _adapter(folder: Path, now: datetime) -> None:
    """The sample's adapter, with those columns declared fixed, and cases that are known since the last load only."""
    shutil.copytree(ADAPTERS / "sample", folder)
    declared = "".join(f'{name} = {{ type = "{kind}", fixed = true }}\n' for name, kind in ATTRIBUTES.items())
    file = folder / "adapter.toml"
    own = file.read_text().replace('segment = { meaning = "the marketing segment" }\n', "")
    file.write_text(own.replace("[attributes.customers]\n", f"[attributes.customers]\n{declared}"))
    customers, cases = folder / "customers.sql", folder / "cases.sql"
    selected = "".join(f"    {name},\n" for name in ATTRIBUTES)
    customers.write_text(customers.read_text().replace("    payment_method,\n", f"    payment_method,\n{selected}"))
    cases.write_text(cases.read_text().replace("logged as known_at", f"timestamp '{now.date()}' - interval 1 day as known_at"))
