"""What a snapshot was built from, so that it is built again only when that changed.

The digest of a view at an as_of covers the view's SQL, and every value in its tables that was known before that as_of. A row that
arrives later, or a column that is filled later, leaves the digest as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.catalog import write_atomically
from features.tables import Table

if TYPE_CHECKING:
    from features.spark.place import Place

FILE = "manifest.json"


class Manifest:
    """The digests of the snapshot files in one folder."""

    def __init__(self, folder: Path | Place) -> None:
        self._folder = folder
        path = folder / FILE
        self._digests: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def holds(self, file: str, digest: str) -> bool:
        """Whether the file was built from what this digest covers."""
        return self._digests.get(file) == digest and (self._folder / file).is_file()

    def digest_of(self, file: str) -> str | None:
        """What the file was built from; None where it is not noted or not there."""
        return self._digests.get(file) if (self._folder / file).is_file() else None

    def add(self, file: str, digest: str) -> None:
        """Note what a file was built from; call after the file is in place."""
        self._digests[file] = digest

    def forget(self, files: Sequence[str]) -> None:
        """Note that files are about to be replaced: what a killed build leaves behind is built again."""
        for file in files:
            self._digests.pop(file, None)
        self.save()

    def save(self) -> None:
        """Write the manifest; a file that is in place but not noted is built again."""
        path, content = self._folder / FILE, json.dumps(self._digests, indent=1, sort_keys=True).encode()
        write_atomically(path, content) if isinstance(path, Path) else path.write_bytes(content)

    def drop_others(self, sql: str) -> None:
        """Remove every file that was built by other SQL: its columns are not those of the view any more."""
        if self._digests.get("sql") == sql:
            return
        for file in self._folder.glob("*.parquet"):
            file.unlink()
        self._digests = {"sql": sql}
        self.save()


def digest(*parts: str) -> str:
    """A digest of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def table_digests(relation: str, table: Table, columns: Mapping[str, str], as_ofs: Sequence[datetime]) -> str:
    """SQL: for each as_of, a digest of every value of the table that was known before it; independent of the order of rows."""
    later = {c.name: c.revealed_by for c in table.columns if c.revealed_by in columns and c.name in columns}
    always = [name for name in columns if name not in later and name != "known_until"]
    facts = [f"select known_at as instant, hash({_listed(always)}) as fact from {relation}"]
    for name, revealed_by in later.items():
        identity = _listed([*table.key, "known_at", name])
        facts.append(
            f"select greatest(known_at, \"{revealed_by}\") as instant, hash('{name}', {identity}) as fact from {relation} "
            f'where "{revealed_by}" is not null'
        )
    sums = ", ".join(f"sum(fact) filter (where instant < timestamp '{as_of:%Y-%m-%d %H:%M:%S.%f}')" for as_of in as_ofs)
    return f"select {sums} from ({' union all '.join(facts)})"


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
