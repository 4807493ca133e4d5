"""Salesforce's outbound messages: SOAP envelopes with notifications, and the acknowledgement without which they come again.

Namespaces and prefixes differ between organisations and WSDLs, so elements are known by their local names. Document types and
entities are refused: no outbound message has any.
Source: developer.salesforce.com, SOAP API Developer Guide, "Understanding the Outbound Messaging WSDL".
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

from serving.hooks.refusal import Unreadable

MEDIA_TYPE = "text/xml; charset=utf-8"
MOST_ELEMENTS = 20_000  # 100 notifications of 200 fields
ACKNOWLEDGED = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)
_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"


def notifications(body: bytes) -> list[tuple[str | None, dict[str, Any]]]:
    """The `sObject` of each notification: its type, such as `Lead`, and its fields; `xsi:nil` and empty elements are None.

    Raises:
        Unreadable: the body is not XML, is cut off, declares a document type or entities, has more than 20,000 elements, or
            is no outbound message.
    """
    root = _parsed(body)
    message = next((child for part in root for child in part if _local(child.tag) == "notifications"), None)
    if _local(root.tag) != "Envelope" or message is None:
        raise _unreadable("a SOAP envelope with `notifications`", f"`{_local(root.tag)[:80]}`")
    objects = [(child for child in one if _local(child.tag) == "sObject") for one in message if _local(one.tag) == "Notification"]
    return [_object(next(found, None)) for found in objects]


def _parsed(body: bytes) -> Element:
    try:
        parser = DefusedXMLParser(target=_Counted(), forbid_dtd=True)
        parser.feed(body)
        root: Element = parser.close()
    except DefusedXmlException:
        raise _unreadable("XML without a document type or entities", "one that declares some") from None
    except (ParseError, ValueError, LookupError) as problem:
        raise _unreadable("a whole XML document", str(problem)[:120]) from None
    return root


class _Counted(TreeBuilder):
    """Ends the reading of what is far too large for an outbound message, which would keep all other calls waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MOST_ELEMENTS

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {MOST_ELEMENTS:,} elements")
        return super().start(tag, attrs)


def _object(found: Element | None) -> tuple[str | None, dict[str, Any]]:
    if found is None:
        return None, {}
    kind = found.get(f"{_INSTANCE}type", "").rpartition(":")[2]
    return kind or None, {_local(part.tag): _value(part) for part in found}


def _value(element: Element) -> Any:
    """The text of a field; a compound one, such as an address, is an object."""
    if len(element):
        return {_local(part.tag): part.text for part in element}
    return None if element.get(f"{_INSTANCE}nil") in ("true", "1") else element.text


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _unreadable(expected: str, received: str) -> Unreadable:
    repair = "check the hook's `shape`, and the endpoint of the outbound message"
    return Unreadable("body", expected=expected, received=received, repair=repair)
