"""Papers: every other file of ours below the workspace that may name a person.

Receipts, rejected records, what monitoring keeps, reports, logs, what targets of kind `files` were sent, and what was pulled.
Of Parquet, CSV and files of one JSON document a line the person's rows go; any other file that names them is removed as a whole:
what made it makes it again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalog import write_atomically
from features.forgetting import forgotten, rows
from features.forgetting.person import Person, is_telling
from features.forgetting.place import Place
from features.settings import Workspace
from features.tables import ENTITY_KEYS
from features.target import FilesTarget
from serving.forgetting.mention import mentions

LINES = (".jsonl", ".log")
IDS = ("entity_id", "id", *ENTITY_KEYS.values())


@dataclass(frozen=True)
class Desk:
    """Who is looked for, and whose each propensity is."""

    workspace: Workspace
    person: Person
    entities: Mapping[str, str]

    def forget(self, *, remove: bool) -> list[Place]:
        """Count, or take out, what papers say of the person."""
        found = [Place("file", self._where(path), self._rows(path, remove)) for path in self._files()]
        return [place for place in found if place.rows]

    def _where(self, path: Path) -> str:
        inside = path.is_relative_to(self.workspace.root)
        return str(path.relative_to(self.workspace.root)) if inside else str(path)

    def _files(self) -> Iterator[Path]:
        """Every file that no other part of forgetting sees to."""
        workspace = self.workspace
        own = [workspace.root / name for name in ("data", "scores", "latest")] + [workspace.monitor, workspace.reports]
        targets = workspace.settings.write_back.values()
        told = [(workspace.root / target.path).resolve() for target in targets if isinstance(target, FilesTarget)]
        roots = sorted({*own, *told, *([workspace.source] if workspace.settings.pull else [])})
        others = [workspace.tables, workspace.snapshots, workspace.store, workspace.serving, forgotten.folder(workspace)]
        others += [] if workspace.settings.pull else [workspace.source]
        seen = (path for root in roots for path in sorted(root.rglob("*")) if path.is_file())
        for path in dict.fromkeys(seen):
            if not any(path.is_relative_to(other) for other in others) and not _is_partition(workspace, path):
                yield path

    def _rows(self, path: Path, remove: bool) -> int:
        if path.suffix == ".parquet":
            return self._parquet(path, remove)
        if path.suffix == ".csv":
            return self._csv(path, remove)
        data = path.read_bytes()
        if path.suffix in LINES:
            return self._lines(path, data, remove)
        found = self._mentions(data)
        if found and remove:
            path.unlink()
        return found

    def _parquet(self, path: Path, remove: bool) -> int:
        columns = rows.EVERY if self._entity(path) is None else {**rows.EVERY, rows.ENTITY_ID: str(self._entity(path))}
        if (self.workspace.settings.pull and path.is_relative_to(self.workspace.source)) or "pulled" in path.parts:
            columns = _pulled_columns(path)
            telling = [pair for pair in self.person.pairs if is_telling(pair[1])]
            return (rows.leave_out if remove else rows.count)(path, Person.of(telling), columns)
        return (rows.leave_out if remove else rows.count)(path, self.person, columns)

    def _entity(self, path: Path) -> str | None:
        """Whose ids a file has, by a propensity's name in its path; None if that does not tell."""
        told = [part.removeprefix("propensity=") for part in (*path.parts[:-1], path.stem)]
        named = sorted(self.entities, key=len, reverse=True)
        found = (self.entities[name] for part in told for name in named if part == name or part.startswith(f"{name}-"))
        return next(found, None)

    def _csv(self, path: Path, remove: bool) -> int:
        """Lines stay as they are, whatever a value between quotation marks holds."""
        text = path.read_text(encoding="utf-8")
        lines, reader, kept, start, head = text.splitlines(keepends=True), csv.reader(StringIO(text)), list[str](), 0, None
        gone = 0
        for values in reader:
            raw, start = lines[start : reader.line_num], reader.line_num
            head = head or values
            is_theirs = head is not values and self._is_record(dict(zip(head, values, strict=False)), path)
            gone += is_theirs
            kept += [] if is_theirs else raw
        if gone and remove:
            write_atomically(path, "".join(kept).encode())
        return gone

    def _lines(self, path: Path, data: bytes, remove: bool) -> int:
        lines = data.splitlines(keepends=True)
        kept = [line for line in lines if not self._mentions(line)]
        if remove and len(kept) < len(lines):
            write_atomically(path, b"".join(kept), path.stat().st_mode & 0o777)
        return len(lines) - len(kept)

    def _mentions(self, data: bytes) -> int:
        """How often a text names the person; of JSON, also where an id that is not telling stands as one."""
        found = mentions(data, self.person.every)
        if found or data[:1] not in (b"{", b"["):
            return found
        try:
            return sum(self._is_record(record) for record in _records(json.loads(data)))
        except (ValueError, RecursionError):
            return 0

    def _is_record(self, record: Mapping[str, Any], path: Path | None = None) -> bool:
        """Whether one of a record's ids is the person's."""
        told = record.get("entity") or self.entities.get(str(record.get("propensity"))) or (path and self._entity(path))
        of = {"entity_id": told, "id": told, **{key: entity for entity, key in ENTITY_KEYS.items()}}
        ids = {name: self.person.ids(str(of[name])) if of[name] else self.person.every for name in IDS}
        return any(isinstance(record.get(name), str) and record[name] in ids[name] for name in IDS)


def _pulled_columns(path: Path) -> rows.Columns:
    """Every column of text: what a CRM calls its ids is only known to the adapter."""
    schema = pq.read_schema(path)
    return {one.name: rows.EITHER for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)}


def _records(found: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON document."""
    if isinstance(found, dict):
        yield found
    for one in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from _records(one)


def _is_partition(workspace: Workspace, path: Path) -> bool:
    """Whether a file is a whole one of scores, which has a receipt; what a killed writer left beside it is not."""
    return path.is_relative_to(workspace.scores) or path.is_relative_to(workspace.latest)
