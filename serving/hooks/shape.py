"""Shapes: how each CRM packs its records into the body of a call.

| shape | the body |
| --- | --- |
| json | one object, an array of objects, or `{"records": [...]}`; the id is `id` |
| odoo | one object with `_id`, `_model`, `_action` and the fields that were chosen for the webhook (Odoo 17 and later) |
| espocrm | an array of objects with `id` and only the fields that changed |
| hubspot | an array of events about single properties: `objectId`, `subscriptionType`, `propertyName`, `propertyValue`, `occurredAt`; those about one object become one record, the latest of a property counts |
| salesforce | a SOAP envelope with up to 100 notifications, each an `sObject`; it is answered by an acknowledgement (serving.hooks.soap) |

Sources: odoo/addons/base/models/ir_actions.py `_run_action_webhook`; docs.espocrm.com "Webhooks"; developers.hubspot.com "Webhooks
API"; developer.salesforce.com "Understanding Notifications".
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from features.hook import Hook
from serving.flaw import Flaw
from serving.hooks.refusal import Unreadable
from serving.hooks.soap import notifications
from serving.limits import MOST_ENTITIES

GONE = ("deletion", "privacyDeletion")


@dataclass(frozen=True)
class Raw:
    """One record as the CRM sent it: where in the body it stood, its id and fields, and the CRM's name of what it is, if told."""

    where: str
    id: Any
    fields: dict[str, Any] = field(default_factory=dict)
    object: str | None = None


def read(hook: Hook, body: bytes) -> tuple[list[Raw], list[Flaw]]:
    """The records of a body, and what is wrong with those that are none.

    Raises:
        Unreadable: the body is not JSON or XML, is cut off, is nested too deep, or holds more than 1,000 records or events.
    """
    found = list(_PACKED[hook.shape](hook, body))
    raws = [one for one in found if isinstance(one, Raw)]
    flaws = [one for one in found if isinstance(one, Flaw)]
    wanted = [raw for raw in raws if _counts(hook, raw)]
    return wanted, flaws + [_other_object(hook, raw) for raw in raws if not _counts(hook, raw)]


def _json(hook: Hook, body: bytes) -> Iterator[Raw | Flaw]:
    document = _parsed(body)
    packed = "records" if isinstance(document, dict) and isinstance(document.get("records"), list) else ""
    for where, item in _items(document[packed] if packed else document, packed):
        yield _record(where, item, (hook.id or "id",))


def _odoo(hook: Hook, body: bytes) -> Iterator[Raw | Flaw]:
    for where, item in _items(_parsed(body)):
        yield _record(where, item, (hook.id,) if hook.id else ("_id", "id"), "_model")


def _hubspot(hook: Hook, body: bytes) -> Iterator[Raw | Flaw]:
    """One record for all events about an object; events may come in any order, so the later of two values counts."""
    merged: dict[tuple[str, str], Raw] = {}
    for where, event in sorted(_items(_parsed(body)), key=lambda item: _occurred(item[1])):
        fault = _event_fault(where, event)
        if fault is not None:
            yield fault
            continue
        kind = _object_type(event)
        identity = event["objectId"]
        raw = merged.setdefault((kind, str(identity)), Raw(where, identity, {"objectId": identity}, kind))
        if isinstance(event.get("propertyName"), str):
            raw.fields[event["propertyName"]] = event.get("propertyValue")
    yield from (replace(raw, id=raw.fields.get(hook.id or "objectId")) for raw in merged.values())


def _salesforce(hook: Hook, body: bytes) -> Iterator[Raw | Flaw]:
    found = notifications(body)
    _require_few(len(found))
    for number, (kind, fields) in enumerate(found):
        yield Raw(f"body.Notification[{number}]", fields.get(hook.id or "Id"), fields, kind)


_PACKED: dict[str, Callable[[Hook, bytes], Iterable[Raw | Flaw]]] = {
    "json": _json, "odoo": _odoo, "espocrm": _json, "hubspot": _hubspot, "salesforce": _salesforce,
}  # fmt: skip


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise _unreadable("a document that is nested less deep", "one nested too deep") from None
    except ValueError as problem:
        raise _unreadable("a JSON document", str(problem)[:120]) from None


def _items(document: Any, packed: str = "") -> list[tuple[str, Any]]:
    """Each record of an object or array, with where it stands."""
    if not isinstance(document, (dict, list)):
        raise _unreadable("an object, or an array of objects", _kind(document))
    if isinstance(document, dict):
        return [("body", document)]
    _require_few(len(document))
    return [(f"body{'.' if packed else ''}{packed}[{number}]", item) for number, item in enumerate(document)]


def _record(where: str, item: Any, ids: Iterable[str], object_field: str = "") -> Raw | Flaw:
    if not isinstance(item, dict):
        return _flaw(where, "an object with an id", _kind(item), "send each record as an object")
    identity = next((item[name] for name in ids if name in item), None)
    named = item.get(object_field)
    return Raw(where, identity, item, named if isinstance(named, str) else None)


def _event_fault(where: str, event: Any) -> Flaw | None:
    """Why an event is about no record that could be scored."""
    if not isinstance(event, dict) or not isinstance(event.get("objectId"), (str, int)):
        return _flaw(where, "an event with `objectId`", _kind(event), "subscribe to creations and property changes only")
    if str(event.get("subscriptionType")).rpartition(".")[2] in GONE:
        repair = "nothing to mend: what is deleted is not scored"
        return _flaw(where, "a creation or a property change", "a deletion", repair)
    return None


def _occurred(event: Any) -> float:
    told = event.get("occurredAt") if isinstance(event, dict) else None
    return told if isinstance(told, (int, float)) and not isinstance(told, bool) and told == told else 0


def _object_type(event: dict[str, Any]) -> str:
    """`contact` of `contact.propertyChange`; the generic `object.propertyChange` has it in `objectTypeId`, such as 0-1."""
    kind = str(event.get("subscriptionType", "")).partition(".")[0]
    return str(event.get("objectTypeId", "")) if kind == "object" else kind


def _counts(hook: Hook, raw: Raw) -> bool:
    return not hook.object or raw.object is None or raw.object == hook.object


def _other_object(hook: Hook, raw: Raw) -> Flaw:
    repair = "send what else there is to a hook of its own, or change `object`"
    return _flaw(raw.where, f"a record of {hook.object}", f"one of {ascii(raw.object)[:80]}", repair)


def _require_few(count: int) -> None:
    if count > MOST_ENTITIES:
        raise _unreadable(f"up to {MOST_ENTITIES:,} records", f"{count:,}", "send fewer records in a call")


def _kind(value: Any) -> str:
    names = {dict: "an object without it", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _flaw(where: str, expected: str, received: str, repair: str) -> Flaw:
    return Flaw(where=where, expected=expected, received=received, repair=repair)


def _unreadable(expected: str, received: str, repair: str = "check the hook's `shape` against what the CRM sends") -> Unreadable:
    return Unreadable("body", expected=expected, received=received, repair=repair)
