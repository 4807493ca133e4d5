"""The mapping: which field of a CRM's record gives which attribute, and what a record says then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.errors import WorkspaceError, nearest
from features.hook import Hook
from serving.flaw import Flaw
from serving.hooks.shape import Raw
from serving.hooks.value import EXPECTED, NotAValueError, text, value
from serving.limits import LONGEST_ID
from serving.newcomer import Attribute, Given


@dataclass(frozen=True)
class Received:
    """One record, understood: whose it is, and only those attributes that were sent; None says that the CRM has no value.

    `given` is by the attribute's name as a request has it: the feature's, or of a time the column's.
    """

    source: str
    entity: str
    entity_id: str
    given: dict[str, Given] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """One attribute and the fields that may give it; of several the first that a record has."""

    attribute: Attribute
    fields: tuple[str, ...]


def links(hook: Hook, source: str, attributes: Sequence[Attribute]) -> tuple[Link, ...]:
    """What the hook reads: `fields` if it has any, else every attribute whose feature or column has a field's name.

    Raises:
        WorkspaceError: `fields` names an attribute that the hook's entity does not have.
    """
    if not hook.fields:
        return tuple(Link(attribute, attribute.names) for attribute in attributes)
    by_name = {name: attribute for attribute in attributes for name in attribute.names}
    for name in hook.fields:
        if name not in by_name:
            raise _no_attribute(hook, source, name, by_name)
    return tuple(Link(by_name[name], (crm_field,)) for name, crm_field in hook.fields.items())


def received(hook: Hook, source: str, known: Iterable[Link], raws: Iterable[Raw]) -> tuple[list[Received], list[Flaw]]:
    """What each record says, and what is wrong: a record without a usable id is left out, and of the others single fields.

    Args:
        hook: how the source's records are read.
        source: the name of the hook.
        known: what the hook reads, from `links`.
        raws: the records of one call.
    """
    found: list[Received] = []
    flaws: list[Flaw] = []
    known = tuple(known)
    for raw in raws:
        identity = _id(raw)
        if identity is None:
            flaws.append(_no_id(raw))
            continue
        given, wrong = _given(hook, known, raw)
        found.append(Received(source, hook.entity, identity, given))
        flaws += wrong
    return found, flaws


def _id(raw: Raw) -> str | None:
    try:
        identity = text(raw.id)
    except NotAValueError:
        return None
    return identity if 1 <= len(identity) <= LONGEST_ID else None


def _given(hook: Hook, known: Iterable[Link], raw: Raw) -> tuple[dict[str, Given], list[Flaw]]:
    given: dict[str, Given] = {}
    flaws: list[Flaw] = []
    for link in known:
        name = next((name for name in link.fields if name in raw.fields), None)
        if name is None:
            continue
        try:
            missing = hook.shape == "odoo" and name not in hook.flags
            given[link.attribute.names[0]] = value(raw.fields[name], link.attribute.type, missing)
        except NotAValueError:
            flaws.append(_not_a_value(raw, name, link.attribute))
    return given, flaws


def _no_id(raw: Raw) -> Flaw:
    return Flaw(
        where=f"{raw.where}: the id",
        expected=f"text or a whole number of up to {LONGEST_ID} characters",
        received="nothing" if raw.id is None else _shown(raw.id),
        repair="send the record's id with it, or name the field that has it as the hook's `id`",
    )


def _not_a_value(raw: Raw, name: str, attribute: Attribute) -> Flaw:
    return Flaw(
        where=f"{raw.where}.{name}",
        expected=f"{EXPECTED[attribute.type]}, for the attribute {attribute.names[0]}",
        received=_shown(raw.fields[name]),
        repair="mend the value in the CRM, or map another field; the record's other fields were taken",
    )


def _no_attribute(hook: Hook, source: str, name: str, known: Mapping[str, Any]) -> WorkspaceError:
    near = nearest(name, known)
    return WorkspaceError(
        f"[hooks.{source}] fields",
        expected=f"an attribute of {hook.entity}: {', '.join(known) or 'there are none, because the adapter declares none'}",
        received=f"`{name}`",
        repair=f"write `{near}`" if near else "write ATTRIBUTE = CRM_FIELD, the attribute first",
    )


def _shown(sent: Any) -> str:
    """What was sent, cut short; of what has parts only its kind, because those may name a person."""
    if isinstance(sent, (dict, list)):
        return f"{'an object' if isinstance(sent, dict) else 'a list'} of {len(sent)}"
    if isinstance(sent, int) and abs(sent) >= 10**18:
        return "a number of more than 18 digits"
    shown = ascii(sent)
    return shown if len(shown) <= 80 else shown[:77] + "..."
