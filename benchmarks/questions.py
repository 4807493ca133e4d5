"""The questions that contenders are compared on: one for each outcome in a folder of real data sets.

Those of a CRM go through a workspace (init, ingest, snapshot, dataset), as a user's would. The others are tables that somebody
made for one question; they are read as they are, less what gives the answer away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from features import ingest, tour
from features.console import progress
from features.propensity import Outcome, Propensity, load
from features.settings import Workspace
from training.dataset import Dataset, fingerprint, prepare, typed_column

BATCHES = 20
REDEEMED_WITHIN, WON_WITHIN = timedelta(days=45), timedelta(days=90)
BANK_LEAK = "duration"  # of the call: known only when its outcome is
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Question:
    """One question on real data.

    Attributes:
        name: of the question.
        propensity: its horizon is the gap; a table that needs no workspace has one that only says so much.
        data: one row per entity and as_of.
        protocol: what as_of, horizon and outcome are, for the reader.
        quotable: False where the data are of the right shape, and their figures mean nothing.
    """

    name: str
    propensity: Propensity
    data: Dataset
    protocol: str
    quotable: bool = True


def from_workspace(adapter: str, propensity: str, data: Path, scratch: Path) -> Question:
    """A shipped propensity of a shipped adapter.

    Args:
        adapter: of that name, as is the folder of its export.
        propensity: its name.
        data: the folder of data sets.
        scratch: where the workspace is made, or was made for another propensity.
    """
    root = scratch / adapter
    if not root.exists():
        root.mkdir()
        tour.init(root, adapter, data / adapter)
        ingest.run(Workspace.open(root), datetime.now(UTC))
    workspace = Workspace.open(root)
    asked = load(workspace, propensity)
    return Question(
        f"{root.name}-{propensity}", asked, prepare(workspace, asked, progress), f"{asked.question} From a workspace."
    )


def bank_by_rows(data: Path, scratch: Path) -> Question:
    """Bank Marketing, tested on the newest fifth of its rows."""
    frame = bank(data)
    day = frame.pop("day_called")
    before = np.arange(len(frame)) - frame.groupby(day).cumcount()  # rows of earlier days: a day is not torn apart
    batch = before * BATCHES // len(frame)
    frame["as_of"] = day.groupby(batch).transform("min").dt.tz_localize("UTC")
    protocol = (
        "Does the call sell a deposit? Twenty batches of consecutive days with about as many rows each; as_of is the first day "
        f"of a row's batch; the outcome is known at the end of the call. Without `{BANK_LEAK}`."
    )
    return _of_frame("bank-newest-fifth-of-rows", timedelta(days=1), frame, protocol)


def bank_by_months(data: Path, scratch: Path) -> Question:
    """Bank Marketing, tested on the newest fifth of its months."""
    frame = bank(data)
    frame["as_of"] = frame.pop("day_called").dt.to_period("M").dt.to_timestamp().dt.tz_localize("UTC")
    protocol = (
        f"Does the call sell a deposit? as_of is the first of a row's month; the outcome is known before the next month. "
        f"Without `{BANK_LEAK}`."
    )
    return _of_frame("bank-newest-fifth-of-months", timedelta(days=28), frame, protocol)


def bank(data: Path) -> pd.DataFrame:
    """Bank Marketing, one row per client called: `label`, `day_called`, and what was known before the call.

    The year is not recorded; rows are in time order, so that each fall of the month begins a new one.
    """
    frame = pd.read_csv(data / "bank_marketing" / "bank-full.csv")
    month = frame["month"].map({name: number for number, name in enumerate(MONTHS, 1)})
    year = 2008 + (month.diff() < 0).cumsum()
    label = (frame["y"] == "yes").astype(np.int8)
    called = pd.to_datetime({"year": year, "month": month, "day": frame["day"]})
    known = frame.drop(columns=["y", BANK_LEAK])
    return known.assign(label=label, day_called=called, entity_id=[f"row {number}" for number in range(len(frame))])


def complete_journey(data: Path, scratch: Path) -> Question:
    """Complete Journey: does a household redeem a coupon of a campaign that it is sent?"""
    statement = (Path(__file__).parent / "complete_journey.sql").read_text(encoding="utf-8")
    with duckdb.connect() as connection:
        filled = statement.format(data=data / "complete_journey", days=REDEEMED_WITHIN.days)
        frame = connection.execute(filled).df()
    frame["as_of"] = frame["as_of"].dt.tz_localize("UTC")
    protocol = (
        f"Does this household redeem a coupon of this campaign within {REDEEMED_WITHIN.days} days? as_of is the campaign's first "
        "day; features are of purchases, campaigns and redemptions before it."
    )
    return _of_frame("complete-journey", REDEEMED_WITHIN, frame, protocol)


def maven(data: Path, scratch: Path) -> Question:
    """Maven's fictitious pipeline: is an opportunity won within so many days of its first engagement?"""
    folder = data / "maven_crm"
    deals = pd.read_csv(folder / "sales_pipeline.csv", parse_dates=["engage_date", "close_date"]).dropna(subset="engage_date")
    deals["product"] = deals["product"].replace("GTXPro", "GTX Pro")
    frame = (
        deals.merge(pd.read_csv(folder / "products.csv"), how="left", on="product")
        .merge(pd.read_csv(folder / "accounts.csv"), how="left", on="account")
        .merge(pd.read_csv(folder / "sales_teams.csv"), how="left", on="sales_agent")
    )
    frame = frame[frame["engage_date"] + WON_WITHIN <= pd.Timestamp("2018-01-01")].sort_values("engage_date", kind="stable")
    won = (frame["deal_stage"] == "Won") & (frame["close_date"] < frame["engage_date"] + WON_WITHIN)
    frame = frame.assign(label=won.astype(np.int8), as_of=frame["engage_date"].dt.tz_localize("UTC"))
    later = ["deal_stage", "engage_date", "close_date", "close_value", "subsidiary_of"]
    known = frame.rename(columns={"opportunity_id": "entity_id"}).drop(columns=later)
    protocol = f"Is this opportunity won within {WON_WITHIN.days} days? as_of is its first engagement. Made-up data."
    return _of_frame("maven-crm", WON_WITHIN, known, protocol, quotable=False)


Make = Callable[[Path, Path], Question]
QUESTIONS: dict[str, Make] = {
    "olist-lead-conversion": partial(from_workspace, "olist", "lead-conversion"),
    "olist-churn": partial(from_workspace, "olist", "churn"),
    "olist-upsell": partial(from_workspace, "olist", "upsell"),
    "online_retail-churn": partial(from_workspace, "online_retail", "churn"),
    "telco-churn": partial(from_workspace, "telco", "churn"),
    "bank-newest-fifth-of-rows": bank_by_rows,
    "bank-newest-fifth-of-months": bank_by_months,
    "complete-journey": complete_journey,
    "maven-crm": maven,
}


def _of_frame(name: str, horizon: timedelta, frame: pd.DataFrame, protocol: str, quotable: bool = True) -> Question:
    """A question on a table with `entity_id`, `as_of`, `label` and features, in the order of time."""
    keys = frame[["entity_id", "as_of", "label"]].reset_index(drop=True)
    keys["as_of"] = keys["as_of"].astype("datetime64[us, UTC]")
    given = frame.drop(columns=keys.columns).reset_index(drop=True)
    dtypes = {column: "number" if pd.api.types.is_numeric_dtype(given[column]) else "category" for column in given}
    typed = {column: typed_column(given[column], dtype) for column, dtype in dtypes.items()}
    whole = pd.concat([keys, pd.DataFrame(typed)], axis=1)
    propensity = Propensity(name=name, question=protocol, entity="lead", horizon=horizon, outcome=Outcome(table="leads"))
    return Question(name, propensity, Dataset(whole, dtypes, (), {}, fingerprint(whole)), protocol, quotable)
