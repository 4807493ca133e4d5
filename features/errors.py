"""Every error that Foresell raises on purpose.

ForesellError                 the work failed                              exit code 1
├── CallError                 the call was wrong                           exit code 2
│   ├── WorkspaceError        no workspace there, or its settings are wrong
│   ├── PropensityError       a propensity is unknown or its file is wrong
│   └── FeatureError          a feature is unknown or its declaration is wrong
├── SourceError               a source could not be pulled from
├── TableError                an export does not fit the contract of a table
├── QualityError              the tables hold errors that scores must not be built on
├── SnapshotError             a snapshot is missing or cannot be built
├── EngineError               Spark gave up a piece of work
├── BusyError                 another run holds the workspace, or a target
├── StoreError                the feature store does not hold what was asked
├── DataFloorError            too little matured data to train on
├── LeakageError              a feature knows the outcome
├── ContractError             a model got other columns than it was trained on
├── GateError                 a model may not be promoted
├── RegistryError             the registry does not hold the version asked for
└── LostRowsError             fewer or more rows came out than went in

Each carries where it happened, what was expected, what came instead and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ForesellError(Exception):
    """The root: `where`, `expected`, `received` and `repair` are sentences without a full stop."""

    exit_code = 1

    def __init__(self, where: str, *, expected: str, received: str, repair: str) -> None:
        self.where = where
        self.expected = expected
        self.received = received
        self.repair = repair
        super().__init__(f"{where}\n  expected: {expected}\n  received: {received}\n  to mend:  {repair}")

    def as_dict(self) -> dict[str, str]:
        """The same four sentences and the error's name, for `--json` and HTTP bodies."""
        return {
            "error": type(self).__name__,
            "where": self.where,
            "expected": self.expected,
            "received": self.received,
            "repair": self.repair,
        }


class CallError(ForesellError):
    exit_code = 2


class WorkspaceError(CallError):
    pass


class PropensityError(CallError):
    pass


class FeatureError(CallError):
    pass


class SourceError(ForesellError):
    pass


class TableError(ForesellError):
    pass


class QualityError(ForesellError):
    pass


class SnapshotError(ForesellError):
    pass


class EngineError(ForesellError):
    pass


class BusyError(ForesellError):
    pass


class StoreError(ForesellError):
    pass


class DataFloorError(ForesellError):
    pass


class LeakageError(ForesellError):
    pass


class ContractError(ForesellError):
    pass


class GateError(ForesellError):
    pass


class RegistryError(ForesellError):
    pass


class LostRowsError(ForesellError):
    pass


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that `word` was most likely meant to be, whatever its case; None when nothing comes near."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None
