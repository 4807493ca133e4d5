"""A request: what may be asked at a desk, as a type that is checked and documented."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from serving.desk import Ask, Desk
from serving.newcomer import Attribute
from serving.problem import near
from training.model import Model

MOST_ENTITIES = 1_000
SHOWN_IN_EXAMPLE = 3


def _encodable(text: str) -> str:
    text.encode()  # JSON can spell half a character, which no store can look up
    return text


EntityId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_encodable)]
Category = Annotated[str, Field(max_length=1_000), AfterValidator(_encodable)]
Number = Annotated[float, BeforeValidator(lambda given: float(given) if isinstance(given, bool) else given)]
Time = Annotated[datetime, Field(strict=False)]


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


class Ids(Strict):
    """Entities by id."""

    ids: list[EntityId] = Field(min_length=1, max_length=MOST_ENTITIES, description="entities that the online store knows")


class IdsOrRecords(Strict):
    """Entities by id, by attributes, or both; somebody at least."""

    ids: list[EntityId] = Field([], max_length=MOST_ENTITIES, description="entities that the online store knows")

    @model_validator(mode="after")
    def _within_limits(self) -> IdsOrRecords:
        if not 1 <= len(asks(self)) <= MOST_ENTITIES:
            raise ValueError(f"1 to {MOST_ENTITIES:,} entities in `ids` and `records` together")
        return self


def request_model(desk: Desk) -> type[BaseModel]:
    """What may be asked at a desk: ids, and of leads also records with attributes, for those the store has never seen."""
    if desk.entity != "lead":
        return Ids
    title = desk.scorer.propensity.name.title().replace("-", "")
    attributes = create_model(f"{title}Attributes", __base__=Strict, **_fields(desk.attributes))
    record = create_model(
        f"{title}Record",
        __base__=Strict,
        id=(EntityId | None, Field(None, description="the CRM's id, if it has one already")),
        attributes=(attributes, Field(description="what is known of the lead; goes over what is stored")),
    )
    records: Any = Field([], max_length=MOST_ENTITIES, description="leads with attributes, new ones too")
    return create_model(f"{title}Request", __base__=IdsOrRecords, records=(list[record], records))  # type: ignore[valid-type]


def asks(request: Any) -> list[Ask]:
    """The entities of a request: first its ids, then its records."""
    by_id = [Ask(entity_id) for entity_id in request.ids]
    records = getattr(request, "records", [])
    return by_id + [Ask(record.id, record.attributes.model_dump(exclude_unset=True), may_be_new=True) for record in records]


def example(desk: Desk) -> dict[str, Any]:
    """A request that the desk answers."""
    given = {a.names[0]: _typical(desk.scorer.model, a) for a in desk.attributes[:SHOWN_IN_EXAMPLE]}
    return {"records": [{"attributes": given}]} if desk.entity == "lead" else {"ids": ["1001", "1002"]}


def _typical(model: Model, attribute: Attribute) -> float | str | None:
    column = next((column for column in model.contract.features if column.name == attribute.feature.name), None)
    if column is None:
        return None
    return column.categories[0] if column.categories else column.typical.median


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
