"""Actions over HTTP: what a CRM may tell of what it did, as a type that is checked and described, and what it is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from serving.action import CODE, ID, LONGEST_CODE, Logged, Told
from serving.flaw import Flaw
from serving.http.problem import BadRequest, Problem, document, flaws_of
from serving.http.request import EntityId, Name, Strict, Wrong, id_of, parsed, refused
from serving.http.schema import REFERENCE
from serving.limits import MOST_ENTITIES

ACTIONS = "actions"


def instant(given: Any) -> Any:
    """An ISO time as an instant in UTC; one without a zone is taken as UTC."""
    if not isinstance(given, str):
        raise ValueError("an ISO time such as 2026-11-25T14:30:00Z")
    try:
        found = datetime.fromisoformat(given)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("an ISO time such as 2026-11-25T14:30:00Z") from None


Code = Annotated[str, Field(pattern=CODE)]
ActionId = Annotated[str, Field(pattern=ID)]
At = Annotated[datetime, BeforeValidator(instant)]
_ONE_OF_THEM: Any = {"anyOf": [
    {"required": [name], "properties": {name: {"type": "string"}}} for name in ("id", "at")
]}  # fmt: skip


class ActionRecord(Strict):
    """One action; with an `id` or an `at`, so that it can be told again."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_THEM)

    id: ActionId | None = Field(None, description="the CRM's id of it; without one it is derived from what is told")
    propensity: Name = Field(description="because of which propensity")
    entity_id: EntityId = Field(description="about whom: the CRM's id")
    at: At | None = Field(None, description="when it was done, not in the future; without it, now. No zone is UTC")
    kind: Code = Field(description=f"what was done: `call`, `email`, `visit`; a code of up to {LONGEST_CODE} characters")
    outcome: Code | None = Field(None, description="what came of it, a code such as `reached`; may be told later, by the same id")

    @model_validator(mode="after")
    def _can_be_told_again(self) -> ActionRecord:
        if self.id is None and self.at is None:
            raise ValueError("an `id` or an `at`, so that telling it twice keeps it once")
        return self

    def told(self) -> Told:
        return Told(self.propensity, self.entity_id, self.kind, self.id, self.at, self.outcome)


class ActionsRequest(Strict):
    """What was done."""

    actions: list[ActionRecord] = Field(min_length=1, max_length=MOST_ENTITIES, description="what was done, in any order")


class RefusedAction(BaseModel):
    """An action that is not kept; the others are all the same.

    Attributes:
        entity_id: about whom, if that can be read.
        problem: what is wrong with it.
    """

    entity_id: str | None
    problem: Problem


class LoggedActions(BaseModel):
    """What became of what was told.

    Attributes:
        actions: in the order of the request.
    """

    actions: list[Logged | RefusedAction]


def read(body: bytes) -> list[Told | Wrong]:
    """The actions in a body, and in the place of those that cannot be read what is wrong with them.

    Raises:
        BadRequest: it is not JSON, not such a request, or wrong about every action.
    """
    try:
        return [one.told() for one in ActionsRequest.model_validate_json(body).actions]
    except ValidationError as problem:
        return _salvaged(body, problem.errors(include_url=False))


def _salvaged(body: bytes, errors: Sequence[Any]) -> list[Told | Wrong]:
    wrong: dict[int, list[Any]] = {}
    for error in errors:
        place = error["loc"][:2]
        if len(place) < 2 or place[0] != ACTIONS or not isinstance(place[1], int):
            raise refused(errors)
        wrong.setdefault(place[1], []).append(error)
    given = parsed(body, errors)[ACTIONS]
    if len(wrong) == len(given):
        raise refused(errors)
    return [
        Wrong(id_of(one, "entity_id"), flaws_of(wrong[i])) if i in wrong
        else ActionRecord.model_validate_json(json.dumps(one)).told()
        for i, one in enumerate(given)
    ]  # fmt: skip


def answered(told: Sequence[Told | Wrong], found: Sequence[Logged | Flaw]) -> dict[str, list[dict[str, Any]]]:
    """What is answered.

    Args:
        told: of `read`.
        found: for each `Told`, in order, what is kept, or what is wrong with it.

    Raises:
        BadRequest: nothing is kept.
    """
    rest = iter(found)
    parts = [(one.entity_id, one.flaws if isinstance(one, Wrong) else next(rest)) for one in told]
    if not any(isinstance(part, Logged) for _, part in parts):
        raise BadRequest([flaw for _, part in parts for flaw in _listed(part)])
    return {ACTIONS: [_logged(part) if isinstance(part, Logged) else _wrong(who, _listed(part)) for who, part in parts]}


def described_actions(propensities: Mapping[str, str]) -> dict[str, Any]:
    """The type of a request as JSON schemas, by name, of a service that has these propensities."""
    found = ActionsRequest.model_json_schema(ref_template=REFERENCE)
    parts: dict[str, Any] = {**found.pop("$defs"), "ActionsRequest": found}
    parts["ActionRecord"]["properties"]["propensity"] |= {"enum": list(propensities)} if propensities else {}
    return parts


def example(propensities: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """A request that can be answered."""
    name = next(iter(propensities), "churn")
    at = now.replace(microsecond=0).isoformat()
    return {
        ACTIONS: [{"id": "crm-task:17", "propensity": name, "entity_id": "1001", "at": at, "kind": "call", "outcome": "reached"}]
    }


def _listed(part: Any) -> list[Flaw]:
    return [part] if isinstance(part, Flaw) else list(part) if isinstance(part, list) else []


def _logged(one: Logged) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Logged.__slots__}


def _wrong(entity_id: str | None, flaws: list[Flaw]) -> dict[str, Any]:
    told = document(HTTPStatus.UNPROCESSABLE_ENTITY, "The record is wrong", flaws)
    return {"entity_id": entity_id, "problem": told.model_dump(mode="json")}
