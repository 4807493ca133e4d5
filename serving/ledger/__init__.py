"""The ledger: stored scores as they were served, who asked for what, what was done, and what still waits to be scored or sent.

A SQLite file of the workspace, or a PostgreSQL database; several processes and threads share it.
"""

from serving.ledger.kept import Kept
from serving.ledger.ledger import Ledger
from serving.ledger.row import (
    Action,
    Claimed,
    Compared,
    Entry,
    Forgotten,
    Letter,
    Received,
    Road,
    Served,
    State,
    Status,
    Stored,
    Waiting,
    Written,
)  # fmt: skip

__all__ = [
    "Action", "Claimed", "Compared", "Entry", "Forgotten", "Kept", "Ledger", "Letter", "Received", "Road", "Served", "State",
    "Status", "Stored", "Waiting", "Written",
]  # fmt: skip
