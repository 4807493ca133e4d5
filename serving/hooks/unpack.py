"""Unpacking: from a webhook call to what its records say. Pure: the route answers, and hands what was received to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.hook import Hook
from serving.flaw import Flaw
from serving.hooks import soap
from serving.hooks.call import Call
from serving.hooks.delivery import require_sendable
from serving.hooks.mapping import Received, links, received
from serving.hooks.shape import read
from serving.hooks.signature import schemes, secrets, verify
from serving.newcomer import Attribute


@dataclass(frozen=True)
class Unpacked:
    """What a call says: its usable records, what was wrong, and the body its CRM must get as the answer, if it has to be one."""

    received: tuple[Received, ...]
    flaws: tuple[Flaw, ...]
    answer_body: bytes | None = None
    answer_media_type: str | None = None


def require_usable(hook: Hook, source: str, attributes: Sequence[Attribute]) -> None:
    """Check a hook before anything is received.

    Raises:
        WorkspaceError: `fields` name an attribute there is not, a secret is not set or of a CRM that signs nothing, or what
            write_back says cannot be sent.
    """
    links(hook, source, attributes)
    if hook.secret:
        schemes(hook)
        secrets(hook.secret)
    if hook.write_back:
        require_sendable(source, hook.write_back)


def unpack(
    hook: Hook,
    source: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    attributes: Sequence[Attribute],
    now: datetime,
) -> Unpacked:
    """The records of one call.

    Args:
        hook: how the source's calls are read.
        source: the name of the hook.
        method, url, headers, body: the request; `url` as the CRM knows it, because HubSpot signs it.
        attributes: what may be said of the hook's entity, from `serving.newcomer.attributes`.
        now: the instant of the request.

    Raises:
        Unsigned: the hook has a secret and the call is not signed with it.
        Unreadable: the body is not of the hook's shape.
        WorkspaceError: the hook cannot be used at all; `require_usable` tells it at start-up.
    """
    call = Call(method, url, headers, body)
    verify(hook, call, now)
    raws, unread = read(hook, body)
    found, flawed = received(hook, source, links(hook, source, attributes), raws)
    answer = (soap.ACKNOWLEDGED, soap.MEDIA_TYPE) if hook.shape == "salesforce" else (None, None)
    return Unpacked(tuple(found), (*unread, *flawed), *answer)
