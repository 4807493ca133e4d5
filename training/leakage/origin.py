"""Where a feature comes from: what declares it, and the line of the adapter that would have to change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.adapter import ADAPTER_FILE, adapter_folder
from features.catalog import Catalog
from features.feature import View
from features.settings import SETTINGS_FILE, Workspace
from features.tables import TABLES


@dataclass(frozen=True)
class Attribute:
    """Where a feature that is an attribute comes from.

    Attributes:
        source: `table.column`.
        declared: the file that declares it, and the line.
        external: whether the table was computed elsewhere.
        time: whether it is a time, of which the feature is the days from it to the as_of.
        selected: the adapter's SQL that selects the column, and the line; empty where none does.
    """

    source: str
    declared: str
    external: bool = False
    time: bool = False
    selected: str = ""

    @property
    def column(self) -> str:
        return self.source.partition(".")[2]

    @property
    def lasting(self) -> bool:
        """Whether an entity has one and the same value at every as_of: also at those before it came to be what it is."""
        return not (self.external or self.time)

    @property
    def repair(self) -> str:
        """What would mend it if it knows the outcome."""
        if self.external:
            return (
                f"{self.declared}: `{self.source}` is computed from what came later; only where it is computed can it get "
                "the time from which it was known; otherwise remove it here"
            )
        also = f" ({self.selected} selects it)" if self.selected else ""
        return (
            f"{self.declared}: `{self.source}` is not fixed at creation; remove it, or deliver its changes "
            f"through attribute_history with their own times{also}"
        )


def declared_attributes(workspace: Workspace, catalog: Catalog, present: Sequence[View]) -> dict[str, Attribute]:
    """What somebody declared to be known, and nothing else can check: attributes, the times among them, external columns."""
    folder = adapter_folder(workspace.root, workspace.settings)
    files, own = [folder / ADAPTER_FILE, workspace.root / SETTINGS_FILE], [workspace.root / SETTINGS_FILE]
    declared: dict[str, Attribute] = {}
    for view in present:
        times = catalog.attributes.get(view.table, {}) if view.is_profile else {}
        for feature in view.columns:
            column, source = feature.column, f"{view.table}.{feature.column}"
            if view.external:
                place = declared_at(own, f"external.{view.name}.columns", column)
                declared[feature.name] = Attribute(source, place, external=True)
            elif feature.kind == "attribute" or column in times:
                place = declared_at(files, f"attributes.{view.table}", column)
                line = selected_at(folder / f"{view.table}.sql", column)
                declared[feature.name] = Attribute(source, place, time=feature.kind != "attribute", selected=line)
    return declared


def event_repairs(workspace: Workspace, present: Sequence[View]) -> dict[str, str]:
    """For each feature that is no attribute, what would mend it if it knows the outcome: when its rows become known."""
    repairs: dict[str, str] = {}
    for view in (view for view in present if not view.external):
        line = known_at_line(workspace, view.table)
        for feature in view.columns:
            repairs[feature.name] = (
                f"{line}: give the rows behind {feature.name} a `known_at` that says when they really became known"
            )
    return repairs


def known_at_line(workspace: Workspace, table: str) -> str:
    """Where the adapter selects a table's `known_at`, or the time that stands for it, as `file:line`."""
    script = adapter_folder(workspace.root, workspace.settings) / f"{table}.sql"
    return next((line for name in ("known_at", TABLES[table].time) if ":" in (line := selected_at(script, name))), f"{table}.sql")


def declared_at(files: Sequence[Path], section: str, column: str) -> str:
    """Where a column is declared, as `file:line`; just the first file where no line can be found.

    Args:
        files: TOML files, the first that declares it counts.
        section: what the column is declared under, such as `attributes.leads`.
        column: its key there, or the section's own part of that name.
    """
    own = re.compile(rf"^\s*\[{re.escape(section)}(\.{re.escape(column)})?\]")
    other = re.compile(r"^\s*\[")
    entry = re.compile(rf"^\s*\"?{re.escape(column)}\"?\s*=")
    for file in (file for file in files if file.is_file()):
        inside = False
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if other.match(line):
                matched = own.match(line)
                inside = bool(matched)
                if matched and matched[1]:
                    return f"{file.name}:{number}"
            elif inside and entry.match(line):
                return f"{file.name}:{number}"
    return files[0].name if files else ADAPTER_FILE


def selected_at(script: Path, column: str) -> str:
    """Where an adapter's SQL selects a column, as `file:line`: where it is given that name, else where it is first named.

    Just the file where its text does not name the column (`select *`), and nothing where there is no such file.
    """
    if not script.is_file():
        return ""
    name = rf'"?{re.escape(column)}"?(?!\w)'
    lines = [line.partition("--")[0] for line in script.read_text(encoding="utf-8").splitlines()]
    for pattern in (rf"\bas\s+{name}", rf'(?<!\w)"?{name}'):
        for number, line in enumerate(lines, 1):
            if re.search(pattern, line, re.IGNORECASE):
                return f"{script.name}:{number}"
    return script.name
