"""An answer: a score as the JSON that is sent, and what the ledger keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from msgspec.json import Decoder, Encoder

from serving.change import Case, changes, trend
from serving.desk import Said
from serving.ledger import Entry, Kept, Road, Stored
from serving.score import Score

SCORE = Decoder(Score)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its id, the id of the key that made it, and how it came in."""

    request_id: str
    caller: str | None
    road: Road


@dataclass(slots=True)
class Answer:
    """One answer, and the same as JSON, exactly as it is sent and stored."""

    score: Score
    document: bytes


def _plain(value: object) -> object:
    """A number or text of NumPy as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_ENCODER = Encoder(enc_hook=_plain)


def written(value: object) -> bytes:
    """A score, or a value in one, as JSON; what has no end, for which JSON has no word, as null."""
    return _ENCODER.encode(value)


def answered(said: Sequence[Said], before: Mapping[str, Stored]) -> list[Answer]:
    """The answers of one propensity; each score is told what has changed since the last stored one of its entity."""
    for scorer in {id(one.scorer): one.scorer for one in said}.values():
        cases = {place: case for place, one in enumerate(said) if one.scorer is scorer and (case := _case(one, before))}
        for place, found in zip(cases, changes(scorer, list(cases.values())), strict=True):
            said[place].score.change, said[place].score.trend = found, trend(found)
    return [Answer(one.score, written(one.score)) for one in said]


def _case(said: Said, before: Mapping[str, Stored]) -> Case | None:
    """One entity then and now; None where there is no score to compare."""
    stored = before.get(said.score.entity_id or "")
    if stored is None or said.values is None or said.contributions is None:
        return None
    return Case(stored, said.score, said.values, said.contributions)


def entry(said: Said, answer: Answer, now: datetime, call: Call) -> Entry:
    """What is kept of an answer. What is said of somebody unknown, or again of a stored score, is not a new stored score."""
    score = answer.score
    is_new = score.entity_id is not None and score.feature_as_of is not None and not score.degraded
    return Entry(
        now, call.request_id, call.caller, call.road, score.propensity, score.entity_id, score.model_version,
        score.probability, score.score, score.why, score.policy, score.degraded, _stored(said, answer) if is_new else None,
    )  # fmt: skip


def _stored(said: Said, answer: Answer) -> Stored:
    score = answer.score
    contributions = None if said.contributions is None else said.contributions.tobytes()
    features = None if said.values is None else Kept(said.values, said.scorer.remembered)
    return Stored(
        score.propensity, score.entity_id or "", score.scored_at, score.model_version, score.probability, answer.document,
        contributions, features,
    )  # fmt: skip
