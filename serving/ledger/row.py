"""What one row of the ledger is.

Named tuples, because the hot path makes a thousand of them for one request, and they go to the database as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from features.record import Value, Values
from serving.ledger.kept import Kept

Road = Literal["http", "read", "hook", "batch"]
State = Literal["scored", "withheld", "gone"]
Status = Literal["sent", "rejected", "waiting", "given up"]


class Stored(NamedTuple):
    """The last score of one entity for one propensity.

    Attributes:
        propensity, entity_id: which question about whom.
        scored_at: the instant at which the score was made, with a time zone.
        model_version: the version that made it.
        probability: calibrated, 0 to 1; None when the question did not apply.
        document: the score as JSON, byte for byte as it was served.
        contributions: one little-endian float64 for each feature of the model, in its order: `np.frombuffer(_, "<f8")`.
        features: the values of the model's features, and of what policy looks at, by name, NaN or None where one is missing;
            None where none were kept.
    """

    propensity: str
    entity_id: str
    scored_at: datetime
    model_version: str
    probability: float | None
    document: bytes
    contributions: bytes | None = None
    features: Kept | Values | None = None

    @property
    def known(self) -> Mapping[str, Value]:
        """The features, or nothing."""
        return {} if self.features is None else self.features


class Entry(NamedTuple):
    """One answer about one entity for one propensity, for the audit, with the score to be stored if there is one.

    Attributes:
        at: when it was answered, with a time zone.
        request_id: the request that it was part of.
        caller: the id of the key that asked; None in the batch, and of a score that a webhook's record got after its answer: the
            row of road `hook` with the propensity `received` tells whose key brought it.
        road: how it came in; `read` is a stored score that was read back.
        propensity, entity_id: which question about whom; no id for a newcomer that has none yet.
        model_version: the version that answered; None when none did.
        probability, score: what was answered; None when there was no score.
        why: why there was no score, in a sentence.
        policy: the rule that withheld the score.
        degraded: whether a stored score stood in for a new one.
        stored: the new last score of the entity; None leaves the one there is.
    """

    at: datetime
    request_id: str
    caller: str | None
    road: Road
    propensity: str
    entity_id: str | None
    model_version: str | None
    probability: float | None = None
    score: int | None = None
    why: str | None = None
    policy: str | None = None
    degraded: bool = False
    stored: Stored | None = None


class Served(NamedTuple):
    """One line of the audit: an `Entry` without the stored score; `number` counts up in the order of writing."""

    number: int
    at: datetime
    request_id: str
    caller: str | None
    road: str
    propensity: str
    entity_id: str | None
    model_version: str | None
    probability: float | None
    score: int | None
    why: str | None
    policy: str | None
    degraded: bool


class Compared(NamedTuple):
    """What champion and challenger said of the same entity at the same instant."""

    at: datetime
    propensity: str
    entity_id: str | None
    champion: str
    champion_probability: float
    challenger: str
    challenger_probability: float


class Action(NamedTuple):
    """What was done about one entity because of a propensity, such as a call.

    Attributes:
        id: unique, the CRM's, or derived from what was done; telling it twice keeps it once.
        propensity, entity, entity_id: which question about whom.
        at: when it was done, with a time zone.
        kind: what was done, a short code such as `call`.
        outcome: what came of it, a short code; None where nobody said.
        held_out: whether the entity was held out when this was told: nothing should have been done.
        told_at: when it was told first.
        request_id: the request, or the import, that told it first.
        caller: the id of the key that did; None in an import.
    """

    id: str
    propensity: str
    entity: str
    entity_id: str
    at: datetime
    kind: str
    outcome: str | None
    held_out: bool
    told_at: datetime
    request_id: str
    caller: str | None


class Received(NamedTuple):
    """A record that a webhook brought.

    Attributes:
        id: unique, given by whoever received it; receiving it twice keeps it once.
        received_at: with a time zone.
        source: the CRM, as `[hooks.SOURCE]` names it.
        entity, entity_id: whose record it is.
        given: the attributes that came, by name; anything JSON can hold.
    """

    id: str
    received_at: datetime
    source: str
    entity: str
    entity_id: str
    given: dict[str, Any]


class Claimed(NamedTuple):
    """Every waiting record of one entity of one source, as one: later fields went over earlier ones.

    Attributes:
        ids: of the records it was made of, oldest first; for `done` or `release`.
        received_at: when the oldest of them came.
    """

    ids: tuple[str, ...]
    received_at: datetime
    source: str
    entity: str
    entity_id: str
    given: dict[str, Any]


class Letter(NamedTuple):
    """A score on its way to a CRM.

    Attributes:
        id: unique; another score of the same entity gets another.
        document: the score as JSON.
        attempts: how often sending it has failed.
    """

    id: str
    source: str
    entity: str
    entity_id: str
    propensity: str
    document: bytes
    attempts: int = 0


class Written(NamedTuple):
    """What a target was last sent, or was to be sent, about one entity for one propensity.

    Attributes:
        target: the name of the target.
        propensity, entity_id, entity: which question about whom.
        settings: a digest of where it was sent and in which fields.
        state: `scored`; `withheld` by policy; or `gone`, no longer eligible. Only the first has a score.
        score, grade: 1 to 100, and A to D.
        model_version, as_of: the version that answered, and the instant of the night.
        status: `sent`; `rejected`, the target will not take it; `waiting`, it was tried and may have arrived or not; `given up`,
            it was rejected, and somebody who looked at it let it go.
        error: why it was rejected or waits.
        attempts: how often it was tried since it was last sent.
        at: when that was.
    """

    target: str
    propensity: str
    entity_id: str
    entity: str
    settings: str
    state: State
    score: int | None
    grade: str | None
    model_version: str
    as_of: datetime
    status: Status
    error: str | None
    attempts: int
    at: datetime


class Forgotten(NamedTuple):
    """How many rows of the audit, comparisons with a challenger, scores that no CRM would take, and actions were removed for
    their age.
    """

    served: int
    shadow: int
    given_up: int
    actions: int = 0


class Waiting(NamedTuple):
    """How many received records wait to be scored, how many scores wait to be sent, and how many were given up."""

    inbox: int
    outbox: int
    given_up: int = 0
