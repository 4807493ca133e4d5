"""What a night leaves: scores, the latest ones, receipts without their times, last scores, and records of the online store."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from features import store
from features.settings import Workspace
from serving.ledger.address import Address
from tests.serving.shop import NOW


def state(workspace: Workspace) -> dict[str, Any]:
    files = {folder: _bytes(folder) for folder in (workspace.scores, workspace.latest)}
    online = store.Online(workspace)
    people = store.population(workspace, NOW)
    return {
        "scores": files[workspace.scores],
        "latest": files[workspace.latest],
        "receipts": {name: _without_times(data) for name, data in _bytes(workspace.nightly).items() if "/" in name},
        "ledger": last_scores(workspace),
        "online": {entity: online.read_packed(entity, ids) for entity, ids in people.items()},
    }


def looked(workspace: Workspace) -> dict[str, Any]:
    """What monitoring leaves: pages, and what it keeps, which is also of the looks before."""
    return {"pages": _bytes(workspace.monitor), "watch": _bytes(workspace.watch)}


def last_scores(workspace: Workspace) -> list[Any]:
    path = Address.of(workspace).path
    assert path is not None
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select * from latest order by propensity, entity_id").fetchall()


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _without_times(data: bytes) -> dict[str, Any]:
    return {key: value for key, value in json.loads(data).items() if key not in ("seconds", "at")}
