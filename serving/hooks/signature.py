"""Signatures: whether a call comes from who knows the secret of its hook.

| shape | what is signed, and how |
| --- | --- |
| json | `X-Foresell-Signature` or `X-Hub-Signature-256`: `sha256=` and the HMAC-SHA256 of the body in hexadecimal |
| espocrm | `Signature`: base64 of `WEBHOOK_ID:` and the HMAC-SHA256 of the body in hexadecimal (EspoCRM 9 and later); without it `X-Signature`: the same with the HMAC's bytes (until EspoCRM 11). A secret may be of one webhook: a hook takes several |
| hubspot | `X-HubSpot-Signature-v3`: base64 of the HMAC-SHA256 of method, address, body and `X-HubSpot-Request-Timestamp`, at most five minutes old; without it `X-HubSpot-Signature`, the SHA-256 of secret and body (version v1) or of secret, method, address and body (v2) in hexadecimal, which knows no time |
| odoo, salesforce | nothing: the address with its key is all there is, and a secret in the settings is an error |

Sources: docs.espocrm.com "Webhooks" and its Espo/Core/Webhook/Sender.php; developers.hubspot.com "Validating requests".
"""  # noqa: E501

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from features.errors import WorkspaceError
from features.hook import Hook
from features.storage import expanded
from serving.hooks.call import Call
from serving.hooks.refusal import Unsigned

LONGEST_AGE = timedelta(minutes=5)
_DECODED_BY_HUBSPOT = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$",
    "%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
Signs = Callable[[Call, bytes], bool]


def verify(hook: Hook, call: Call, now: datetime) -> None:
    """Accept a call that is signed with a secret of its hook, or any call if the hook has none.

    Raises:
        Unsigned: the call is not signed, wrongly signed, or was signed more than five minutes before or after `now`.
        WorkspaceError: the secret is an environment variable that is not set, or of a CRM that signs nothing.
    """
    if not hook.secret:
        return
    known = schemes(hook)
    header = next((name for name in known if call.header(name)), next(iter(known)))
    if not call.header(header):
        raise _refused(header, "a signature", "none", "have the CRM sign its calls with the hook's secret")
    if header == "X-HubSpot-Signature-v3":
        _require_recent(call, now)
    # every secret is tried, so that the time taken does not tell which one was right
    if not any([known[header](call, secret) for secret in secrets(hook.secret)]):
        raise _refused(header, "the body's signature with the hook's secret", "another", "use the same secret on both sides")


def secrets(setting: str) -> list[bytes]:
    """The secrets of a setting, its environment variables filled in; a variable's value may hold blanks, and stays whole.

    Raises:
        WorkspaceError: one of them is not set; its bare name would be a secret that everybody knows.
    """
    found = [str(expanded(secret)) for secret in setting.split()]
    if not found or any(not secret or "${" in secret for secret in found):
        raise _unusable("an environment variable with a value", "none", "set what `secret` names and start again")
    return [secret.encode() for secret in found]


def signed(body: bytes, secret: bytes) -> str:
    """The value of `X-Foresell-Signature` for a body."""
    return f"sha256={hmac.new(secret, body, sha256).hexdigest()}"


def schemes(hook: Hook) -> dict[str, Signs]:
    """The headers with which the hook's CRM signs and who checks each, the strongest first; the first that a call has counts.

    Raises:
        WorkspaceError: it signs nothing.
    """
    if hook.shape not in _SCHEMES:
        repair = "remove `secret` from the hook: the key in its address is what it has"
        raise _unusable("no secret, because this CRM signs nothing", f"one for the shape {hook.shape}", repair)
    return _SCHEMES[hook.shape]


def _json(header: str) -> Signs:
    return lambda call, secret: _same(signed(call.body, secret), call.header(header))


def _espocrm(call: Call, secret: bytes) -> bool:
    return _same(hmac.new(secret, call.body, sha256).hexdigest().encode(), _after_id(call.header("Signature")))


def _espocrm_before_9(call: Call, secret: bytes) -> bool:
    return _same(hmac.new(secret, call.body, sha256).digest(), _after_id(call.header("X-Signature")))


def _after_id(signature: str) -> bytes:
    """What follows the webhook's id, which is public and not checked."""
    try:
        return base64.b64decode(signature, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _hubspot(call: Call, secret: bytes) -> bool:
    time = call.header("X-HubSpot-Request-Timestamp")
    message = call.method.upper().encode() + _uri(call).encode(errors="replace") + call.body + time.encode()
    expected = base64.b64encode(hmac.new(secret, message, sha256).digest())
    return _same(expected, call.header("X-HubSpot-Signature-v3"))


def _hubspot_before_3(call: Call, secret: bytes) -> bool:
    request = (
        b""
        if call.header("X-HubSpot-Signature-Version").lower() != "v2"
        else f"{call.method.upper()}{call.url}".encode(errors="replace")
    )
    return _same(sha256(secret + request + call.body).hexdigest(), call.header("X-HubSpot-Signature"))


def _uri(call: Call) -> str:
    """The address as HubSpot signs it: without a fragment, and with some characters decoded."""
    uri = call.url.partition("#")[0]
    for code, character in _DECODED_BY_HUBSPOT.items():
        uri = uri.replace(code, character).replace(code.lower(), character)
    return uri


def _require_recent(call: Call, now: datetime) -> None:
    header = "X-HubSpot-Request-Timestamp"
    told = call.header(header)
    time = _instant(told)
    if time is None or abs(now - time) > LONGEST_AGE:
        repair = "set both clocks; HubSpot sends a call again with a new time"
        raise _refused(header, f"milliseconds within {LONGEST_AGE.seconds // 60} minutes of {now.isoformat()}", told[:40], repair)


def _instant(milliseconds: str) -> datetime | None:
    sound = milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 15
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if sound else None


def _same(expected: str | bytes, received: str | bytes) -> bool:
    """Compared in constant time; text that is not ASCII is no signature."""
    one, other = (text.encode("utf-8", "replace") if isinstance(text, str) else text for text in (expected, received))
    return hmac.compare_digest(one, other)


def _refused(header: str, expected: str, received: str, repair: str) -> Unsigned:
    return Unsigned(f"header {header}", expected=expected, received=received or "nothing", repair=repair)


def _unusable(expected: str, received: str, repair: str) -> WorkspaceError:
    return WorkspaceError("`secret` in [hooks]", expected=expected, received=received, repair=repair)


_SCHEMES: dict[str, dict[str, Signs]] = {
    "json": {"X-Foresell-Signature": _json("X-Foresell-Signature"), "X-Hub-Signature-256": _json("X-Hub-Signature-256")},
    "espocrm": {"Signature": _espocrm, "X-Signature": _espocrm_before_9},
    "hubspot": {"X-HubSpot-Signature-v3": _hubspot, "X-HubSpot-Signature": _hubspot_before_3},
}
