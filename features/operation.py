"""How scores are given, in the settings: `[serving]` by the service, `[policy]` to whom at all, `[nightly]` by the batch."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from features.strict import Strict
from features.tables import TABLES

Share = Annotated[float, Field(ge=0, le=1)]


class ServingSettings(Strict):
    """How the service answers."""

    host: str = Field(default="127.0.0.1", description="the address to listen at; `foresell serve --host` goes over it")
    port: int = Field(default=3000, ge=1, le=65535, description="the port to listen at; `foresell serve --port` goes over it")
    workers: int = Field(
        default=1, ge=1, description="processes that answer side by side; `foresell serve --workers` goes over it"
    )
    keys: Literal["required", "off"] = Field(
        default="required", description="`required`: every call needs an API key; `off`: none does, on the loopback only"
    )
    keys_file: str = Field(
        default="data/serving/keys.json", description="where the digests of API keys are kept, relative to the workspace"
    )
    ledger: str = Field(
        default="sqlite",
        description="where stored scores and received records are kept: `sqlite`, or `postgresql://user:${PASSWORD}@host/database`",
    )
    fresh_for_hours: float = Field(
        default=36.0, gt=0, description="features that were known longer ago than this are named as stale"
    )
    store_deadline_ms: int = Field(default=200, ge=10, description="how long a look-up in the online store may take")
    ledger_deadline_ms: int = Field(default=100, ge=10, description="how long a look-up of a stored score may take")
    keep_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="how many days the audit, actions, comparisons with a challenger and scores that no CRM would take are kept; "
        "`foresell score` removes older ones; the last score of each entity stays",
    )
    pin: dict[str, str] = Field(
        default_factory=dict, description='`NAME = "VERSION"`: that version answers for the propensity, whoever is champion'
    )
    canary: dict[str, Share] = Field(
        default_factory=dict,
        description="`NAME = 0.1`: the share of entities that the challenger answers for, the same ones always",
    )
    shadow: tuple[str, ...] = Field(
        default=(),
        description="propensities whose challenger scores the same requests after the answer; `foresell shadow` compares",
    )

    @property
    def fresh_for(self) -> timedelta:
        """`fresh_for_hours`."""
        return timedelta(hours=self.fresh_for_hours)

    @property
    def keep(self) -> timedelta:
        """`keep_days`."""
        return timedelta(days=self.keep_days)

    @property
    def store_deadline(self) -> timedelta:
        """`store_deadline_ms`."""
        return timedelta(milliseconds=self.store_deadline_ms)


class PolicySettings(Strict):
    """Who gets no score, whatever the model says, and who is to be acted on, whatever the score says."""

    holdout: Share = Field(default=0.0, description="the share of entities that is never scored for action, the same ones always")
    exploration: Share = Field(
        default=0.0,
        description="the share of the scored entities that is marked `explore`: to be acted on though the score does not say so; "
        "the same ones for a week, from Monday 00:00 UTC on, then others",
    )
    suppress: dict[Literal["lead", "customer"], tuple[str, ...]] = Field(
        default_factory=dict,
        description="conditions over snapshot columns, such as `customer_consent = 'no'`; who meets one gets no score",
    )


Age = Annotated[str, Field(pattern=r"^[1-9]\d{0,4}[hd]$")]


class NightlySettings(Strict):
    """What a night does with late data, what its scores come with, and how long they are kept."""

    late_after: Age | None = Field(
        default=None, description="how old the newest row of a table may be at the as_of, such as `36h` or `3d`; unset: any age"
    )
    late_after_of: dict[str, Age] = Field(
        default_factory=dict, description='`TABLE = "90d"`: another age, for a table that changes rarely'
    )
    late: Literal["refuse", "score"] = Field(
        default="refuse", description="late or missing data: score nobody, or score with what is there and mark it"
    )
    reasons: bool = Field(
        default=True,
        description="whether the scores of a night, and of `foresell score`, come with reasons; without them it takes a fraction "
        "of the time, and the ledger keeps no features to tell a later change by",
    )
    keep_partitions_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="how many days of scores, receipts and nights' snapshots are kept; the newest scores stay",
    )

    @field_validator("late_after_of")
    @classmethod
    def _of_tables(cls, ages: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(ages) - set(TABLES))
        if unknown:
            raise ValueError(f"names of tables: {', '.join(TABLES)}")
        return ages

    def age(self, table: str) -> timedelta | None:
        """How old the newest row of a table may be; None for any age."""
        text = self.late_after_of.get(table, self.late_after)
        return timedelta(hours=int(text[:-1]) * (24 if text.endswith("d") else 1)) if text else None
