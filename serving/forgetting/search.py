"""The search: whether anything of a person is left in any file below the workspace, whoever wrote it.

Parquet is read value by value, SQLite row by row and then byte by byte, everything else byte by byte; of a packed record its
categories, each by itself. The CRM's own export is not looked at: it is the CRM's, and the list of the forgotten keeps it from
coming back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.database import identifier
from features.errors import ContractError
from features.forgetting import forgotten
from features.forgetting.person import Person, is_telling
from features.forgetting.place import Place
from features.online import layouts
from features.record import Layout, Values, digest_of
from features.settings import Workspace
from serving.forgetting.mention import mentions
from serving.ledger.table import KEPT

SQLITE = b"SQLite format 3\0"
BYTES_AT_ONCE = 16 * 2**20
OVERLAP = 4_096  # longer than an id, however it is written
Layouts = Mapping[bytes, Layout]


def left(workspace: Workspace, person: Person) -> list[Place]:
    """Every file in which a telling id of the person stands."""
    ids = sorted(one for one in person.every if is_telling(one))
    known = layouts(workspace) if ids else {}
    found = [Place("file", str(path.relative_to(workspace.root)), _found(path, ids, known)) for path in files(workspace) if ids]
    return [place for place in found if place.rows]


def files(workspace: Workspace) -> Iterator[Path]:
    """Every file below the workspace but the CRM's own export, and what is noted of a forgetting that has not ended."""
    spared = [] if workspace.settings.pull else [workspace.source]
    for path in sorted(workspace.root.rglob("*")):
        is_pending = path.parent == forgotten.folder(workspace) and path.name.startswith("pending-")
        if path.is_file() and not is_pending and not any(path.is_relative_to(one) for one in spared):
            yield path


def _found(path: Path, ids: list[str], known: Layouts) -> int:
    try:
        if path.suffix == ".parquet":
            return _in_parquet(path, ids, known)
        with path.open("rb") as file:
            head = file.read(len(SQLITE))
        return _in_sqlite(path, ids, known) if head == SQLITE else _in_bytes(path, ids)
    except FileNotFoundError:  # a log of writes that SQLite has just removed
        return 0


def _in_parquet(path: Path, ids: list[str], known: Layouts) -> int:
    try:
        with pq.ParquetFile(path) as file:
            return sum(_in_array(column, ids, known) for batch in file.iter_batches() for column in batch.columns)
    except pa.ArrowInvalid:
        return _in_bytes(path, ids)


def _in_array(column: pa.Array, ids: list[str], known: Layouts) -> int:
    """How many values name one of the ids; those of lists and structs count each by itself."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _in_array(column.cast(kind.value_type), ids, known)
    if pa.types.is_struct(kind):
        return sum(_in_array(field, ids, known) for field in column.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _in_array(column.flatten(), ids, known)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
        return 0
    text = column.cast(pa.large_binary()) if not pa.types.is_binary(kind) else column
    may = [pc.match_substring(text, one.encode("utf-8", "surrogatepass")) for one in ids]
    likely = {row for one in may for row in pc.indices_nonzero(one.fill_null(False)).to_pylist()}
    return sum(bool(mentions(_readable(text[row].as_py(), known), ids)) for row in likely)


def _in_sqlite(path: Path, ids: list[str], known: Layouts) -> int:
    """In the rows; and where no row has such letters, in what is left of rows that were."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        if KEPT.name in tables:
            known = {**known, **{row[0]: Layout.from_json(row[1]) for row in connection.execute(f"select * from {KEPT.name}")}}
        values = [value for table in tables for one in ids for value in _values(connection, table, one)]
    found = sum(mentions(_readable(value, known), ids) for value in values)
    spare = [one.encode("utf-8", "surrogatepass") for one in ids if not any(one.encode() in value for value in values)]
    files = [file for file in (path, path.with_name(f"{path.name}-wal")) if file.is_file()]
    return found + sum(chunk.count(one) for file in files for chunk in _chunks(file) for one in spare)


def _readable(value: bytes, known: Layouts) -> bytes:
    """The categories of a packed record, which stand side by side in it, apart; anything else as it is."""
    layout = known.get(digest_of(value) or b"")
    if layout is None:
        return value
    try:
        values = Values(layout, value)
    except ContractError:
        return value
    return "\n".join(str(values[name] or "") for name in layout.categories).encode()


def _values(connection: sqlite3.Connection, table: str, entity_id: str) -> Iterator[bytes]:
    """The texts and bytes of a table in which the letters of an id stand."""
    names = [row[1] for row in connection.execute(f"pragma table_info({identifier(table)})")]
    for name in map(identifier, names):
        query = f"select {name} from {identifier(table)} where instr(cast({name} as blob), cast(? as blob)) > 0"
        yield from (_bytes(row[0]) for row in connection.execute(query, (entity_id,)))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _in_bytes(path: Path, ids: list[str]) -> int:
    return sum(mentions(chunk, ids) for chunk in _chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, each piece with the end of the one before it."""
    with path.open("rb") as file:
        before = b""
        while more := file.read(BYTES_AT_ONCE):
            yield before + more
            before = more[-OVERLAP:]
