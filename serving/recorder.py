"""The recorder: writes into the ledger what was answered, after it was answered.

The hot path only hands over. When the database fails, or its disk is full, scores are still answered: what was answered waits in
memory, up to a limit beyond which the oldest is given up and counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Event, Lock, Thread

from features.errors import StoreError
from serving.ledger import Entry, Ledger

CAPACITY = 20_000
EVERY_SECONDS = 0.1
ENTRIES_AT_ONCE = 5_000
MOST_IN_A_WRITE = 5_000
LONGEST_PAUSE = 10.0

_log = logging.getLogger(__name__)


class Recorder:
    """One thread that writes what any thread puts, in the order in which it was put.

    Attributes:
        dropped: entries given up: beyond the capacity, not storable, or put after the end.
        failures: attempts at writing at which the database failed.
    """

    def __init__(
        self,
        ledger: Ledger,
        capacity: int = CAPACITY,
        every_seconds: float = EVERY_SECONDS,
        kept: Callable[[Sequence[Entry]], Sequence[Entry]] = lambda entries: entries,
    ) -> None:
        """Start the thread.

        Args:
            ledger: where to write.
            capacity: entries kept in memory while the database is away.
            kept: told entries just before they are written, says which of them are: who was forgotten meanwhile is not.
            every_seconds: how long to gather entries for one write; also the first pause after a failure.
        """
        self.dropped = 0
        self.failures = 0
        self._ledger, self._capacity, self._every, self._kept = ledger, capacity, every_seconds, kept
        self._entries: deque[Entry] = deque()
        self._writing: deque[Sequence[Entry]] = deque()
        self._failing = False
        self._put = self._gone = 0  # how many were put, and of these written or given up
        self._lock, self._wake, self._stopping, self._given_up = Lock(), Event(), Event(), Event()
        self._went = Condition(self._lock)
        self._thread = Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        with self._lock:
            return self._count()

    def put(self, entries: Sequence[Entry]) -> None:
        """Hand entries over; takes microseconds, whatever the database does, and raises nothing."""
        with self._lock:
            if self._stopping.is_set():
                self.dropped += len(entries)
                return
            self._entries.extend(entries)
            self._put += len(entries)
            for _ in range(min(self._count() - self._capacity, len(self._entries))):
                self._entries.popleft()
                self.dropped += 1
                self._gone += 1
            enough = len(self._entries) >= ENTRIES_AT_ONCE
        if enough:
            self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until everything that was put before is written.

        Args:
            timeout: seconds.

        Returns:
            Whether it is; not when anything was given up meanwhile, or the recorder has been stopped.
        """
        with self._went:
            target, dropped = self._put, self.dropped
            self._wake.set()
            self._went.wait_for(lambda: self._gone >= target or self._stopping.is_set(), timeout)
            return self._gone >= target and self.dropped == dropped and not self._stopping.is_set()

    def stop(self, timeout: float) -> bool:
        """Write what is left and end the thread.

        Args:
            timeout: seconds after which what is still left is given up and counted.

        Returns:
            Whether everything was written.
        """
        with self._lock:
            self._stopping.set()
        self._wake.set()
        self._thread.join(timeout)
        self._given_up.set()
        with self._lock:
            left = self._count()
            self.dropped += left
            self._entries.clear()
        return left == 0

    def _count(self) -> int:
        return len(self._entries) + sum(map(len, self._writing))

    def _run(self) -> None:
        pause = self._every
        while not self._given_up.is_set():
            self._wait(pause)
            pause = self._every if self._write() else min(2 * pause, LONGEST_PAUSE)
            if self._stopping.is_set() and not self._count():
                return

    def _wait(self, pause: float) -> None:
        """Until the next write: sooner when enough has gathered or all shall end, but a failed database is left in peace."""
        if self._stopping.is_set():
            self._given_up.wait(self._every if self._writing else 0)
        elif self._writing:
            self._stopping.wait(pause)
        else:
            self._wake.wait(pause)
            self._wake.clear()

    def _write(self) -> bool:
        """Write all there is; False when the database failed."""
        while chunk := self._next():
            try:
                self._ledger.keep(self._kept(chunk))
            except StoreError as error:
                self._tell(error)
                return False
            except Exception as error:  # whatever it is, the entries behind must not wait for it for ever
                self._set_apart(chunk, error)
            else:
                self._forget()
        return True

    def _next(self) -> Sequence[Entry]:
        """What is to be written now; it stays in memory until it is."""
        with self._lock:
            if not self._writing and self._entries:
                count = min(len(self._entries), MOST_IN_A_WRITE)
                self._writing.append([self._entries.popleft() for _ in range(count)])
            return self._writing[0] if self._writing else ()

    def _forget(self) -> None:
        with self._lock:
            self._gone += len(self._writing.popleft())
            self._went.notify_all()
            recovered, self._failing = self._failing, False
        if recovered:
            _log.warning("the ledger answers again; %d entries wait, %d were dropped", self.waiting, self.dropped)

    def _set_apart(self, chunk: Sequence[Entry], error: Exception) -> None:
        """Halve what cannot be stored until the entry that is to blame is alone, and give that up."""
        with self._lock:
            self._writing.popleft()
            if len(chunk) > 1:
                middle = len(chunk) // 2
                self._writing.extendleft((chunk[middle:], chunk[:middle]))
                return
            self.dropped += 1
            self._gone += 1
            self._went.notify_all()
        _log.warning("an entry of request %s cannot be stored: %s", chunk[0].request_id, type(error).__name__)

    def _tell(self, error: StoreError) -> None:
        """One line for each time the database goes away, not one for each attempt."""
        self.failures += 1
        first, self._failing = not self._failing, True
        if first:
            _log.warning("%s: %s; what is answered waits in memory. %s", error.where, error.received, error.repair)
