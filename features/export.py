"""A CRM's export: a folder of files, each of which becomes a table in DuckDB under the file's stem, whatever its format.

Nothing is guessed: the header and the delimiter are read from the first line, every further column of a CSV file is text, and a
line with more or fewer values than the header is an error. So a file that was cut off while it was copied is found out.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import duckdb

from features.database import identifier, quote
from features.errors import TableError, nearest
from features.shape import Shape, same_name

FORMATS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".xlsx")
DELIMITERS = ",;\t|"
ROW = "_row"  # the row's number in its file, present only while an error message is being made
_BAD_LINE = re.compile(r"CSV Error on Line: (\d+)\n(?:Original Line: (.*)\n)?(.+)")


@dataclass(frozen=True)
class Export:
    """The files of an export by their stems, or by the names that an adapter gives to files of other names."""

    folder: Path
    files: dict[str, Path]
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, shapes: Mapping[str, Shape] | None = None) -> Export:
        """List the files of a folder; nothing is read yet. `shapes` are those that an adapter declares, by the names in its SQL.

        Raises:
            TableError: no such folder, no file in a format that can be read, or two files with one stem.
        """
        if not folder.is_dir():
            raise TableError(
                f"export {folder}",
                expected="a folder with the CRM's export",
                received="no such folder",
                repair="correct `source` in foresell.toml, or put the export there",
            )
        files: dict[str, Path] = {}
        for path in sorted(path for path in folder.iterdir() if path.is_file() and suffix(path) and path.name[0] not in ".~"):
            if stem(path) in files:
                raise _two_files(files[stem(path)], path)
            files[stem(path)] = path
        if not files:
            raise _no_files(folder)
        return cls(folder, _renamed(files, shapes or {}), shapes or {})

    def missing(self, stems: Iterable[str]) -> list[str]:
        """Those of the stems for which the export has no file."""
        return sorted(set(stems) - set(self.files))

    def near(self, wanted: str, taken: Iterable[str]) -> Path | None:
        """The file that is probably meant by a stem that is missing, among those that nothing else reads."""
        found = nearest(wanted, set(self.files) - set(taken), cutoff=0.85)
        return None if found is None else self.files[found]

    def register(self, connection: duckdb.DuckDBPyConnection, stems: Iterable[str], *, numbered: bool = False) -> None:
        """Make files visible to SQL as views named by their stems; with `numbered`, each with its row numbers as `_row`.

        A file with a declared shape has it; one that is not there has no rows.

        Raises:
            TableError: a file is empty, half-written, not in the format its name says, or its header is unusable.
        """
        for name in sorted(stems):
            connection.execute(f"create or replace temp view {identifier(name)} as {self._rows(connection, name, numbered)}")

    def _rows(self, connection: duckdb.DuckDBPyConnection, name: str, numbered: bool) -> str:
        """A SELECT of a file's rows."""
        if name not in self.files:
            return self.shapes[name].nothing()
        source = _source(connection, name, self.files[name])
        rows = f", row_number() over () + {first_row(self.files[name]) - 1} as {ROW}" if numbered else ""
        if name not in self.shapes:
            return f"select *{rows} from {source}"
        numbers = [ROW] if numbered else []
        return self.shapes[name].select(_columns(connection, source), f"(select *{rows} from {source})", numbers)

    def columns(self, connection: duckdb.DuckDBPyConnection, stems: Iterable[str]) -> list[str]:
        """The column names of files, as they are spelt there."""
        found = sorted(set(stems) & set(self.files))
        return [column for name in found for column in _columns(connection, _source(connection, name, self.files[name]))]

    def unended(self, stems: Iterable[str]) -> list[str]:
        """A note for each text file without a line break at its end, as one has that was cut off within its last value."""
        paths = [
            self.files[name] for name in sorted(set(stems) & set(self.files)) if suffix(self.files[name]) in (".csv", ".tsv")
        ]
        return [
            f"{path.name} ends without a line break: if it was cut off, its last value is not whole"
            for path in paths
            if _is_unended(path)
        ]

    def names(self, stems: Iterable[str]) -> str:
        """The file names behind some stems, for messages."""
        return ", ".join(self.files[name].name for name in sorted(set(stems) & set(self.files)))


def _renamed(files: dict[str, Path], shapes: Mapping[str, Shape]) -> dict[str, Path]:
    """The files, those that go by another name of a declared one under that name.

    Raises:
        TableError: two files are the same declared one.
    """
    found = dict(files)
    for name, shape in shapes.items():
        alike = same_name((name, *shape.names), files)
        if len(alike) > 1:
            raise _two_files(files[alike[0]], files[alike[1]])
        for other in alike:
            found[name] = found.pop(other)
    return found


def suffix(path: Path) -> str:
    """The format that a file's name says, or "" if it is none that can be read."""
    return next((known for known in FORMATS if path.name.lower().endswith(known)), "")


def stem(path: Path) -> str:
    """The file's name without its format."""
    return path.name[: len(path.name) - len(suffix(path))]


def first_row(path: Path) -> int:
    """The number of the first row of data, as a spreadsheet counts: a header is row 1."""
    return 1 if suffix(path) == ".parquet" else 2


def unreadable(export: Export, stems: Iterable[str], problem: duckdb.Error) -> TableError | None:
    """The error of a file that cannot be read to its end; None if DuckDB's problem is another one."""
    text = str(problem)
    paths = [export.files[name] for name in sorted(set(stems) & set(export.files))]
    path = next((path for path in paths if str(path) in text), None)
    line = _BAD_LINE.search(text)
    if line is not None:
        original = f" ({line[2][:80]!r})" if line[2] else ""
        return _broken(path, f"line {line[1]}{original}: {line[3].rstrip('.')}")
    if path is not None and ("GZIP" in text or "Parquet" in text or "parser state machine" in text or "magic bytes" in text):
        return _broken(path, text.splitlines()[0].partition("Error: ")[2])
    return None


def _is_unended(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) not in (b"\n", b"\r")


def _source(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> str:
    """The FROM clause that reads a file."""
    if path.stat().st_size == 0:
        raise _broken(path, "an empty file")
    if suffix(path) == ".parquet":
        return _parquet(connection, path)
    return _excel(connection, name, path) if suffix(path) == ".xlsx" else _csv(path)


def _columns(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, str]:
    """The columns of a FROM clause and their DuckDB types."""
    return {name: kind for name, kind, *_ in connection.execute(f"describe from {source}").fetchall()}


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    source = f"read_parquet('{quote(str(path))}')"
    try:
        connection.execute(f"describe from {source}")
    except duckdb.Error as problem:
        raise _broken(path, str(problem).splitlines()[0]) from None
    return source


def _csv(path: Path) -> str:
    delimiter, header = _header(path)
    columns = ", ".join(f"'{quote(column)}': 'VARCHAR'" for column in header)
    return (
        f"read_csv('{quote(str(path))}', columns = {{{columns}}}, auto_detect = false, header = true, delim = '{delimiter}', "
        "quote = '\"', escape = '\"', strict_mode = true, null_padding = false)"
    )


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter and the column names of a CSV file."""
    try:
        with _opened(path) as file:
            first = file.readline().decode("utf-8-sig")
            delimiter = max(DELIMITERS, key=re.sub(r'"[^"]*"', "", first).count)
            header = next(csv.reader(chain([first], (line.decode() for line in file)), delimiter=delimiter), [])
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as problem:
        raise _broken(path, str(problem)) from None
    return delimiter, _named(path, [column.strip() for column in header])


def _opened(path: Path) -> IO[bytes]:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    return opened(path, "rb")


def _named(path: Path, header: list[str]) -> list[str]:
    """The header with a name for every column.

    Raises:
        TableError: no header, or one name twice.
    """
    if not any(header):
        raise _broken(path, "no header line")
    names = [column or f"column_{number}" for number, column in enumerate(header, start=1)]
    twice = {name for name in names if [other.lower() for other in names].count(name.lower()) > 1}
    if twice:
        raise TableError(
            f"file {path}, header",
            expected="every column name once",
            received=f"{', '.join(sorted(twice))} more than once",
            repair="rename or remove one of them in the export",
        )
    return names


def _excel(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> str:
    """The first sheet, every cell as text; DuckDB's own Excel reader is a download that a closed machine cannot make."""
    import pandas as pd

    try:
        frame = pd.read_excel(path, sheet_name=0, dtype=object)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as problem:
        raise _broken(path, str(problem)) from None
    frame.columns = pd.Index(_named(path, ["" if str(c).startswith("Unnamed:") else str(c).strip() for c in frame.columns]))
    connection.register(f"{name} (sheet)", frame.map(_cell).astype("string"))
    return identifier(f"{name} (sheet)")


def _cell(value: Any) -> str | None:
    """A cell of a spreadsheet as the text a CSV export would have: ISO times, whole numbers without a fraction."""
    if value is None or value != value:
        return None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _broken(path: Path | None, received: str) -> TableError:
    return TableError(
        "the export" if path is None else f"file {path}",
        expected="a whole file in UTF-8 with a header and as many values in every row",
        received=received,
        repair="export it again: it may have been cut off, or saved with another encoding or format",
    )


def _two_files(first: Path, second: Path) -> TableError:
    return TableError(
        f"export {first.parent}",
        expected="one file for each table",
        received=f"{first.name} and {second.name}",
        repair="remove one of them",
    )


def _no_files(folder: Path) -> TableError:
    return TableError(
        f"export {folder}",
        expected=f"files that end in {', '.join(FORMATS)}",
        received="none",
        repair="export the CRM's tables into this folder, or correct `source` in foresell.toml",
    )
