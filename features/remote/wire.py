"""The wire: calls over HTTP at the target's pace, whose failures say whether to wait, to halve or to give up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from features.remote.credential import masked
from features.remote.failure import Busy, Denied, Refused
from features.remote.pace import Pace
from features.remote.retry_after import retry_after

if TYPE_CHECKING:
    import httpx

LONGEST_TOLD = 300
LONGEST_PROLOGUE = 1_000  # bytes before a page of HTML begins
_WAIT = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_AWAY = (408, 423, 425, 502, 504)
_LOCKED_OUT = (401, 407)


class Wire:
    """Calls of one run to one target.

    Attributes:
        secrets: what is shown to nobody, whatever the target repeats in its answers.

    Args:
        timeout_seconds: how long the target may take.
        pace: how often it may be called.
    """

    def __init__(self, timeout_seconds: float, pace: Pace) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each address, and with it whose score it was
        self._client = httpx.Client(timeout=timeout_seconds, follow_redirects=False)
        self._pace, self.secrets = pace, list[str]()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def call(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Make a call; the answer is one of success.

        Raises:
            Refused: the target answered that it will not take it.
            Busy: it does not answer, asks to wait, or failed; or a page of HTML came, which is nothing that a target says.
            Denied: it let nobody in, sent the call elsewhere, or the address is none.
        """
        import httpx

        self._pace.take()
        try:
            response = self._client.request(method, url, json=json, content=content, headers=headers, params=params)
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, ValueError) as error:
            raise Denied(f"the call cannot be made: {type(error).__name__}") from None
        except httpx.TransportError as error:
            raise Busy(type(error).__name__) from None
        except httpx.HTTPError as error:
            raise Denied(f"the call cannot be made: {type(error).__name__}") from None
        if not response.is_success:
            raise self._failure(response)
        if _is_page(response):
            raise Busy(f"HTTP {response.status_code} with a page of HTML: of maintenance, of a log-in, or of another address")
        return response

    def clean(self, text: str) -> str:
        """A text fit to be shown and kept: short, on one line, without secrets."""
        return " ".join(masked(text, self.secrets).split())[:LONGEST_TOLD]

    def _failure(self, response: httpx.Response) -> Exception:
        status, told = response.status_code, self.clean(f"HTTP {response.status_code}: {_words(response)}".rstrip(": "))
        if status in _WAIT:
            return Busy(told, retry_after(response))
        if status in _LOCKED_OUT or response.is_redirect:
            return Denied(told, status)
        if status in _AWAY or status >= 500:
            return Busy(told, broken=status not in _AWAY)
        return Refused(told, status, parsed(response))


def parsed(response: httpx.Response) -> Any:
    """The body of an answer as JSON; None if it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def _is_page(response: httpx.Response) -> bool:
    start = response.content[:LONGEST_PROLOGUE].lstrip().lower()
    return start.startswith(b"<") and b"<html" in start


def _words(response: httpx.Response) -> str:
    """What an answer says, by the names that CRMs give it."""
    body = parsed(response)
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return ""
    found = next((body[name] for name in ("message", "error_description", "detail", "error", "title") if body.get(name)), "")
    return str(found.get("message", "")) if isinstance(found, dict) else str(found)
