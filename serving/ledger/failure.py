"""What to do when the ledger's database fails, by what its driver says."""

from __future__ import annotations

from features.errors import CallError, StoreError
from serving.ledger.address import Address
from serving.limits import STORABLE

FULL = "free some room on its disk; scores are answered meanwhile"
REPAIRS = {
    "locked": "another process holds the file: end it, or wait until it is done",
    "full": FULL,
    "no space left": FULL,
    "malformed": "stop the service, move the file away and start again: a new ledger is begun",
    "not a database": "stop the service, move the file away and start again: a new ledger is begun",
    "no answer": "look what keeps the database busy, or raise `[serving] ledger_deadline_ms`",
    "timeout": "look what keeps the database busy, or raise `[serving] ledger_deadline_ms`",
    "permission": "let the service write there, or name another database in `[serving] ledger`",
    "readonly": "let the service write there, or name another database in `[serving] ledger`",
}
FILE_REPAIR = "see that the folder is there and can be written to"
SERVER_REPAIR = "start the database, or mend `[serving] ledger` in foresell.toml"


def failed(address: Address, message: str) -> StoreError:
    """The database does not do what it should."""
    received = " ".join(message.split())[:300]
    otherwise = FILE_REPAIR if address.path else SERVER_REPAIR
    repair = next((repair for words, repair in REPAIRS.items() if words in received.lower()), otherwise)
    return StoreError(address.where, expected="a database that answers", received=received, repair=repair)


def is_of_value(problem: BaseException) -> bool:
    """Whether a driver refuses a value before the database sees it, for which drivers have no error of its own."""
    refused = any(words in str(problem) for words in ("binding parameter", "cannot adapt"))
    return isinstance(problem, (UnicodeEncodeError, OverflowError)) or refused


def unstorable(address: Address, message: str) -> CallError:
    """A value is not one that a database can hold."""
    return CallError(
        address.where,
        expected="values that a database can hold",
        received=" ".join(message.split())[:300],
        repair=f"give {STORABLE}, and plain numbers",
    )
