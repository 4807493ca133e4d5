"""Dead letters: what a target rejected, one JSON line each, for a person to look at and to send again.

The file is made from the ledger at the end of every run, so it is never half a file. Whoever removes lines from it before
`--replay` or `--give-up` keeps those from being sent again or given up. What was given up is tried again when its score changes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from features.catalog import write_atomically
from features.errors import CallError
from features.settings import Workspace
from serving.ledger import Ledger

FILE = "rejected.jsonl"


def folder(workspace: Workspace, name: str) -> Path:
    """Where a target's lock, receipt and dead letters lie."""
    return workspace.root / "data" / "write_back" / name


def bury(workspace: Workspace, name: str, ledger: Ledger) -> int:
    """Write what the ledger says that the target rejected, in this run or an earlier one. Returns how many records that are.

    Raises:
        StoreError: the ledger does not answer; the file is the old one.
    """
    lines = [
        json.dumps(
            {
                "propensity": row.propensity, "entity": row.entity, "entity_id": row.entity_id, "state": row.state,
                "score": row.score, "version": row.model_version, "as_of": row.as_of.isoformat(), "error": row.error,
                "attempts": row.attempts, "at": row.at.isoformat(),
            },
            ensure_ascii=False,
        )
        for row in ledger.of_status(name, "rejected")
    ]  # fmt: skip
    write_atomically(folder(workspace, name) / FILE, "".join(f"{line}\n" for line in lines).encode(), 0o600)
    return len(lines)


def give_up(workspace: Workspace, name: str, ledger: Ledger, now: datetime) -> int:
    """Let go of what the file names. Returns how many records that are.

    Raises:
        CallError: a line is not one of this file.
        StoreError: the ledger does not answer.
    """
    named, let_go = dug_up(workspace, name), 0
    errors = {(row.propensity, row.entity_id): str(row.error) for row in ledger.of_status(name, "rejected")}
    for propensity, ids in named.items():
        told = {one: errors[propensity, one] for one in ids if (propensity, one) in errors}
        ledger.settle(name, propensity, told, "given up", now, told)
        let_go += len(told)
    bury(workspace, name, ledger)
    return let_go


def dug_up(workspace: Workspace, name: str) -> dict[str, set[str]]:
    """Whom the file names, by propensity; nobody where there is no file.

    Raises:
        CallError: a line is not one of this file.
    """
    path, found = folder(workspace, name) / FILE, defaultdict[str, set[str]](set)
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            letter = json.loads(line)
            found[str(letter["propensity"])].add(str(letter["entity_id"]))
        except (ValueError, KeyError, TypeError):
            raise CallError(
                f"{path}, line {number}",
                expected="a JSON object with `propensity` and `entity_id`",
                received=ascii(line[:80]),
                repair="remove the line, or the file: the next run writes it again",
            ) from None
    return found
