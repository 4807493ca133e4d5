"""The files of the sample CRM.

Rows are added block by block, so that millions of customers need no more memory than one block. The same seed writes the same
bytes: no file carries the time at which it was written.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

NEVER = "2000-01-01T00:00:00Z"


class Files:
    """A folder that is being filled: one file per name, opened at its first rows, closed at the end of the `with` block.

    The name says the format: `.csv`, `.csv.gz` or `.parquet`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._writers: dict[str, Any] = {}
        self._open = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def add(self, name: str, frame: pd.DataFrame) -> None:
        """Write rows at the end of a file."""
        table = _plain(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata())
        if name not in self._writers:
            self._writers[name] = self._writer(name, table.schema)
        self._writers[name].write_table(table.cast(self._writers[name].schema) if name.endswith(".parquet") else table)
        self.rows[name] = self.rows.get(name, 0) + table.num_rows

    def numbers(self, record: str, size: int) -> NDArray[np.int64]:
        """The next free numbers for records of a kind, from 1 on."""
        last = self._numbers.get(record, 0)
        self._numbers[record] = last + size
        return np.arange(last + 1, last + size + 1)

    def _writer(self, name: str, schema: pa.Schema) -> Any:
        path = str(self.folder / name)
        if name.endswith(".parquet"):
            return self._open.enter_context(pa.parquet.ParquetWriter(path, schema))
        sink = self._open.enter_context(
            pa.CompressedOutputStream(path, "gzip") if name.endswith(".gz") else pa.OSFile(path, "wb")
        )
        return self._open.enter_context(pa.csv.CSVWriter(sink, schema))

    def sheet(self, name: str, frame: pd.DataFrame) -> None:
        """Write a small table as an Excel file."""
        made = BytesIO()
        frame.to_excel(made, index=False)
        with zipfile.ZipFile(made) as source, zipfile.ZipFile(self.folder / name, "w", zipfile.ZIP_DEFLATED) as target:
            for part in source.namelist():
                timeless = re.sub(rb"(<dcterms:\w+[^>]*>)[^<]*", rb"\g<1>" + NEVER.encode(), source.read(part))
                target.writestr(zipfile.ZipInfo(part, (2000, 1, 1, 0, 0, 0)), timeless, zipfile.ZIP_DEFLATED)
        self.rows[name] = len(frame)


def _plain(table: pa.Table) -> pa.Table:
    """Dictionaries as text: CSV has none."""
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) or pa.types.is_null(f.type) else f.type)
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))
