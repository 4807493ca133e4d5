"""An adapter: the folder of SQL that maps one CRM's export to the canonical tables.

```
features/adapters/<name>/         or, in a workspace, any folder that `adapter` in foresell.toml names
    adapter.toml                  what the export is, what "now" is for it, its extra attributes, how its webhooks are read
    <table>.sql                   one SELECT in DuckDB's dialect per canonical table, over views named by file stem
    shared/<name>.sql             one SELECT over the files that several of these read, as a table of that name
    propensities/*.toml           propensities that replace the shipped ones of the same name
```

In SQL an export file is a table named by its stem: `olist_sellers_dataset.csv` is `olist_sellers_dataset`, and so is
`olist_sellers_dataset.parquet`. Columns of CSV and Excel files are text, Parquet columns keep their types: cast what you
calculate with, and hand everything else through as it is, because ingest casts it to the contract and shows the raw value of
what it cannot cast. `select *` hands through a whole file; error messages then show its row numbers.

Which tables are required: those that `required` lists, and always at least one of `leads` and `customers`. Every other table is
optional: it is left out, and ingest says so, when one of the files its SQL reads is not in the export.

An adapter for many exports of one CRM declares in `[files]` what files and columns are called, and in `[needs]` without which
files a table is left out. Its SQL then reads the declared names; a file that is not needed and not there has no rows, and a table
that comes out empty is left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
from pydantic import Field, model_validator

from features.errors import LeakageError, TableError, WorkspaceError, nearest
from features.hook import Hook
from features.personal import refuse_personal
from features.settings import Attribute, IngestSettings, Settings, read_toml
from features.shape import Shape, plain, same_name
from features.strict import Strict
from features.tables import TABLES

ADAPTERS = Path(__file__).parent / "adapters"
ADAPTER_FILE = "adapter.toml"
_FEATURE_NAME = re.compile(r"[a-z][a-z0-9_]*")


class AdapterFile(Strict):
    """`adapter.toml`. `ingest`, `attributes` and `hooks` are defaults that foresell.toml may override key by key."""

    description: str = Field(description="what the export is, in a line")
    now: str | None = Field(default=None, description="the instant up to which the export tells; unset: that of the ingest")
    required: tuple[str, ...] = Field(default=(), description="tables whose files must be there; the others are optional")
    needs: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="`TABLE = [STEMS]`: the declared files it cannot do without; unset: all its SQL reads"
    )
    files: dict[str, Shape] = Field(
        default_factory=dict, description="`[files.STEM]`: what files and their columns are called, where exports differ"
    )
    ingest: IngestSettings = Field(default_factory=IngestSettings, description="how the export is read")
    attributes: dict[str, dict[str, Attribute]] = Field(
        default_factory=dict, description="`[attributes.TABLE.COLUMN]`: the extra columns its SQL delivers"
    )
    hooks: dict[str, Hook] = Field(
        default_factory=dict, description="`[hooks.SOURCE]`: how the CRM's webhooks are read; foresell.toml may override each key"
    )
    leaks: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="`[leaks.TABLE]`: columns that may never be declared, each with the reason"
    )

    @model_validator(mode="after")
    def _each_name_is_of_one_file(self) -> Self:
        names = Counter(called for stem, shape in self.files.items() for called in {plain(name) for name in (stem, *shape.names)})
        if shared := sorted(name for name, files in names.items() if files > 1):
            raise ValueError(f"`files` has more than one that is called {', '.join(shared)}")
        return self


@dataclass(frozen=True)
class Script:
    """The SQL of one canonical table, the stems of the export files it reads and of those it cannot do without."""

    table: str
    name: str
    sql: str
    stems: frozenset[str]
    needed: frozenset[str] = frozenset()
    may_be_empty: bool = False


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk, read and checked."""

    name: str
    folder: Path
    file: AdapterFile

    @classmethod
    def find(cls, root: Path, settings: Settings) -> Adapter:
        """The adapter that a workspace's settings name.

        Raises:
            WorkspaceError: there is none of that name, or its adapter.toml is wrong.
        """
        folder = adapter_folder(root, settings)
        if not (folder / ADAPTER_FILE).is_file():
            raise _no_adapter(settings.adapter, folder)
        file = read_toml(folder / ADAPTER_FILE, AdapterFile, WorkspaceError)
        for table in (*file.required, *file.needs, *file.attributes, *file.leaks, *(path.stem for path in folder.glob("*.sql"))):
            check_table(table, f"adapter {settings.adapter}")
        return cls(settings.adapter, folder, file)

    def scripts(self) -> list[Script]:
        """The SQL of each canonical table the adapter fills, in the order of the contracts.

        Raises:
            TableError: a file does not hold one SELECT statement.
            WorkspaceError: a table needs a file that its SQL does not read.
        """
        found = [table for table in TABLES if (self.folder / f"{table}.sql").is_file()]
        with duckdb.connect() as connection:
            return [self._script(connection, table) for table in found]

    def _script(self, connection: duckdb.DuckDBPyConnection, table: str) -> Script:
        name, sql = f"{self.name}/{table}.sql", (self.folder / f"{table}.sql").read_text(encoding="utf-8")
        stems = _files_read(connection, name, sql)
        if shared := sorted(path for path in self.folder.glob("shared/*.sql") if path.stem in stems):
            sql = _with(shared, sql)
            stems = _files_read(connection, name, sql)
        if table not in self.file.needs:
            return Script(table, name, sql, stems, stems)
        if unread := set(self.file.needs[table]) - stems:
            raise _needs_unread(name, sorted(unread), stems)
        needed = (stems - set(self.file.files)) | set(self.file.needs[table])
        return Script(table, name, sql, stems, needed, may_be_empty=table not in self.file.required)

    def rules(self, settings: Settings) -> IngestSettings:
        """How the export is read: the adapter's `[ingest]`, key by key overridden by foresell.toml's."""
        own, overriding = (model.model_dump(exclude_unset=True) for model in (self.file.ingest, settings.ingest))
        return IngestSettings.model_validate(own | overriding)

    def hooks(self, settings: Settings) -> dict[str, Hook]:
        """How the webhooks of each source are read: the adapter's, key by key overridden by foresell.toml's.

        A key that is a table itself, such as `fields` or `write_back`, is overridden as a whole.
        """
        sources = (model.hooks for model in (self.file, settings))
        own, overriding = ({name: hook.model_dump(exclude_unset=True) for name, hook in hooks.items()} for hooks in sources)
        return {name: Hook.model_validate(own.get(name, {}) | overriding.get(name, {})) for name in {**own, **overriding}}

    def attributes(self, settings: Settings) -> dict[str, dict[str, Attribute]]:
        """The declared extra columns of each table: the adapter's, overridden by foresell.toml's.

        Raises:
            WorkspaceError: an attribute of an unknown table, of a column that is in the contract, one that names a person, or
                one whose name cannot be that of a feature.
            LeakageError: an attribute that the adapter knows to tell the outcome.
        """
        tables = {**self.file.attributes, **settings.attributes}
        merged = {table: {**self.file.attributes.get(table, {}), **settings.attributes.get(table, {})} for table in tables}
        for table, attributes in merged.items():
            check_table(table, "[attributes]")
            for name in attributes:
                for column in same_name([name], self.file.leaks.get(table, {})):
                    raise _leak(table, name, self.file.leaks[table][column])
                _check_attribute(table, name)
        return merged


def adapter_folder(root: Path, settings: Settings) -> Path:
    """Where the adapter lies: a shipped one of that name first, then a folder relative to the workspace."""
    ours = ADAPTERS / settings.adapter
    return ours if (ours / ADAPTER_FILE).is_file() else root / settings.adapter


def shipped() -> list[str]:
    """The names of the adapters that come with Foresell."""
    return sorted(path.parent.name for path in ADAPTERS.glob(f"*/{ADAPTER_FILE}"))


def _with(shared: list[Path], sql: str) -> str:
    tables = ",\n".join(f"{path.stem} as (\n{path.read_text(encoding='utf-8')}\n)" for path in shared)
    return f"with {tables}\nselect * from (\n{sql}\n)"


def _files_read(connection: duckdb.DuckDBPyConnection, script: str, sql: str) -> frozenset[str]:
    """The stems of the export files that an SQL script reads."""
    row = connection.execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(row[0] if row else "{}")
    if tree.get("error", True) or len(tree["statements"]) != 1:
        raise TableError(
            f"adapter script {script}",
            expected="one SELECT statement in DuckDB's dialect",
            received=tree.get("error_message", "several statements"),
            repair="mend the SQL",
        )
    return frozenset(_tables(tree, frozenset()))


def check_table(name: str, where: str) -> None:
    """Raise a WorkspaceError unless `name` is a canonical table."""
    if name not in TABLES:
        near = nearest(name, TABLES)
        raise WorkspaceError(
            f"{where}, table `{name}`",
            expected=f"a canonical table: {', '.join(TABLES)}",
            received=f"`{name}`",
            repair=f"rename it to `{near}`" if near else "rename it to one of these",
        )


def _tables(tree: Any, defined: frozenset[str]) -> Iterator[str]:
    """The tables that serialized SQL reads and does not define itself.

    A name of a WITH clause holds for what comes after it, and for itself only if it is recursive: in
    `with orders as (select * from orders) ...` the second `orders` is the file.
    """
    if isinstance(tree, list):
        for child in tree:
            yield from _tables(child, defined)
    if not isinstance(tree, dict):
        return
    if tree.get("type") == "RECURSIVE_CTE_NODE":
        defined |= {tree["cte_name"].lower()}
    for entry in tree["cte_map"]["map"] if "cte_map" in tree else ():
        yield from _tables(entry["value"], defined)
        defined |= {entry["key"].lower()}
    if tree.get("type") == "BASE_TABLE" and tree["table_name"].lower() not in defined:
        yield tree["table_name"]
    for child in (child for name, child in tree.items() if name != "cte_map"):
        yield from _tables(child, defined)


def _check_attribute(table: str, name: str) -> None:
    if name in (*TABLES[table].names, "known_until"):
        raise WorkspaceError(
            f"[attributes.{table}], attribute `{name}`",
            expected="a column that is not in the table's contract",
            received=f"`{name}`, which is",
            repair="remove it: columns of the contract need no declaration",
        )
    refuse_personal(f"[attributes.{table}]", name)
    if not _FEATURE_NAME.fullmatch(name):
        only_capitals = _FEATURE_NAME.fullmatch(name.lower())
        raise WorkspaceError(
            f"[attributes.{table}], attribute `{name}`",
            expected="small letters, digits and `_`, a letter first: the name becomes part of a feature's",
            received=f"`{name}`",
            repair=f"write `{name.lower()}`" if only_capitals else f"rename the column in the adapter's {table}.sql, and here",
        )


def _needs_unread(script: str, unread: list[str], stems: frozenset[str]) -> WorkspaceError:
    return WorkspaceError(
        f"[needs] in {ADAPTER_FILE}",
        expected=f"files that {script} reads: {', '.join(sorted(stems))}",
        received=f"{', '.join(unread)}, which it does not",
        repair="rename or remove it",
    )


def _leak(table: str, name: str, reason: str) -> LeakageError:
    return LeakageError(
        f"[attributes.{table}], attribute `{name}`",
        expected="something that was known before the outcome",
        received=reason,
        repair="leave it out",
    )


def _no_adapter(name: str, folder: Path) -> WorkspaceError:
    near = nearest(name, shipped())
    return WorkspaceError(
        f"adapter {name!r}",
        expected=f"one of {', '.join(shipped())}, or a folder of your own with {ADAPTER_FILE}, relative to the workspace",
        received=f"no {ADAPTER_FILE} in {folder}",
        repair=f"write `{near}`" if near else "check the spelling or the path",
    )
