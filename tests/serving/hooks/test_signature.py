"""A call is taken only with a signature of its hook's secret, in each CRM's own way, and never with a stale or weaker one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from serving.hooks.refusal import Unsigned
from tests.serving.hooks.payloads import ESPOCRM, HUBSPOT, NOW, URL, hook, unpacked

SECRET = "s3cret"
BODY = json.dumps(HUBSPOT).encode()


def mac(message: bytes, secret: str = SECRET) -> hmac.HMAC:
    return hmac.new(secret.encode(), message, hashlib.sha256)


def espocrm(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"Signature": base64.b64encode(f"67a1:{mac(body, secret).hexdigest()}".encode()).decode()}


def espocrm_before_9(body: bytes) -> dict[str, str]:
    return {"X-Signature": base64.b64encode(b"67a1:" + mac(body).digest()).decode()}


def hubspot(body: bytes, milliseconds: float = NOW.timestamp() * 1000, url: str = URL) -> dict[str, str]:
    told = str(int(milliseconds))
    message = f"POST{url}".encode() + body + told.encode()
    return {"X-HubSpot-Signature-v3": base64.b64encode(mac(message).digest()).decode(), "X-HubSpot-Request-Timestamp": told}


def hubspot_v1(body: bytes) -> dict[str, str]:
    digest = hashlib.sha256(SECRET.encode() + body).hexdigest()
    return {"x-hubspot-signature": digest, "x-hubspot-signature-version": "v1"}


def hubspot_v2(body: bytes) -> dict[str, str]:
    digest = hashlib.sha256(f"{SECRET}POST{URL}".encode() + body).hexdigest()
    return {"X-HubSpot-Signature": digest, "X-HubSpot-Signature-Version": "v2"}


def plain(body: bytes) -> dict[str, str]:
    return {"x-foresell-signature": f"sha256={mac(body).hexdigest()}"}


def hub(body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={mac(body).hexdigest()}"}


SIGNED = {
    "json": plain, "json as GitHub": hub, "espocrm": espocrm, "espocrm before 9": espocrm_before_9,
    "hubspot": hubspot, "hubspot v1": hubspot_v1, "hubspot v2": hubspot_v2,
}  # fmt: skip


@pytest.mark.parametrize("how", SIGNED)
def test_a_signed_call_is_taken_and_one_that_was_tampered_with_is_refused(how: str) -> None:
    signed = hook(how.split()[0], secret=SECRET)
    body = json.dumps(ESPOCRM).encode() if "espocrm" in how else BODY
    headers = SIGNED[how](body)
    assert unpacked(signed, body, headers).received or "json" in how
    for tampered, by in (
        (body + b" ", headers),
        (body, {}),
        (body, dict.fromkeys(headers, "é=")),
        (body, dict.fromkeys(headers, "")),
    ):
        with pytest.raises(Unsigned) as refusal:
            unpacked(signed, tampered, by)
        assert refusal.value.status == 401 and SECRET not in str(refusal.value)
    with pytest.raises(Unsigned):
        unpacked(hook(how.split()[0], secret="another"), body, headers)


@pytest.mark.parametrize("how", ["json", "espocrm", "hubspot"])
def test_without_a_secret_no_signature_is_looked_at(how: str) -> None:
    assert unpacked(hook(how), BODY, dict.fromkeys(SIGNED[how](BODY), "wrong")).flaws is not None


def test_a_secret_comes_from_the_environment_and_there_may_be_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_ONE", "first with blanks")
    monkeypatch.setenv("HOOK_TWO", "second")
    body = json.dumps(ESPOCRM).encode()
    both = hook("espocrm", secret="${HOOK_ONE} ${HOOK_TWO}")
    for secret in ("first with blanks", "second"):
        assert len(unpacked(both, body, espocrm(body, secret)).received) == 2
    for secret in ("first", "${HOOK_ONE}", ""):
        with pytest.raises(Unsigned):
            unpacked(both, body, espocrm(body, secret))


@pytest.mark.parametrize(("seconds", "taken"), [(0, True), (-300, True), (-300.001, False), (300, True), (300.001, False)])
def test_hubspot_signs_the_time_and_five_minutes_are_the_limit(seconds: float, taken: bool) -> None:
    headers = hubspot(BODY, (NOW.timestamp() + seconds) * 1000)
    now = NOW if float(seconds).is_integer() else NOW + timedelta(milliseconds=-1 if seconds > 0 else 1)
    signed = hook("hubspot", secret=SECRET)
    if taken:
        assert unpacked(signed, BODY, headers, now).received
    else:
        with pytest.raises(Unsigned, match="minutes"):
            unpacked(signed, BODY, headers, now)


@pytest.mark.parametrize("told", ["", "soon", "-1", "1e12", "9" * 400, "²"])
def test_hubspot_with_a_time_that_is_none_is_refused(told: str) -> None:
    with pytest.raises(Unsigned):
        unpacked(hook("hubspot", secret=SECRET), BODY, {**hubspot(BODY), "X-HubSpot-Request-Timestamp": told})


def test_a_good_weaker_signature_does_not_help_a_wrong_stronger_one() -> None:
    headers = {**hubspot_v1(BODY), **hubspot(BODY + b" ")}
    with pytest.raises(Unsigned, match="v3"):
        unpacked(hook("hubspot", secret=SECRET), BODY, headers)


def test_hubspot_signs_the_address_with_some_characters_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.serving.hooks import payloads

    monkeypatch.setattr(payloads, "URL", f"{URL}?to=a%40b%2fc%20d#part")
    headers = hubspot(BODY, url=f"{URL}?to=a@b/c%20d")
    assert unpacked(hook("hubspot", secret=SECRET), BODY, headers).received
