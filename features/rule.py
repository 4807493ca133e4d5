"""A rule: one thing that must hold for a table, as one standard Great Expectations expectation and in words.

Two severities. An *error* makes scores wrong or unknowable, so nothing is trained or scored on it. A *warning* costs the rows or
the attribute it names. A rule about single rows only warns while few rows break it, since those rows alone are lost; beyond
`TOLERATED` of the rows something is wrong with the table, and it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from features.database import identifier
from features.tables import Table

Severity = Literal["error", "warning"]

TOLERATED = 0.05
_TOLERANTLY = f"in at least {1 - TOLERATED:.0%} of the rows"


@dataclass(frozen=True)
class Rule:
    """One thing that must hold for a table.

    Attributes:
        table, column: what it is about; the column is empty for a rule about the table as a whole.
        about: the kind of rule. A table has at most one error and one warning per kind and column; the error implies the warning.
        expectation, arguments: the type of a standard GX expectation, and its arguments.
        holds: what the rule demands, in words.
        wrong: what is wrong when it does not hold; `{rows}` becomes "312 orders", `{seen}` what was measured.
        cost, repair: what a breach costs and how to mend it, in words.
    """

    table: str
    column: str
    about: str
    severity: Severity
    expectation: str
    arguments: dict[str, Any] = field(hash=False)
    holds: str
    wrong: str
    cost: str
    repair: str


def tiers(rule: Rule) -> list[Rule]:
    """The rule as a warning for any row, and as an error for more than the tolerated share of rows."""
    tolerant = {**rule.arguments, "mostly": 1 - TOLERATED}
    return [rule, replace(rule, severity="error", arguments=tolerant, holds=f"{rule.holds}, {_TOLERANTLY}")]


def broken_rows(
    contract: Table, column: str, about: str, condition: str, concerned: str, *, holds: str, **words: str
) -> Iterator[Rule]:
    """A rule that needs more than one column or table: GX's own expectation for it is a query that must return nothing."""
    shown = ", ".join(map(identifier, dict.fromkeys([*contract.key, *([column] if column else [])])))
    checked = "(select * from {batch}) as checked"  # GX puts a table or a named query for {batch}
    both: tuple[tuple[Severity, float, str], ...] = (("warning", 0.0, holds), ("error", TOLERATED, f"{holds}, {_TOLERANTLY}"))
    for severity, share, tier in both:
        query = (
            f"with broken as (select {shown} from {checked} where {condition}) select * from broken"
            f" where (select count(*) from broken) > {share} * (select count(*) from {checked} where {concerned})"
        )
        yield Rule(
            contract.name, column, about, severity, "unexpected_rows_expectation", {"unexpected_rows_query": query},
            holds=tier, **words,
        )  # fmt: skip
