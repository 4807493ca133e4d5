"""What was pulled of one kind: pages aside until the last one is there, then every version of every record in one file.

`data/pulled/NAME/STEM.parquet` has a row per record and version, and carries the cursor: the newest time of change that was seen.
It is replaced after the export's file, so a cursor never names what is not there. Whoever is killed in between merges the same
pages again, which changes nothing: a record's version is known by its key and its time of change.

What a record says is known since its last change. Of what was there at the first pull nobody can say what it said before, so
there `known_at` is left to the adapter: it is empty in the export, and the time of the change for all that came later.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from features.catalog import write_atomically
from features.database import identifier, quote
from features.settings import parse_instant
from features.sources.source import Kind, Row

OWN = ("_modified", "_initial", "_order")  # of a version: its time of change, whether the first pull brought it, by which page
FACTS, GONE = "foresell", "-gone"


@dataclass(frozen=True)
class State:
    """What the file of versions says of itself: the settings that it was pulled by, its cursor, how many pages there were."""

    place: str = ""
    columns: str = ""
    cursor: datetime | None = None
    pages: int = 0


class Pulled:
    """The versions of one kind of record.

    Args:
        folder: of the source, in the workspace.
        kind: what they are of.
        place: a digest of whose records they are.
        columns: a digest of what was asked for; with another one everything is asked for again.
        now: when the pull begins; a version with a later time of change moves no cursor, or nothing would ever come after it.
    """

    def __init__(self, folder: Path, kind: Kind, place: str, columns: str, now: datetime) -> None:
        self.kind, self.file = kind, folder / f"{kind.stem}.parquet"
        self._place, self._columns, self._now = place, columns, now
        self._pages = folder / f".{kind.stem}"
        self._aside = self._pages / f"{place}-{columns}"
        self.state = _state(self.file)
        self._next = max((int(path.stem.removesuffix(GONE)) for path in self._waiting()), default=self.state.pages) + 1

    def owns(self, export: Path) -> bool:
        """Whether a file of the export is ours to replace, or is not there yet."""
        return not export.is_file() or _facts(export).get("place") == self._place

    def reached(self) -> datetime | None:
        """The time of change that a pull which did not end has come to; None if there was none."""
        return _newest(self._waiting(), self._now)

    @property
    def cursor(self) -> datetime | None:
        """The newest time of change in the file of versions; None if everything is to be asked for."""
        return self.state.cursor if self.state.columns == self._columns else None

    def add(self, rows: Iterable[tuple[Row, datetime]], *, gone: bool = False) -> None:
        """Put a page aside: rows, each with its time of change; those of `gone` say nothing about how far a pull has come."""
        import pyarrow
        import pyarrow.parquet

        listed = list(rows)
        names = list(dict.fromkeys([*self.kind.columns, *(name for row, _ in listed for name in row)]))
        columns = {name: pyarrow.array([row.get(name) for row, _ in listed], pyarrow.string()) for name in names}
        naive = [modified.astimezone(UTC).replace(tzinfo=None) for _, modified in listed]
        columns["_modified"] = pyarrow.array(naive, pyarrow.timestamp("us"))
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), sink)
        self._aside.mkdir(parents=True, exist_ok=True)
        write_atomically(self._aside / f"{self._next:06}{GONE if gone else ''}.parquet", sink.getvalue().to_pybytes())
        self._next += 1

    def publish(self, connection: duckdb.DuckDBPyConnection, export: Path, *, versions: bool) -> int:
        """Merge the pages into the file of versions, write the export's file, and return how many versions are new."""
        waiting = self._waiting()
        if not waiting and versions and not self.file.is_file():
            self._begin(connection)
        if not waiting and (not self.state.pages or export.is_file()):
            return 0
        before = _rows(connection, self.file)
        if waiting:
            self._merge(connection, waiting)
            cursor = max((one for one in (self.state.cursor, _newest(waiting, self._now)) if one is not None), default=None)
            self._write_versions(connection, "versions", cursor)
        else:
            connection.execute(f"create or replace temp table versions as from read_parquet('{quote(str(self.file))}')")
        after = _described(connection, "versions")
        if after != before or not export.is_file():
            self._replace(connection, f"({self._exported(connection, versions=versions)})", export)
        if waiting:
            self.file.with_suffix(".new").replace(self.file)
        shutil.rmtree(self._pages, ignore_errors=True)
        return after[0] - before[0]

    def _begin(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Note that the first pull found nothing: what comes from now on was not there then, so it is known since its change."""
        own = ["null::timestamp as _modified", "false as _initial", "0::bigint as _order"]
        columns = [f"null::varchar as {identifier(name)}" for name in self.kind.columns]
        self._write_versions(connection, f"(select {', '.join([*columns, *own])} where false)", None)
        self.file.with_suffix(".new").replace(self.file)

    def _write_versions(self, connection: duckdb.DuckDBPyConnection, source: str, cursor: datetime | None) -> None:
        facts: dict[str, Any] = {"place": self._place, "columns": self._columns, "pages": self._next - 1}
        facts["cursor"] = cursor and cursor.isoformat()
        _write(connection, source, self.file.with_suffix(".new"), facts)

    def _replace(self, connection: duckdb.DuckDBPyConnection, source: str, export: Path) -> None:
        aside = export.with_name(f".{export.name}.new")
        _write(connection, source, aside, {"place": self._place})
        aside.replace(export)

    def _waiting(self) -> list[Path]:
        return sorted(self._aside.glob("*.parquet"))

    def _merge(self, connection: duckdb.DuckDBPyConnection, waiting: Sequence[Path]) -> None:
        """The versions with those of the pages; what repeats the version before it in every field is none."""
        pages = ", ".join(f"'{quote(str(path))}'" for path in waiting)
        initial = "false" if self.file.is_file() else "true"
        order = rf"cast(regexp_extract(_page, '(\d+)({GONE})?\.parquet$', 1) as bigint)"
        new = (
            f"select * exclude (_page), {initial} as _initial, {order} as _order "
            f"from read_parquet([{pages}], union_by_name = true, filename = '_page')"
        )
        old = f"from read_parquet('{quote(str(self.file))}') union all by name " if self.file.is_file() else ""
        key = _listed(self.kind.key)
        once = (
            f"select * replace (bool_or(_initial) over (partition by {key}, _modified) as _initial) from ({old}{new}) "
            f"qualify row_number() over (partition by {key}, _modified order by _order desc) = 1"
        )
        connection.execute(f"create or replace temp table once as {once}")
        said = [name for name in _columns(connection, "once") if name not in (*OWN, *self.kind.key, self.kind.modified)]
        change = f"hash({_listed(said) or 1})"
        changed = f"qualify {change} is distinct from lag({change}) over (partition by {key} order by _modified)"
        connection.execute(f"create or replace temp table versions as from once {changed}")

    def _exported(self, connection: duckdb.DuckDBPyConnection, *, versions: bool) -> str:
        key = _listed(self.kind.key)
        names = _columns(connection, "versions")
        if not versions:
            newest = f"qualify row_number() over (partition by {key} order by _modified desc) = 1"
            return f"select * exclude ({_listed(OWN)}) from versions {newest} order by {key}"
        told = "try_cast(known_at as timestamptz)" if "known_at" in names else "null::timestamptz"
        first = f"_initial and row_number() over (partition by {key} order by _modified) = 1"
        known = f"case when {first} then {told} else greatest({told}, timezone('UTC', _modified)) end as known_at"
        without = _listed([name for name in (*OWN, "known_at") if name in names])
        return f"select * exclude ({without}), {known} from versions order by {key}, _modified"


def _state(file: Path) -> State:
    told = _facts(file) if file.is_file() else {}
    if not told:
        return State()
    return State(told["place"], told["columns"], told["cursor"] and parse_instant(told["cursor"]), told["pages"])


def _facts(file: Path) -> dict[str, Any]:
    """What a file of ours says of itself; nothing if it is another one."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(file).metadata or {}
    except pyarrow.ArrowInvalid:
        return {}
    facts: dict[str, Any] = json.loads(metadata.get(FACTS.encode(), b"{}"))
    return facts


def _newest(waiting: Sequence[Path], now: datetime) -> datetime | None:
    """The newest time of change in pages, up to now."""
    import pyarrow.compute
    import pyarrow.parquet

    told = pyarrow.compute.field("_modified") <= pyarrow.scalar(now.astimezone(UTC).replace(tzinfo=None), pyarrow.timestamp("us"))
    pages = [path for path in waiting if not path.stem.endswith(GONE)]
    tables = (pyarrow.parquet.read_table(path, columns=["_modified"], filters=told) for path in pages)
    found: list[datetime | None] = [pyarrow.compute.max(table["_modified"]).as_py() for table in tables]
    newest = max((one for one in found if one is not None), default=None)
    return newest and newest.replace(tzinfo=UTC)


def _write(connection: duckdb.DuckDBPyConnection, source: str, target: Path, facts: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    options = f"format parquet, compression zstd, kv_metadata {{{FACTS}: '{quote(json.dumps(facts))}'}}"
    connection.execute(f"copy (select * from {source}) to '{quote(str(target))}' ({options})")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _rows(connection: duckdb.DuckDBPyConnection, file: Path) -> tuple[Any, ...]:
    return _described(connection, f"read_parquet('{quote(str(file))}')") if file.is_file() else (0,)


def _described(connection: duckdb.DuckDBPyConnection, source: str) -> tuple[Any, ...]:
    """How many rows there are, and a digest of them that does not depend on their order or on how they came."""
    columns = sorted(name for name in _columns(connection, source) if name != "_order")
    digest = f"hash({_listed(columns)})"
    row = connection.execute(f"select count(*), sum({digest}), bit_xor({digest}) from {source}").fetchone()
    return (*(row or (0,)), columns)


def _columns(connection: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"describe from {source}").fetchall()]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(identifier(name) for name in names)
