"""The usability report: what is wrong with the ingested tables, what each fault costs and how to mend it, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from features.catalog import write_atomically
from features.errors import QualityError
from features.measure import Fact
from features.rule import Rule, Severity
from features.settings import Workspace, parse_instant

USABILITY_FILE = "usability.json"


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        severity: an `error` forbids training and scoring, a `warning` does not.
        table, column: where; the column is empty when the table as a whole is concerned.
        about: the kind of rule that is broken.
        wrong: what is wrong, with its number of rows.
        rows: how many rows are concerned; 0 when the fault is not one of single rows.
        examples: up to five of them: their key and the columns concerned.
        cost, repair: what it costs, and how to mend it.
    """

    severity: Severity
    table: str
    column: str
    about: str
    wrong: str
    rows: int
    examples: tuple[dict[str, str | None], ...]
    cost: str
    repair: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What the finding is about; an error and a warning of one place say the same."""
        return self.table, self.column, self.about

    @classmethod
    def of(cls, rule: Rule, fact: Fact) -> Finding:
        """The finding of a rule that does not hold."""
        words = {"rows": _counted(fact.offending, rule.table), "seen": _seen(fact.observed)}
        examples = tuple({name: _text(value) for name, value in row.items()} for row in fact.examples)
        return cls(
            rule.severity, rule.table, rule.column, rule.about, rule.wrong.format(**words),
            fact.offending, examples, rule.cost, rule.repair,
        )  # fmt: skip


@dataclass(frozen=True)
class Usability:
    """What a check found.

    Attributes:
        version: the catalog version that was checked.
        catalog: a digest of all that the catalog said: what was found holds only as long as it says the same.
        as_of: the instant up to which the data were taken to be known, ISO in UTC.
        tables: rows per table.
        errors, warnings: the findings, by table and in the order of its contract.
        docs: the first page of the data docs; empty when the check wrote none.
    """

    version: str
    catalog: str
    as_of: str
    tables: dict[str, int]
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    docs: str = ""

    @property
    def usable(self) -> bool:
        return not self.errors

    @property
    def instant(self) -> str:
        """`as_of` for people."""
        return f"{parse_instant(self.as_of):%Y-%m-%d %H:%M} UTC"

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and for the file: the fields, and `usable`."""
        return {"usable": self.usable, **asdict(self)}

    def save(self, workspace: Workspace) -> None:
        write_atomically(workspace.quality / USABILITY_FILE, json.dumps(self.as_dict(), indent=1).encode())

    @classmethod
    def last(cls, workspace: Workspace) -> Usability | None:
        """What the last check of the workspace found; None when there was none, or one that another version of Foresell wrote."""
        path = workspace.quality / USABILITY_FILE
        try:
            return cls._from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
        except (KeyError, TypeError):
            return None

    @classmethod
    def _from_dict(cls, raw: Mapping[str, Any]) -> Usability:
        kept = {field.name: raw[field.name] for field in fields(cls)}
        for severity in ("errors", "warnings"):
            kept[severity] = tuple(Finding(**{**finding, "examples": tuple(finding["examples"])}) for finding in raw[severity])
        return cls(**kept)

    def refuse(self, workspace: Workspace) -> QualityError:
        """The error that training and scoring raise when the tables hold errors."""
        first, more = self.errors[0], len(self.errors) - 1
        return QualityError(
            f"table {first.table} of workspace {workspace.root}",
            expected="tables without errors: scores built on these would be wrong",
            received=f"{first.wrong}" + (f", and {more} more error{'s' * (more > 1)}" if more else ""),
            repair=f"{first.repair}; `foresell check --workspace {workspace.root}` lists every error",
        )


def show(usability: Usability, console: Console) -> None:
    """Print the report for a person."""
    console.print(_rows_per_table(usability))
    for style, name, findings in (("red", "error", usability.errors), ("yellow", "warning", usability.warnings)):
        for finding in findings:
            console.print(_paragraph(finding, style, name), highlight=False, soft_wrap=True)
    console.print(_verdict(usability), highlight=False, soft_wrap=True)


def _rows_per_table(usability: Usability) -> RichTable:
    table = RichTable("table", title=f"As known on {usability.instant}", title_justify="left")
    for heading in ("rows", "errors", "warnings"):
        table.add_column(heading, justify="right")
    for name, rows in usability.tables.items():
        found = [sum(finding.table == name for finding in findings) for findings in (usability.errors, usability.warnings)]
        table.add_row(name, f"{rows:,}", *(str(count or "") for count in found))
    return table


def _paragraph(finding: Finding, style: str, name: str) -> str:
    lines = [
        f"[bold {style}]{name}[/] [bold]{finding.table}[/]: {escape(finding.wrong)}",
        f"  costs    {escape(finding.cost)}",
        f"  to mend  {escape(finding.repair)}",
    ]
    if finding.examples:
        examples = "; ".join(" ".join(f"{key}={value}" for key, value in row.items()) for row in finding.examples)
        lines.append(f"  such as  {escape(examples)}")
    return "\n".join(lines)


def _verdict(usability: Usability) -> str:
    errors, warnings = len(usability.errors), len(usability.warnings)
    counts = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    if usability.usable:
        return f"[green]✓[/] usable: {counts}"
    return f"[red]✗[/] not usable: {counts}; train and score refuse until the errors are mended"


def _counted(rows: int, table: str) -> str:
    """`312 orders`, `1 loyalty event`; a table whose name is no plural has rows."""
    noun = table.replace("_", " ") if table.endswith("s") else f"rows of {table}"
    singular = noun.replace("rows", "row") if noun.startswith("rows") else noun.removesuffix("s")
    return f"{rows:,} {singular if rows == 1 else noun}"


def _seen(observed: Any) -> str:
    return f"{observed:,}" if isinstance(observed, int) else str(observed)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
