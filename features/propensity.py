"""A propensity: one question, one TOML file.

Files are looked for in the workspace's `propensities/`, then in the adapter's, then in this package's; the first one found
under a name is the propensity of that name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from features.adapter import adapter_folder
from features.condition import Condition
from features.errors import CallError, PropensityError
from features.settings import Settings, Workspace, parse_instant, read_toml
from features.strict import Strict

SHIPPED = Path(__file__).parent / "propensities"
TAKEN = ("actions", "scores")
GRID_ORIGIN = parse_instant("2018-01-01")  # a Monday
_DAYS = re.compile(r"^(\d+)d$")
_WAIVER = re.compile(r"^[a-z_]+:\S+$")
_THRESHOLD = re.compile(r"^\s*(?P<times>\d+(?:\.\d+)?)\s*(?:\*\s*(?P<column>[a-z_][a-z0-9_]*))?\s*$")


class Outcome(Strict):
    """What is foreseen, in one of three forms.

    * `table` and `at`: a row of the table whose `at` falls into the horizon.
    * `absent`: no row of the table in the horizon (churn without a contract).
    * `table`, `sum` and `at_least`: the sum of a column over the horizon reaches `number` or `number * snapshot_column`.
    """

    table: str | None = Field(default=None, description="the table in which the outcome is found")
    at: str | None = Field(default=None, description="the time column that must fall into the horizon; default: the table's time")
    absent: str | None = Field(
        default=None, description="the table in which nothing happens within the horizon, instead of `table`"
    )
    sum: str | None = Field(default=None, description="the column that is summed over the horizon")
    at_least: str | None = Field(default=None, description="what the sum must reach: a number, or `1.5 * snapshot_column`")
    where: tuple[str, ...] = Field(default=(), description="conditions on the table's rows")

    @field_validator("where")
    @classmethod
    def _parse_where(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(conditions)

    @model_validator(mode="after")
    def _one_form(self) -> Outcome:
        if (self.table is None) == (self.absent is None):
            raise ValueError("exactly one of `table` and `absent`")
        if (self.sum is None) != (self.at_least is None):
            raise ValueError("`sum` and `at_least` together, or neither")
        if self.absent and (self.sum or self.at):
            raise ValueError("`absent` stands alone")
        if self.at_least is not None and _THRESHOLD.match(self.at_least) is None:
            raise ValueError("`at_least` as `1.5 * column` or a number")
        return self

    @property
    def source(self) -> str:
        """The table in which the outcome is found."""
        return self.table or self.absent or ""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(Condition.parse(text) for text in self.where)

    @property
    def threshold(self) -> tuple[float, str | None]:
        """`at_least` as (factor, snapshot column or None).

        Raises:
            ValueError: the outcome has no `at_least`.
        """
        match = _THRESHOLD.match(self.at_least or "")
        if match is None:
            raise ValueError("this outcome has no threshold")
        return float(match["times"]), match["column"]


class Value(Strict):
    """What one positive outcome is worth, from a snapshot column or the same for everyone, and what acting on it takes."""

    column: str | None = Field(default=None, description="the snapshot column that holds the worth of one outcome")
    amount: float | None = Field(
        default=None, gt=0, description="the worth of one outcome, the same for everyone; instead of `column`"
    )
    times: float = Field(default=1.0, gt=0, description="a factor on `column`, such as 12 for a year of months")
    cost: float = Field(default=0.0, ge=0, description="what one contact costs, in the unit of the worth")
    success: float = Field(default=1.0, gt=0, le=1, description="the share of contacted positives that the contact wins or saves")
    capacity_per_day: float | None = Field(
        default=None, gt=0, description="contacts that can be made a day; unset: as many as pay"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Value:
        if (self.column is None) == (self.amount is None):
            raise ValueError("exactly one of `column` and `amount`")
        if self.amount is not None and self.times != 1:
            raise ValueError("`times` with `column` only")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The snapshot columns that `worth` reads."""
        return () if self.column is None else (self.column,)

    def worth(self, row: Mapping[str, object]) -> float | None:
        """What one positive outcome of a row is worth; None where its column holds no number."""
        if self.column is None:
            return self.amount
        known = row[self.column]
        return None if not isinstance(known, int | float) or math.isnan(known) else known * self.times


class Gates(Strict):
    """What a model must reach out of time before it may serve."""

    min_positives: int = Field(default=50, description="positive labels in the test period, at least")
    min_auc: float = Field(default=0.5, description="ROC AUC in the test period, at least")
    lift_at_10pct: float = Field(default=1.0, description="lift of the highest tenth in the test period, at least")
    max_calibration_error: float = Field(default=0.1, description="expected calibration error in the test period, at most")
    better_than_rule: bool = Field(default=True, description="not worse than the best simple rule on the same test rows")
    no_slice_collapsed: bool = Field(
        default=True, description="no slice of a declared attribute in which ranking or calibration breaks down"
    )
    not_worse_than_champion: bool = Field(default=True, description="not worse than the champion on the same test rows")


class Choice(Strict):
    """Which candidate is taken when the backtest cannot tell it from the best."""

    not_separable: Literal["simplest", "best"] = Field(
        default="simplest",
        description="of candidates that the backtest cannot tell from the best, take the `simplest` or the `best`",
    )
    drifting: Literal["keep", "backtest"] = Field(
        default="keep",
        description="features that tell new rows from old ones: `keep` them, or leave them out where the `backtest` gains by it",
    )


class Tuning(Strict):
    """How long LightGBM's parameters are searched before they compete as a candidate; without a budget they are not."""

    trials: int = Field(
        default=0, ge=0, description="trials in all, those of an interrupted search counted; 0: as many as time allows"
    )
    minutes: float = Field(default=0.0, ge=0, description="minutes of one training; 0: as long as the trials take")

    @property
    def wanted(self) -> bool:
        return bool(self.trials or self.minutes)


class Grades(Strict):
    """The percentile from which on a grade is given; below C it is D."""

    A: float = Field(default=0.90, description="the percentile from which on the grade is A")
    B: float = Field(default=0.70, description="the percentile from which on the grade is B")
    C: float = Field(default=0.40, description="the percentile from which on the grade is C")

    @model_validator(mode="after")
    def _ordered(self) -> Grades:
        if not 1 > self.A > self.B > self.C > 0:
            raise ValueError("1 > A > B > C > 0")
        return self


class Phrases(Strict):
    """What a rep would say about a feature's value."""

    high: str = Field(default="", description="what a rep would say when the value is high")
    low: str = Field(default="", description="what a rep would say when the value is low")


class Propensity(Strict):
    """One propensity file, parsed. `name` is the file's name without `.toml` and the last part of its URL."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="not written: it is the file's name")
    question: str = Field(description="the question, in one sentence")
    entity: Literal["lead", "customer"] = Field(description="who is scored")
    wanted: bool | None = Field(
        default=None,
        description="whether acting is to win the outcome (a sale) or to prevent it (churn), so that it can be told whether "
        "acting was worth it; unset: `false` for an outcome that is `absent`, `true` for any other",
    )
    horizon: timedelta = Field(description='how far ahead the outcome is looked for, such as "90d"')
    lead_time: timedelta = Field(
        default=timedelta(0), description="a blackout between the score and the first outcome that counts"
    )
    every: timedelta = Field(default=timedelta(days=28), description="the step of the grid of as_of that training uses")
    first_as_of: datetime | None = Field(default=None, description="no as_of before this one, for histories that were cut off")
    eligible: tuple[str, ...] = Field(default=(), description="conditions on snapshot columns; all must hold")
    outcome: Outcome = Field(description="what is foreseen")
    features: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='view = [feature, ...]; ["*"] is the whole view; default: every view'
    )
    value: Value | None = Field(
        default=None, description="what one positive outcome is worth, and what a contact costs and can do"
    )
    choice: Choice = Field(default_factory=Choice, description="which candidate is taken")
    tuning: Tuning = Field(default_factory=Tuning, description="how long LightGBM's parameters are searched")
    gates: Gates = Field(default_factory=Gates, description="what a model must reach out of time before it may serve")
    grades: Grades = Field(default_factory=Grades, description="percentile floors of the grades; below C it is D")
    waivers: dict[str, str] = Field(
        default_factory=dict,
        description='`"check:feature" = "why"`: findings of the leakage guard that may pass, each with the reason',
    )
    reasons: dict[str, Phrases] = Field(default_factory=dict, description="feature = { high, low }: phrases of this propensity")

    @field_validator("horizon", "lead_time", "every", mode="before")
    @classmethod
    def _parse_days(cls, text: object) -> object:
        match = _DAYS.match(text) if isinstance(text, str) else None
        if match:
            return timedelta(days=int(match[1]))
        if isinstance(text, timedelta):
            return text
        raise ValueError('days as "90d"')

    @field_serializer("horizon", "lead_time", "every", when_used="json")
    def _days(self, length: timedelta) -> str:
        return f"{length.days}d"

    @field_validator("first_as_of", mode="before")
    @classmethod
    def _parse_first(cls, text: object) -> object:
        return parse_instant(text.isoformat() if isinstance(text, date) else text) if isinstance(text, str | date) else text

    @field_validator("waivers")
    @classmethod
    def _parse_waivers(cls, waivers: dict[str, str]) -> dict[str, str]:
        for key, reason in waivers.items():
            if not _WAIVER.match(key):
                raise ValueError(f'"check:feature" as `foresell check --propensity` prints it, not {key!r}')
            if not reason.strip():
                raise ValueError(f"the reason for which {key!r} may pass, in words")
        return waivers

    @field_validator("eligible")
    @classmethod
    def _parse_eligible(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(conditions)

    @model_validator(mode="after")
    def _times(self) -> Propensity:
        if not self.lead_time < self.horizon:
            raise ValueError("`lead_time` shorter than `horizon`")
        if self.every <= timedelta(0):
            raise ValueError("`every` of at least one day")
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(Condition.parse(text) for text in self.eligible)

    @property
    def is_wanted(self) -> bool:
        """`wanted`, or what it is where the file does not say."""
        return self.outcome.absent is None if self.wanted is None else self.wanted

    def as_ofs(self, first: datetime, observed_until: datetime) -> list[datetime]:
        """The grid of instants whose labels are mature, oldest first.

        The grid is fixed to a Monday, not to today, so that the snapshots of last night are the snapshots of tonight.

        Args:
            first: no as_of before this instant; `first_as_of` may move it later.
            observed_until: outcomes are recorded up to this instant.
        """
        start = max(first, self.first_as_of) if self.first_as_of else first
        step = -((GRID_ORIGIN - start) // self.every)
        grid = []
        while (instant := GRID_ORIGIN + step * self.every) + self.horizon <= observed_until:
            grid.append(instant)
            step += 1
        return grid


def load(workspace: Workspace, name: str) -> Propensity:
    """The propensity of that name.

    Raises:
        PropensityError: there is none, or its file is wrong (the key is named).
    """
    return read_file(file_of(workspace, name))


def file_of(workspace: Workspace, name: str) -> Path:
    """The file of the propensity of that name, unread.

    Raises:
        PropensityError: there is none.
    """
    files = propensity_files(workspace.root, workspace.settings)
    if name not in files:
        raise PropensityError(
            f"propensity {name!r}",
            expected=f"one of {', '.join(sorted(files))}",
            received=repr(name),
            repair=f"check the spelling, or write {workspace.own_propensities / name}.toml",
        )
    return files[name]


def load_all(workspace: Workspace) -> list[Propensity]:
    """Every propensity of the workspace, by name."""
    return [read_file(path) for _, path in sorted(propensity_files(workspace.root, workspace.settings).items())]


def propensity_files(root: Path, settings: Settings) -> dict[str, Path]:
    """The file in force for each name."""
    folders = (SHIPPED, adapter_folder(root, settings) / "propensities", root / "propensities")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read_file(path: Path) -> Propensity:
    """Parse one propensity file.

    Raises:
        PropensityError: unknown key, wrong value, not TOML, or a name that is taken.
    """
    if path.stem in TAKEN:
        raise PropensityError(
            str(path),
            expected=f"another name than {' and '.join(TAKEN)}, which are paths of the service",
            received=path.name,
            repair="give the file another name",
        )

    class Named(Propensity):
        name: str = path.stem

    return Propensity.model_validate(read_toml(path, Named, PropensityError).model_dump())


def _checked(conditions: tuple[str, ...]) -> tuple[str, ...]:
    for text in conditions:
        try:
            Condition.parse(text)
        except CallError as problem:
            raise ValueError(f"{problem.expected}: {text!r}") from None
    return conditions
