"""How models are watched and made anew, in the settings: `[monitor]` and `[retrain]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from features.strict import Strict

Days = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}d$")]


class MonitorSettings(Strict):
    """What is worth an alarm, and who is told."""

    owners: dict[str, str] = Field(
        default_factory=dict, description='`NAME = "ana@example.com"`: who is written to about a propensity'
    )
    owner: str = Field(default="", description="who is written to about everything that has no owner of its own")
    webhook: str = Field(default="", description="where alarms are posted to as JSON; `${NAME}` is an environment variable")
    smtp: str = Field(
        default="", description="the mail server, such as `smtp://user:${PASSWORD}@mail.example.com:587`; empty: no mail is sent"
    )
    sender: str = Field(default="foresell@localhost", description="whom the mail comes from")
    secret: str = Field(
        default="",
        description="signs what is posted: `X-Foresell-Signature: sha256=...`; `${NAME}` is an environment variable, "
        "`file:/PATH` a file outside the workspace",
    )
    patience_seconds: float = Field(default=20.0, gt=0, description="how long the mail server and the webhook may take to answer")
    least_rows: int = Field(default=500, ge=50, description="of fewer rows than these nothing is called drift")
    psi: float = Field(
        default=0.2, gt=0, description="the PSI of a feature, beyond chance and season, from which on it has drifted"
    )
    settle_days: int = Field(default=30, ge=0, description="how many days after the horizon late outcomes are still looked for")


class RetrainSettings(Strict):
    """When a propensity is trained again without being asked, and how often that may be tried."""

    every: Days | None = Field(default=None, description="how old a champion may become, such as `28d`; unset: any age")
    on_drift: bool = Field(default=True, description="train again when features or the base rate have drifted")
    on_performance: bool = Field(default=True, description="train again when matured outcomes or the estimate say it got worse")
    attempts: int = Field(default=3, ge=1, description="how often it may be tried ...")
    within: Days = Field(default="28d", description="... in so many days")
    rollback: bool = Field(
        default=True,
        description="bring the version before back when the first matured week of a new champion is significantly worse",
    )

    @property
    def window(self) -> timedelta:
        """`within`."""
        return days(self.within)

    @property
    def age(self) -> timedelta | None:
        """`every`."""
        return None if self.every is None else days(self.every)


def days(text: str) -> timedelta:
    """`28d`."""
    return timedelta(days=int(text[:-1]))
