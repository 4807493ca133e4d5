"""The sender: takes scores to the CRMs that wait for them, one at a time, and neither loses nor insists.

Each score is sent at least once, with an `Idempotency-Key` by which a CRM knows one that comes again. What fails is tried again
after 5 seconds, 10, 20 and so on up to an hour, or when `Retry-After` of a 429 or 503 says so; after 15 attempts, or at once when
the CRM answers that it will never take it (such as 404), the letter is given up: kept and counted, but sent no more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from features.errors import ForesellError
from features.hook import Hook
from features.remote.retry_after import retry_after
from serving.hooks.delivery import request
from serving.ledger import Letter

if TYPE_CHECKING:
    import httpx

LETTERS_A_ROUND = 20
TIMEOUT_SECONDS = 5.0
MOST_ATTEMPTS = 15
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
LEASE = timedelta(seconds=4 * LETTERS_A_ROUND * TIMEOUT_SECONDS)  # connect, write, read: each may take the whole timeout
MAY_COME_RIGHT = (401, 403, 408, 409, 423, 425, 429)  # of the 4xx answers; 5xx and redirects may too
_LOG = logging.getLogger(__name__)


class Outbox(Protocol):
    """What the sender needs of the ledger."""

    def due(self, now: datetime, limit: int, lease: timedelta, without: Collection[str]) -> list[Letter]: ...

    def sent(self, letter_id: str) -> None: ...

    def failed(self, letter_id: str, error: str, not_before: datetime) -> None: ...

    def give_up(self, letter_id: str, error: str) -> None: ...


@dataclass(frozen=True)
class Failure:
    """Why a letter was not taken: whether it may be later, when the CRM wants to be asked again, whether it is out of breath."""

    told: str
    for_good: bool = False
    wait: timedelta | None = None
    busy: bool = False


class Sender:
    """One sender; several may share an outbox.

    Args:
        outbox: the ledger.
        hooks: where each source's scores go.
        client: from `client`.
    """

    def __init__(self, outbox: Outbox, hooks: Mapping[str, Hook], client: httpx.Client) -> None:
        self._outbox, self._hooks, self._client = outbox, hooks, client
        self._resting: dict[str, datetime] = {}  # until when a CRM that was down or busy is left alone

    def send(self, now: datetime) -> int:
        """Send what is due, up to 20 letters; a CRM that is down or busy is left alone for a while, and holds up no other.

        Returns:
            How many letters were taken.

        Raises:
            StoreError: the ledger does not answer; what was leased is due again after the lease.
        """
        taken, busy = 0, set[str]()
        self._resting = {source: until for source, until in self._resting.items() if until > now}
        for letter in self._outbox.due(now, LETTERS_A_ROUND, LEASE, self._resting):
            if letter.source in busy:
                continue
            failure = self._try(letter)
            if failure is None:
                self._outbox.sent(letter.id)
                taken += 1
                continue
            self._put_off(letter, failure, now)
            if failure.busy:
                busy.add(letter.source)
                self._resting[letter.source] = now + (FIRST_WAIT if failure.wait is None else failure.wait)
        return taken

    def _put_off(self, letter: Letter, failure: Failure, now: datetime) -> None:
        attempts = letter.attempts + 1
        _LOG.warning("score %s for %s not taken, attempt %d: %s", letter.id, letter.source, attempts, failure.told)
        if failure.for_good or attempts >= MOST_ATTEMPTS:
            self._outbox.give_up(letter.id, failure.told)
        else:
            self._outbox.failed(
                letter.id, failure.told, now + (backoff(letter.attempts) if failure.wait is None else failure.wait)
            )

    def _try(self, letter: Letter) -> Failure | None:
        """Send one letter; None when it was taken."""
        import httpx

        hook = self._hooks.get(letter.source)
        if hook is None or hook.write_back is None:
            return Failure("its hook has no write_back any more", for_good=True)
        try:
            # the answer's body is of no use, and may be of any size
            response = self._client.send(request(self._client, hook.write_back, letter), stream=True)
            response.close()
        except httpx.TransportError as error:
            return Failure(type(error).__name__, busy=True)
        except ForesellError as error:
            return Failure(f"{error.where}: {error.received}")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            return Failure(type(error).__name__)
        return None if response.is_success else _failure(response)


def client() -> httpx.Client:
    """What letters are sent with; close it at the end."""
    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each address, and with it whose score it was
    return httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)


def backoff(failures: int) -> timedelta:
    """How long to wait after so many failures before this one: 5 seconds, 10, 20, ..., at most an hour."""
    return min(FIRST_WAIT * 2 ** min(failures, 30), LONGEST_WAIT)


def _failure(response: httpx.Response) -> Failure:
    status = response.status_code
    for_good = 400 <= status < 500 and status not in MAY_COME_RIGHT
    busy = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    return Failure(f"HTTP {status}", for_good, retry_after(response) if busy else None, busy)
