"""A request: what may be asked, as a type that is checked and documented. What is wrong with one record stays with that one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from serving.flaw import Flaw
from serving.http.problem import BadRequest, flaws_of, near
from serving.limits import LONGEST_CATEGORY, LONGEST_ID, MOST_ENTITIES, STORABLE, is_storable
from serving.newcomer import Attribute
from serving.reader import Ask

IDS, RECORDS = "ids", "records"


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError(STORABLE)
    return text


WITHOUT_NUL = {"pattern": r"^[^\u0000]*$"}
EntityId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, json_schema_extra=WITHOUT_NUL), AfterValidator(_storable)]
Category = Annotated[str, Field(max_length=LONGEST_CATEGORY, json_schema_extra=WITHOUT_NUL), AfterValidator(_storable)]
Number = Annotated[float, BeforeValidator(lambda given: float(given) if isinstance(given, bool) else given)]
Time = Annotated[datetime, Field(strict=False)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Strict(BaseModel):
    """A request in which an unknown field, a number in quotes, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_the_near_miss(cls, given: Any) -> Any:
        known = [name for field, info in cls.model_fields.items() for name in _names(field, info)]
        unknown = next((key for key in given if key not in known), None) if isinstance(given, dict) else None
        if unknown is None:
            return given
        expected = f"one of {', '.join(known)}" if known else "no attributes, because the adapter declares none"
        told = {"expected_names": expected, "repair": near(unknown, known) or "check the spelling or leave it out"}
        raise PydanticCustomError("unknown_field", "unknown field", told)


class Entities(Strict):
    """Entities by id, by attributes, or both; somebody at least."""

    model_config = ConfigDict(json_schema_extra={"not": {"properties": {IDS: {"maxItems": 0}, RECORDS: {"maxItems": 0}}}})

    ids: list[EntityId] = Field([], max_length=MOST_ENTITIES, description="entities that the online store knows")

    @model_validator(mode="after")
    def _within_limits(self) -> Entities:
        if not 1 <= len(self.ids) + len(getattr(self, RECORDS, [])) <= MOST_ENTITIES:
            raise ValueError(f"1 to {MOST_ENTITIES:,} entities in `ids` and `records` together")
        return self


@dataclass(frozen=True, slots=True)
class Wrong:
    """One entity of a request that cannot be read: its id, if that can, and what is wrong."""

    entity_id: str | None
    flaws: list[Flaw]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: who is asked about, first its ids, then its records; and which propensities, where the request says so."""

    entities: list[Ask | Wrong]
    propensities: tuple[str, ...] = ()


class Form:
    """What may be asked about one kind of entity."""

    def __init__(self, entity: str, attributes: tuple[Attribute, ...], title: str, propensities: Sequence[str] = ()) -> None:
        """Make the type of a request.

        Args:
            entity: `lead` or `customer`.
            attributes: what a request may say about one.
            title: the name of the type in the API's description.
            propensities: those that a request must choose from; none if it does not say which.
        """
        self.entity, self.attributes = entity, attributes
        given = create_model(f"{entity.title()}Attributes", __base__=Strict, **_fields(attributes))
        told = Field(description=f"what is known of the {entity}; goes over what is stored")
        record: Any = create_model(
            f"{entity.title()}Record",
            __base__=Strict,
            id=(EntityId | None, Field(None, description="the CRM's id, if it has one already")),
            attributes=(given, told),
        )
        fields: dict[str, Any] = {
            RECORDS: (list[record], Field([], max_length=MOST_ENTITIES, description=f"{entity}s with attributes, new ones too"))
        }
        if propensities:
            chosen = Annotated[Name, Field(json_schema_extra={"enum": list(propensities)})]
            fields["propensities"] = (list[chosen], Field(min_length=1, description=f"propensities of a {entity}"))
        self.type: type[BaseModel] = create_model(title, __base__=Entities, **fields)

    def read(self, body: bytes) -> Asked:
        """The request in a body.

        Raises:
            BadRequest: it is not JSON, not a request, or wrong about every entity.
        """
        try:
            return _asked(self.type.model_validate_json(body))
        except ValidationError as problem:
            return self._salvaged(body, problem)

    def _salvaged(self, body: bytes, problem: ValidationError) -> Asked:
        """What can be read of a request: the entities that are right, and beside them what is wrong with the others."""
        errors = problem.errors(include_url=False)
        wrong: dict[tuple[str, int], list[Any]] = {}
        for error in errors:
            place = error["loc"][:2]
            if len(place) < 2 or place[0] not in (IDS, RECORDS) or not isinstance(place[1], int):
                raise refused(errors)
            wrong.setdefault((str(place[0]), place[1]), []).append(error)
        given = parsed(body, errors)
        listed = [(name, position) for name in (IDS, RECORDS) for position in range(len(given.get(name, ())))]
        kept = {name: [one for i, one in enumerate(given.get(name, ())) if (name, i) not in wrong] for name in (IDS, RECORDS)}
        if not any(kept.values()) or len(listed) > MOST_ENTITIES:
            raise refused(errors)
        good = iter(_asked(self.type.model_validate_json(json.dumps({**given, **kept}))).entities)
        entities = [
            Wrong(id_of(given[place[0]][place[1]]), flaws_of(wrong[place])) if place in wrong else next(good) for place in listed
        ]
        return Asked(entities, tuple(given.get("propensities", ())))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The type as JSON schema; what it refers to is under `$defs`, as a component of the API's description."""
        return self.type.model_json_schema(ref_template="#/components/schemas/{model}")


def _asked(request: Any) -> Asked:
    by_id: list[Ask | Wrong] = [Ask(entity_id) for entity_id in request.ids]
    told: list[Ask | Wrong] = [
        Ask(record.id, record.attributes.model_dump(exclude_unset=True), may_be_new=True) for record in request.records
    ]
    return Asked(by_id + told, tuple(getattr(request, "propensities", ())))


def parsed(body: bytes, errors: Sequence[Any]) -> dict[str, Any]:
    """A body of which some records are wrong, read again.

    Raises:
        BadRequest: only pydantic can read it.
    """
    try:
        return dict(json.loads(body))
    except (ValueError, RecursionError):  # pydantic reads JSON that Python does not
        raise refused(errors) from None


def refused(errors: Sequence[Any]) -> BadRequest:
    """The error about a body of which nothing can be used, by what pydantic found."""
    is_json = all(error["type"] != "json_invalid" for error in errors)
    return BadRequest(flaws_of(errors), HTTPStatus.UNPROCESSABLE_ENTITY if is_json else HTTPStatus.BAD_REQUEST)


def id_of(given: Any, name: str = "id") -> str | None:
    """The id in a record that is wrong, if it can be read."""
    found = given.get(name) if isinstance(given, Mapping) else given
    return found if isinstance(found, str) and len(found) <= LONGEST_ID and found.isprintable() else None


def _fields(attributes: Iterable[Attribute]) -> dict[str, Any]:
    """One optional field for each attribute, under both of its names."""
    types: dict[str, Any] = {"number": Number | None, "category": Category | None, "timestamp": Time | None}
    return {
        attribute.names[0]: (
            types[attribute.type],
            Field(None, validation_alias=AliasChoices(*attribute.names), description=attribute.feature.meaning),
        )
        for attribute in attributes
    }


def _names(field: str, info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [field]
