"""Objections that were told before: in the stored record, whatever a request says over it, or in a request or webhook since.

`[policy] suppress` is the person's own word (GDPR, Art. 21). What a record says is not undone by what a request gives, unless the
record says nothing; and what a request or webhook told stands until a record of a later as_of takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from msgspec import structs

from features.record import Record
from features.settings import Workspace
from serving.action import entities, kind_of
from serving.answer import SCORE
from serving.desk import Known
from serving.ledger import Ledger, Stored
from serving.policy import Held, Policy
from serving.score import Score


def objected(policy: Policy, known: Sequence[Known], told: Mapping[str, Stored]) -> list[Known]:
    """What is known of each, with the objection that counts whatever a request says.

    Args:
        policy: of the entity.
        known: what is known of each entity that is asked about.
        told: by id, the last answer that withheld a score, if one did.
    """
    return [_objected(policy, one, told) if isinstance(one, Record) else one for one in known]


def _objected(policy: Policy, record: Record, told: Mapping[str, Stored]) -> Record:
    before = None if record.before is None else policy.objection(record.before)
    if before is not None:
        return replace(record, objection=before)
    stored = told.get(record.entity_id)
    if stored is None or (not record.is_new and stored.scored_at < record.as_of):
        return record
    score = SCORE.decode(stored.document)
    return replace(record, objection=score.why) if score.policy == "suppressed" else record


def told_since(workspace: Workspace, entity: str, as_of: datetime) -> dict[str, Score]:
    """By id, the answer that withheld a score since an as_of because of an objection, which no record of that as_of can know.

    None where nobody can object.

    Raises:
        StoreError: the ledger does not answer.
    """
    if not Policy(workspace.settings.policy, kind_of(entity)).conditions:
        return {}
    names = [name for name, its in entities(workspace).items() if its == entity]
    with closing(Ledger.open(workspace)) as ledger:
        scores = [SCORE.decode(one.document) for one in ledger.withheld_since(names, as_of)]
    return {score.entity_id or "": score for score in scores if score.policy == "suppressed"}


def shown(policy: Policy, stored: Stored, known: Known, now: datetime) -> Score | None:
    """What is read back in place of a stored score: None if that may be shown, else the answer that withholds it.

    Args:
        policy: of the entity.
        stored: the last stored score.
        known: what is known of the entity now; None of one that the store does not know, an error where it does not tell.
        now: the instant of the request.
    """
    score = SCORE.decode(stored.document)
    if score.score is None:
        return None
    values = {**stored.known, **(known.values if isinstance(known, Record) else {})}
    why: str | None
    kind: Held | None
    if isinstance(known, Exception) and policy.conditions:
        why, kind = f"whether this {policy.entity} has objected since is not known", None
    elif isinstance(known, Record) and known.objection is not None:
        why, kind = known.objection, "suppressed"
    elif found := policy.surely_withheld(stored.entity_id, values):
        why, kind = found.why, found.kind
    else:
        return None
    return structs.replace(
        score, eligible=kind is not None, why=why, policy=kind, score=None, probability=None, percentile=None, grade=None,
        expected_value=None, reasons=(), missing=(), unseen=(), change=None, trend=None, scored_at=now,
    )  # fmt: skip
