"""Reconciliation: whether a target holds what it was sent, by a sample that is read back.

What it was sent is worked out from the night's scores, which stay. A record whose night is gone, or has been scored again since,
cannot be compared and is counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from heapq import nsmallest
from typing import Any, NamedTuple

from features.errors import StoreError
from features.remote.failure import Unsent
from features.remote.pace import Clock, Sleep
from features.settings import Workspace
from features.target import Target
from serving.connectors.change import Change, Night, Partition, gone
from serving.connectors.connector import Connector
from serving.connectors.opening import open_connector
from serving.connectors.record import mapping, own_names, record
from serving.connectors.write_back import target_of
from serving.ledger import Ledger, Written
from serving.partition import PART, folder

IDS_A_CALL = 100
EMPTY = (None, "", False)


class Difference(NamedTuple):
    """A field that does not hold what it was sent; `field` is None where the whole record is not there."""

    propensity: str
    entity_id: str
    field: str | None
    sent: Any
    found: Any


@dataclass(frozen=True)
class Comparison:
    """What a sample showed: how many records were compared, how many could not be, and what differs."""

    target: str
    compared: int
    incomparable: int
    differences: list[Difference]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "differences": [one._asdict() for one in self.differences]}


def reconcile(
    workspace: Workspace, name: str, sample: int, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep
) -> Comparison:
    """Read back a sample of what a target was sent; the same sample for the same ledger.

    Raises:
        WorkspaceError: there is no such target, or its settings are wrong.
        StoreError: ledger or target do not answer.
        CallError: the target cannot be read.
    """
    target = target_of(workspace, name)
    fields = mapping(target, name)
    with (
        closing(Ledger.open(workspace)) as ledger,
        closing(open_connector(workspace, name, target, clock, sleep)) as connector,
    ):
        chosen = _sample(ledger, name, sample)
        sent = _sent(workspace, target, fields, chosen)
        held = _held(connector, name, sent)
    differences = [found for key, values in sorted(sent.items()) for found in _differences(key, values, held.get(key))]
    return Comparison(name, len(sent), len(chosen) - len(sent), differences)


def same(sent: Any, found: Any) -> bool:
    """Whether a field holds what it was sent; a CRM may keep a number as text, and nothing as empty text or `false`."""
    if sent is None or sent == "":
        return any(found is empty or found == empty for empty in EMPTY)
    if isinstance(sent, (int, float)):
        try:
            return abs(float(found) - sent) <= 1e-6 * max(1.0, abs(sent))
        except (TypeError, ValueError):
            return False
    return str(sent) == str(found)


def _sample(ledger: Ledger, name: str, size: int) -> list[Written]:
    """What was sent of so many records, the same ones while the ledger is the same."""
    ids = defaultdict[str, list[str]](list)
    for propensity, one in nsmallest(size, ledger.keys(name, "sent"), key=_lot):
        ids[propensity].append(one)
    return [row for propensity, of in ids.items() for row in ledger.written(name, propensity, of).values()]


def _lot(key: tuple[str, str]) -> bytes:
    return sha256("/".join(key).encode()).digest()


def _sent(
    workspace: Workspace, target: Target, fields: Mapping[str, str], rows: Sequence[Written]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """By propensity and id, the values that were sent; without those that cannot be told."""
    nights = defaultdict[tuple[str, datetime], list[Written]](list)
    for row in rows:
        nights[row.propensity, row.as_of].append(row)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for (propensity, as_of), of_night in nights.items():
        own = own_names(fields, propensity)
        path = folder(workspace, propensity, as_of) / PART
        night = Night(workspace, Partition(propensity, as_of, path), target.entity, set(own.values())) if path.is_file() else None
        scored = {} if night is None else _by_id(night.of([row.entity_id for row in of_night]))
        for row in of_night:
            change = gone(row, as_of) if row.state == "gone" else scored.get(row.entity_id)
            if change is not None and _is_that(change, row, target):
                found[propensity, row.entity_id] = record(change, own, target).values
    return found


def _is_that(change: Change, row: Written, target: Target) -> bool:
    of_row = (row.state, row.score, row.model_version, row.settings)
    return (change.state, change.score, change.version, change.settings(target.digest)) == of_row


def _by_id(changes: Iterable[Change]) -> dict[str, Change]:
    return {change.entity_id: change for change in changes}


def _held(
    connector: Connector, name: str, sent: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    by_propensity = defaultdict[str, list[str]](list)
    for propensity, one in sorted(sent):
        by_propensity[propensity].append(one)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for propensity, ids in by_propensity.items():
        for start in range(0, len(ids), IDS_A_CALL):
            try:
                held = connector.read(propensity, ids[start : start + IDS_A_CALL])
            except Unsent as problem:
                raise StoreError(
                    f"target {name!r}",
                    expected="an answer to what is read back",
                    received=problem.told,
                    repair="see that the target is up and lets Foresell read; then run it again",
                ) from None
            found |= {(propensity, one): values for one, values in held.items()}
    return found


def _differences(
    key: tuple[str, str], sent: Mapping[str, Any], held: Mapping[str, Any] | None
) -> list[Difference]:  # fmt: skip
    if held is None:
        return [Difference(*key, None, dict(sent), None)]
    return [Difference(*key, field, value, held.get(field)) for field, value in sent.items() if not same(value, held.get(field))]
