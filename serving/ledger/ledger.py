"""The ledger as one: open it once in a process, use it from any thread."""

from __future__ import annotations

from sqlalchemy import func, select

from features.settings import Workspace
from serving.ledger.actions import Actions
from serving.ledger.address import Address
from serving.ledger.database import WRITE_MS, Database
from serving.ledger.erasure import Erasure
from serving.ledger.given import Online
from serving.ledger.inbox import Inbox
from serving.ledger.nights import Nights
from serving.ledger.outbox import NEVER, Outbox
from serving.ledger.retention import Retention
from serving.ledger.row import Waiting
from serving.ledger.scores import Scores
from serving.ledger.shadow import Shadow
from serving.ledger.table import INBOX, OUTBOX
from serving.ledger.targets import Targets


class Ledger(Scores, Nights, Online, Shadow, Actions, Inbox, Outbox, Targets, Retention, Erasure):
    """Every table of one database. Threads and processes may share it; each process opens its own."""

    @classmethod
    def open(cls, workspace: Workspace, write_ms: int = WRITE_MS) -> Ledger:
        """The ledger that `[serving] ledger` names. Nothing is connected to, or created, before it is used.

        Args:
            workspace: its settings say where, and how long a look-up of stored scores may take.
            write_ms: how long everything else may take.

        Raises:
            WorkspaceError: the setting is no address, or the driver of its database is not installed.
        """
        return cls(Database(Address.of(workspace), workspace.settings.serving.ledger_deadline_ms, write_ms))

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    def waiting(self) -> Waiting:
        """How much waits in the inbox and in the outbox, and how much in the outbox waits for nothing.

        Raises:
            StoreError: the database does not answer.
        """
        given_up = OUTBOX.c.not_before == NEVER
        tables = (
            select(func.count()).select_from(INBOX),
            select(func.count()).where(~given_up),
            select(func.count()).where(given_up),
        )
        rows = self._database.select(select(*(count.scalar_subquery() for count in tables)))
        return Waiting(*rows[0]) if rows else Waiting(0, 0)
