"""What acting on scores was worth: those who were given a score against those who were held out, and who was explored against who
was not, with intervals; or why it cannot be told yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.propensity import Propensity, load
from features.settings import Workspace
from serving.ledger import Ledger
from serving.monitor.worth import difference
from serving.monitor.worth.notes import notes
from serving.monitor.worth.trial import Trial, hold
from serving.monitor.worth.words import sentences
from serving.score import Grade
from training.evaluation import Figure, wilson

Status = Literal["told", "open", "too few", "immature", "not scored", "no holdout"]
GRADES: tuple[Grade, ...] = ("A", "B", "C", "D")
LEAST = 30  # entities in a group; of fewer nothing is said
PROPOSED = 0.05  # to be held out, where nobody is
RELATIVE = 0.2  # of the rate without acting: the difference that is to be seen


@dataclass(frozen=True)
class Group:
    """One side of a comparison.

    Attributes:
        entities, outcomes: how many there are, and of how many the outcome happened.
        acted: about how many something was done within the horizon.
    """

    entities: int
    outcomes: int
    acted: int

    @property
    def rate(self) -> Figure:
        """The share with the outcome, with Wilson's interval."""
        return Figure(self.outcomes / self.entities, *wilson(self.outcomes, self.entities))


@dataclass(frozen=True)
class Comparison:
    """Two groups that chance parted.

    Attributes:
        segment: `all`, a grade, or `below A`.
        treated: who was given a score, or was explored.
        control: who was held out, or was not explored.
        rate: the treated share with the outcome minus the control's (Newcombe).
        acted: the effect on those who were acted on because of their group; None where it cannot be told (Bloom).
        gain: what the difference is worth an entity, good being positive, less what contacts cost; None without a `[value]`.
    """

    segment: str
    treated: Group
    control: Group
    rate: Figure
    acted: Figure | None
    gain: Figure | None

    @property
    def is_told(self) -> bool:
        """Whether the difference is more than chance makes at 95 %."""
        return self.rate.low > 0 or self.rate.high < 0


@dataclass(frozen=True)
class Worth:
    """What acting on the scores of one propensity was worth.

    Attributes:
        propensity, entity: which question about whom.
        observed_until: outcomes are recorded up to this instant.
        is_wanted: whether acting is to win the outcome; otherwise it is to prevent it.
        holdout: the share that is held out.
        status: `told`, there is a difference; `open`, chance alone may make what there is; or why nothing can be said.
        first, last: the as_ofs that count.
        comparisons: `all` and each grade that has enough entities: given a score against held out.
        exploration: `below A` and its grades: explored against not explored.
        compliance: by grade, about which share of those with a score something was done; empty where no action is logged.
        breaches: how many actions about somebody held out were told, mature or not.
        visible: the smallest difference of rates that those who count show four times out of five; None while nobody counts.
        difference: the difference of rates that is to be seen, a fifth of the rate without acting, or while nobody counts of the
            rate that is foreseen.
        needed: how many entities it takes to see that difference, both groups together.
        waiting: how many more take part, whose outcome is not mature yet.
        next_matures: when the first of those outcomes is mature.
        enough_at: when `needed` are mature, by those who take part today; None where they do not suffice.
        notes: what did not count, in sentences.
    """

    propensity: str
    entity: str
    observed_until: datetime
    is_wanted: bool
    holdout: float
    status: Status
    first: datetime | None = None
    last: datetime | None = None
    comparisons: tuple[Comparison, ...] = ()
    exploration: tuple[Comparison, ...] = ()
    compliance: Mapping[str, float] = field(default_factory=dict)
    breaches: int = 0
    visible: float | None = None
    difference: float | None = None
    needed: int | None = None
    waiting: int = 0
    next_matures: datetime | None = None
    enough_at: datetime | None = None
    notes: tuple[str, ...] = ()

    def of(self, segment: str) -> Comparison | None:
        """Given a score against held out, in a segment; None where too few are in it."""
        return next((one for one in self.comparisons if one.segment == segment), None)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same in words."""
        return sentences(self)

    def document(self) -> dict[str, Any]:
        """The same for JSON: instants as ISO text, and the sentences."""
        told = {**asdict(self), "sentences": list(self.sentences)}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}


def worth(workspace: Workspace, propensity: str, observed_until: datetime, since: datetime | None = None) -> Worth:
    """What acting on the scores of a propensity was worth, as far as it can be told.

    Every entity counts once, at its first as_of, so that repeats make no interval narrower. Who is explored is drawn anew every
    week, so there an entity counts once in each stretch of a horizon. An interval is that of one look: whoever looks every night
    and believes the first that excludes zero is wrong more often than once in twenty.

    Args:
        workspace: with nights of scores.
        propensity: its name; its file says whether the outcome is `wanted`, and what one is worth.
        observed_until: outcomes are recorded up to this instant; later ones than the tables tell are not looked for.
        since: scores before this instant do not count, such as those from before the CRM began to act; None for all there are.

    Raises:
        PropensityError: there is no such propensity, or its file is wrong.
        TableError: nothing has been ingested.
        StoreError: the ledger, which knows what was done, does not answer.
    """
    question, until = load(workspace, propensity), min(observed_until, Catalog.load(workspace).now)
    share = workspace.settings.policy.holdout
    with closing(Ledger.open(workspace)) as ledger:
        trial = hold(workspace, question, until, since, ledger)
        logged = ledger.count_actions(propensity=propensity)
    kept_since = until - workspace.settings.serving.keep if logged else None
    facts: dict[str, Any] = {
        "propensity": propensity, "entity": question.entity, "observed_until": until, "is_wanted": question.is_wanted,
        "holdout": share, "waiting": len(trial.waiting), "notes": notes(question, trial, kept_since, LEAST),
        "breaches": sum(number for (*_, held_out), number in logged.items() if held_out),
        "next_matures": trial.waiting.iloc[0].to_pydatetime() if len(trial.waiting) else None,
        "exploration": _explored(question, trial.drawn, bool(logged)), **_power(question, trial, share or PROPOSED),
    }  # fmt: skip
    firsts = trial.firsts
    if firsts.empty:
        return Worth(status=_nothing(share, trial), **facts)
    facts |= {
        "first": firsts["as_of"].min().to_pydatetime(), "last": firsts["as_of"].max().to_pydatetime(),
        "compliance": _compliance(firsts) if logged else {},
    }  # fmt: skip
    if not share:
        return Worth(status="no holdout", **facts)
    comparisons = _compared(question, firsts, firsts["held"], ("all", *GRADES), bool(logged))
    return Worth(status=_status(comparisons), comparisons=comparisons, **facts)


def _nothing(share: float, trial: Trial) -> Status:
    if not share:
        return "no holdout"
    return "immature" if len(trial.waiting) else "not scored"


def _status(comparisons: tuple[Comparison, ...]) -> Status:
    everybody = next((one for one in comparisons if one.segment == "all"), None)
    if everybody is None:
        return "too few"
    best = [one for one in comparisons if one.segment in ("all", "A")]
    return "told" if any(one.is_told for one in best) else "open"


def _compared(
    question: Propensity, rows: pd.DataFrame, is_control: pd.Series, segments: tuple[str, ...], is_logged: bool
) -> tuple[Comparison, ...]:
    """The comparison of every segment in which both groups have enough entities."""
    found = []
    for segment in segments:
        mine = _of_segment(rows, segment)
        treated, control = rows[mine & ~is_control], rows[mine & is_control]
        if min(len(treated), len(control)) >= LEAST:
            found.append(_comparison(question, segment, treated, control, is_logged))
    return tuple(found)


def _of_segment(rows: pd.DataFrame, segment: str) -> pd.Series:
    if segment == "all":
        return pd.Series(True, index=rows.index)
    return rows["grade"].isin(["B", "C", "D"]) if segment == "below A" else rows["grade"] == segment


def _comparison(question: Propensity, segment: str, treated: pd.DataFrame, control: pd.DataFrame, is_logged: bool) -> Comparison:
    one, two = (Group(len(rows), int(rows["label"].sum()), int(rows["acted"].sum())) for rows in (treated, control))
    rate = difference.of_rates(one.outcomes, one.entities, two.outcomes, two.entities)
    acted = difference.of_acted(_both(treated), _both(control)) if is_logged else None
    gain = difference.of_means(_gains(question, treated), _gains(question, control)) if question.value else None
    return Comparison(segment, one, two, rate, acted, gain)


def _both(rows: pd.DataFrame) -> tuple[difference.Numbers, difference.Numbers]:
    return rows["label"].to_numpy(float), rows["acted"].to_numpy(float)


def _gains(question: Propensity, rows: pd.DataFrame) -> difference.Numbers:
    """What each entity brought: the worth of its outcome, lost where it is to be prevented, less what a contact costs."""
    sign, cost = (1.0 if question.is_wanted else -1.0), question.value.cost if question.value else 0.0
    known = rows[rows["worth"].notna()]
    gains = sign * known["label"].to_numpy(float) * known["worth"].to_numpy(float) - cost * known["acted"].to_numpy(float)
    return np.asarray(gains, dtype=np.float64)


def _explored(question: Propensity, drawn: pd.DataFrame, is_logged: bool) -> tuple[Comparison, ...]:
    if drawn.empty:
        return ()
    return _compared(question, drawn, ~drawn["explore"].astype(bool), ("below A", "B", "C", "D"), is_logged)


def _compliance(firsts: pd.DataFrame) -> dict[str, float]:
    """By grade, about which share of those with a score something was done."""
    shares = firsts[~firsts["held"]].groupby("grade")["acted"].mean()
    return {str(grade): float(share) for grade, share in shares.items()}


def _power(question: Propensity, trial: Trial, share: float) -> dict[str, Any]:
    """What it takes to see a difference of a fifth of the rate without acting, and when there will be enough."""
    control, treated = trial.firsts[trial.firsts["held"]], trial.firsts[~trial.firsts["held"]]
    known = control if len(control) else treated
    rate = float(known["label"].mean()) if len(known) else trial.foreseen or 0.0
    wanted = RELATIVE * rate * (1 if question.is_wanted else -1)
    needed = difference.needed(rate, wanted, share)
    lacking = None if needed is None else needed - len(trial.firsts)
    is_coming = lacking is not None and 0 < lacking <= len(trial.waiting)
    enough_at = trial.waiting.iloc[lacking - 1].to_pydatetime() if is_coming and lacking else None
    visible = difference.seen(rate, len(treated), len(control)) if len(treated) and len(control) else None
    return {"visible": visible, "difference": abs(wanted) if needed else None, "needed": needed, "enough_at": enough_at}
