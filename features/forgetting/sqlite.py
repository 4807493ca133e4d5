"""SQLite files without what was deleted from them: in free pages, in the slack of others, and in the log of writes."""

from __future__ import annotations

import sqlite3
import time

TRIES, PAUSE_SECONDS = 20, 0.25


def compacted(connection: sqlite3.Connection) -> None:
    """Write a database anew from what is in it, and empty its log of writes (WAL), waiting for whoever reads it.

    A deleted row, and what a changed one said before, otherwise stay in the file until something else needs the room.

    Args:
        connection: without a transaction of its own; its patience counts.

    Raises:
        sqlite3.OperationalError: somebody holds the database for longer than that.
    """
    connection.execute("vacuum")
    for _ in range(TRIES):
        is_busy = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if not is_busy:
            return
        time.sleep(PAUSE_SECONDS)
    raise sqlite3.OperationalError("somebody reads the database without a pause, so that its log of writes cannot be emptied")
