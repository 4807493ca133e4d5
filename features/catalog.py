"""The catalog: what the last successful ingest left, in one file whose replacement is the moment new tables take effect."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from features.errors import TableError
from features.settings import Attribute, Workspace, parse_instant

CATALOG_FILE = "catalog.json"


@dataclass(frozen=True)
class StoredTable:
    """One ingested table: its Parquet file, its rows, its columns with DuckDB types, and what ingest did to its rows.

    `previous_rows` is what the rows are compared with: those of the last ingest whose row count was not refused.
    """

    name: str
    file: str
    rows: int
    columns: dict[str, str]
    merged: int = 0
    previous_rows: int | None = None


@dataclass(frozen=True)
class Catalog:
    """What is in a workspace: the tables, the attributes that may become features, and what "now" is for the data.

    `observed_until` is the instant up to which outcomes have been recorded: a label is mature only when its horizon ends by then.
    `version` is a digest of the tables' content. `notes` are sentences: what ingest left out, read as missing or decided.
    """

    version: str
    adapter: str
    observed_until: str
    tables: dict[str, StoredTable]
    attributes: dict[str, dict[str, Attribute]]
    notes: tuple[str, ...] = ()

    @property
    def now(self) -> datetime:
        return parse_instant(self.observed_until)

    @property
    def midnight(self) -> datetime:
        """The newest midnight, in UTC, up to which the tables tell."""
        return self.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def digest(self) -> str:
        """A digest of all that the catalog says: also of what "now" is, of the attributes and of earlier row counts."""
        return hashlib.sha256(self._document()).hexdigest()[:16]

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table was ingested and, if columns are named, has all of them."""
        return table in self.tables and set(columns) <= set(self.tables[table].columns)

    @classmethod
    def load(cls, workspace: Workspace) -> Catalog:
        """Read the workspace's catalog.

        Raises:
            TableError: nothing has been ingested yet.
        """
        path = workspace.tables / CATALOG_FILE
        if not path.is_file():
            raise TableError(
                f"workspace {workspace.root}",
                expected="ingested tables",
                received="none yet",
                repair=f"run `foresell ingest --workspace {workspace.root}`",
            )
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["tables"] = {name: StoredTable(**table) for name, table in raw["tables"].items()}
        raw["attributes"] = {
            table: {name: Attribute(**attribute) for name, attribute in attributes.items()}
            for table, attributes in raw["attributes"].items()
        }
        raw["notes"] = tuple(raw.get("notes", ()))
        return cls(**raw)

    def save(self, workspace: Workspace) -> None:
        """Put this catalog in place of the last one, in one step."""
        write_atomically(workspace.tables / CATALOG_FILE, self._document())

    def _document(self) -> bytes:
        raw = asdict(self)
        raw["attributes"] = {
            table: {name: attribute.model_dump() for name, attribute in attributes.items()}
            for table, attributes in self.attributes.items()
        }
        return json.dumps(raw, indent=1).encode()

    def path(self, workspace: Workspace, table: str) -> Path:
        """The Parquet file of a table.

        Raises:
            KeyError: the table was not ingested.
        """
        return workspace.tables / self.tables[table].file


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a whole file or nothing: into a neighbour first, flushed to disk, then renamed over the target.

    The file has the permissions `mode` from its first byte on, less those that the process's umask takes away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(neighbour, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def sweep(folder: Path, *names: str) -> None:
    """Remove the neighbours of files of these names, such as `*.json`, that a killed process left behind."""
    for path in (path for name in names for path in folder.glob(f".{name}.*")):
        if not path.suffix[1:].isdecimal():
            continue  # somebody else's, such as an editor's
        try:
            os.kill(int(path.suffix[1:]), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue
