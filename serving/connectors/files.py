"""Files: what has changed as Parquet or CSV, for whoever loads files.

`PATH/PROPENSITY/AS_OF/part-DIGEST.parquet`: every file is whole, and named by its content: writing it again changes nothing.
A row is what there is to know now of `entity_id` and `propensity`; a later night goes over it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features.catalog import write_atomically
from features.remote.failure import Busy
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import TYPES, own_names
from serving.partition import instant, label

KEY = ("entity", "entity_id", "propensity")
_ARROW = {int: pa.int32(), float: pa.float64()}


class Files:
    """A folder of files.

    Args:
        path: the folder; it is made.
        kind: of the files.
        fields: what is written.
    """

    limit = 100_000
    groups = False

    def __init__(self, path: Path, kind: Literal["parquet", "csv"], fields: Mapping[str, str]) -> None:
        self._path, self._kind, self._fields = path, kind, fields

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The file and its first row."""
        path, _ = self._file(chunk)
        return [Call("write", str(path), _rows(chunk[:1])[0])]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write one file."""
        path, content = self._file(chunk)
        try:
            write_atomically(path, content)
        except OSError as problem:
            raise Busy(f"{path}: {os.strerror(problem.errno) if problem.errno else problem}") from None
        return []

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The newest row of each id."""
        found: dict[str, Mapping[str, Any]] = {}
        files = (self._path / propensity).glob(f"*/part-*.{self._kind}")
        dated = ((instant(path.parent.name), path.stat().st_mtime_ns, path) for path in files)
        for _, _, path in sorted(one for one in dated if one[0] is not None):
            table = pq.ParquetFile(path).read() if self._kind == "parquet" else self._read_csv(path, propensity)
            found |= {row["entity_id"]: row for row in table.to_pylist()}
        return {one: found[one] for one in ids if one in found}

    def close(self) -> None:
        """Nothing is held."""

    def _file(self, chunk: Sequence[Record]) -> tuple[Path, bytes]:
        change, content = chunk[0].change, BytesIO()
        table = pa.Table.from_pylist(_rows(chunk), schema=self._schema(change.propensity))
        if self._kind == "parquet":
            pq.write_table(table, content, compression="zstd")
        else:
            pyarrow.csv.write_csv(table, content)
        digest = hashlib.sha256(content.getvalue()).hexdigest()[:16]
        folder = self._path / change.propensity / label(change.as_of)
        return folder / f"part-{digest}.{self._kind}", content.getvalue()

    def _schema(self, propensity: str) -> pa.Schema:
        own = own_names(self._fields, propensity)
        types = [(field, _ARROW.get(TYPES.get(source, str), pa.string())) for field, source in own.items()]
        return pa.schema([*((name, pa.string()) for name in KEY if name not in own), *types])

    def _read_csv(self, path: Path, propensity: str) -> pa.Table:
        schema = self._schema(propensity)
        types = {one.name: one.type for one in schema}
        options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return pyarrow.csv.read_csv(path, convert_options=options)


def _rows(chunk: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"entity": one.change.entity, "entity_id": one.id, "propensity": one.propensity, **one.values} for one in chunk
    ]  # fmt: skip
