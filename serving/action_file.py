"""Actions from a file: what a CRM did that cannot call. CSV with a header, or Parquet; the columns are the fields of an action.

Lines are told as the file counts them: of CSV the header is line 1, of Parquet the first row is row 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features.errors import TableError, nearest
from features.forgetting.forgotten import Forgotten
from features.settings import Workspace
from serving.action import Diary, Logged, entities, keep
from serving.flaw import Flaw
from serving.http.actions import ActionRecord
from serving.http.problem import flaws_of
from serving.ledger import Action, Ledger

ROWS_AT_ONCE = 1_000
COLUMNS = tuple(ActionRecord.model_fields)
NEEDED = ("propensity", "entity_id", "kind")


@dataclass
class Imported:
    """What became of a file.

    Attributes:
        kept: how many actions are new.
        known: how many had been told before.
        held_out: how many of both are of entities that are held out.
        flaws: what is wrong with the other rows, each with its line.
    """

    kept: int = 0
    known: int = 0
    held_out: int = 0
    flaws: list[Flaw] = field(default_factory=list)

    def add(self, found: Logged | Flaw) -> None:
        if isinstance(found, Flaw):
            self.flaws.append(found)
        else:
            self.known += found.known
            self.kept += not found.known
            self.held_out += found.held_out


def import_actions(workspace: Workspace, ledger: Ledger, path: Path, now: datetime, request_id: str) -> Imported:
    """Keep the actions in a file; a row that is wrong does not lose the others. Importing it again keeps them once.

    Args:
        workspace: with the propensities and the policy.
        ledger: where they are kept, a thousand at a time.
        path: a file whose name ends in `.csv` or `.parquet`.
        now: the instant of the import.
        request_id: names the import.

    Raises:
        TableError: the file cannot be read, or its columns are others.
        StoreError: the ledger does not answer; importing the file again keeps the rest.
    """
    diary, imported = Diary(entities(workspace), workspace.settings.policy, Forgotten(workspace)), Imported()
    rows = _rows(path)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        made = [_made(diary, where, row, now, request_id) for where, row in some]
        for found in keep(ledger, made, [where for where, _ in some]):
            imported.add(found)
    return imported


def _made(diary: Diary, where: str, row: Mapping[str, Any], now: datetime, request_id: str) -> Action | Flaw:
    try:
        record = ActionRecord.model_validate(row)
    except ValidationError as problem:
        flaw = flaws_of(problem.errors(include_url=False))[0]
        return flaw.model_copy(update={"where": where + flaw.where.removeprefix("body"), "repair": _mend(flaw)})
    return diary.action(record.told(), where, now, request_id, None)


def _mend(flaw: Flaw) -> str:
    return "mend the row and import the file again; the others are kept once" if "/docs" in flaw.repair else flaw.repair


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the fields of every row; empty ones are left out."""
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers or not path.is_file():
        raise _unreadable(path, "a file that is not there" if path.suffix.lower() in readers else f"`{path.name}`")
    try:
        for where, row in readers[path.suffix.lower()](path):
            yield where, {name: value for name, value in row.items() if value not in (None, "")}
    except (OSError, csv.Error, UnicodeDecodeError, ValueError) as problem:  # pyarrow's are ValueErrors
        raise _unreadable(path, f"{problem}".splitlines()[0]) from None


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="more", strict=True)
        _require_columns(path, reader.fieldnames or ())
        for row in reader:
            yield f"line {reader.line_num}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _require_columns(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    """An instant as ISO text, and a number as its digits: CRMs number their records."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _require_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            near = nearest(name, COLUMNS)
            raise TableError(
                str(path),
                expected=f"columns of an action: {', '.join(COLUMNS)}",
                received=f"a column `{name[:80]}`",
                repair=f"did you mean `{near}`?" if near else "leave it out: an action holds no more than these",
            )
    lacking = [name for name in NEEDED if name not in names]
    if lacking or not {"id", "at"} & set(names):
        raise TableError(
            str(path),
            expected=f"the columns {', '.join(NEEDED)}, and `id` or `at`",
            received=f"no `{(lacking or ['at'])[0]}`",
            repair="add the column; its values may be empty where it is not one of these",
        )


def _unreadable(path: Path, received: str) -> TableError:
    return TableError(
        str(path),
        expected="a CSV file with a header in UTF-8, or a Parquet file, by its ending",
        received=received,
        repair="export it anew; what was kept until then is kept once",
    )
