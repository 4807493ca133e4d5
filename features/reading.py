"""How each delivered column is read, decided from all of its values before any of them is used.

Dates of 1900 and before or 2099 and after stand for "none" or "for ever" in many CRMs: in an optional column they are read as
missing and counted in a note; in a required one, and in `known_at`, where a guess could reveal the future, they are an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from features.conversion import EXAMPLES, Conversion, Order, conversion, family, has_order, is_placeholder, ordered
from features.database import identifier
from features.delivery import Delivery
from features.errors import TableError
from features.tables import SQL_TYPES, Type

_REPAIRS: Mapping[Type, str] = {
    "money": "export plain numbers, or set `decimal` in [ingest] to the mark they are written with",
    "number": "export plain numbers, or set `decimal` in [ingest] to the mark they are written with",
    "timestamp": "export ISO dates, or set `day_first` in [ingest] if these begin with the day or the month",
}
_MEND = "mend them in the CRM, or leave such rows out in the adapter's SQL"


@dataclass(frozen=True)
class Reading:
    """One delivered column: its name and type in the contract, the delivered identifier, and how its values are read."""

    name: str
    type: Type
    required: bool
    raw: str
    conversion: Conversion

    @property
    def sql(self) -> str:
        """The value in the contract's type."""
        value = self.conversion.value
        if self.type == "timestamp" and not self._is_strict:
            value = f"case when not {is_placeholder(f'({value})')} then {value} end"
        return f"cast({value} as {SQL_TYPES[self.type]})"

    @property
    def faults(self) -> dict[str, str]:
        """What makes a value unusable, as SQL conditions by what a row should have had."""
        wanted = EXAMPLES[self.type]
        faults = {f"{wanted}, or nothing": self.conversion.fails}
        if self.required:
            faults[wanted] = self.conversion.is_empty
        if self.type == "timestamp" and self._is_strict:
            faults["a real date, not one that stands for none or for ever"] = self.placeholder
        return faults

    @property
    def placeholder(self) -> str:
        """Whether a date stands for "none" or "for ever"."""
        return f"coalesce({is_placeholder(f'({self.conversion.value})')}, false)" if self.type == "timestamp" else "false"

    @property
    def _is_strict(self) -> bool:
        return self.required or self.name == "known_at"


def readings(delivery: Delivery) -> tuple[list[Reading], list[str]]:
    """How every kept column is read, in the contract's order, and notes about what was decided.

    Raises:
        TableError: there is no row, a value does not fit its type or is missing where it is required, the order of day and
            month is uncertain, or a required date is a placeholder.
    """
    columns, notes = [], []
    types = {name.lower(): (name, kind) for name, kind in delivery.types().items()}
    for name, (kind, required) in delivery.wanted.items():
        if name in types:
            raw, source = identifier(types[name][0]), types[name][1]
            order, note = _order(delivery, name, raw) if kind == "timestamp" and family(source) == "text" else (None, "")
            columns.append(Reading(name, kind, required, raw, conversion(raw, source, kind, delivery.rules, order)))
            notes += [note] if note else []
    return columns, notes + _check(delivery, columns)


def _order(delivery: Delivery, name: str, raw: str) -> tuple[Order | None, str]:
    """Whether a column's dates begin with the day or the month, and a note if the dates themselves had to tell."""
    affected = delivery.count(has_order(raw))
    if not affected:
        return None, ""
    if delivery.rules.day_first is not None:
        return "day first" if delivery.rules.day_first else "month first", ""
    day, month = ordered(raw, "day first"), ordered(raw, "month first")
    only_day, only_month = f"({day}) is not null and ({month}) is null", f"({month}) is not null and ({day}) is null"
    days, months = delivery.count(only_day), delivery.count(only_month)
    if days and months:
        raise _uncertain(delivery, name, raw, f"({only_day}) or ({only_month})", "in some only the day, in some only the month")
    either = f"({day}) != ({month})"
    if not days and not months and delivery.count(either):
        raise _uncertain(delivery, name, raw, either, "either the day or the month")
    order: Order = "month first" if months else "day first"
    return order, f"{delivery.table}.{name}: {affected:,} dates are read {order}" if days or months else ""


def _check(delivery: Delivery, columns: list[Reading]) -> list[str]:
    """Refuse the first column with values that cannot be used, and note placeholder dates, in one pass over the raw rows."""
    faults = [(column, wanted, fault) for column in columns for wanted, fault in column.faults.items()]
    dates = [column for column in columns if column.type == "timestamp"]
    conditions = [*(fault for _, _, fault in faults), *(column.placeholder for column in dates)]
    counts = ", ".join(f"count(*) filter (where {condition})" for condition in conditions)
    rows, *found = delivery.connection.execute(f"select count(*), {counts} from {delivery.source}").fetchone() or (0,)
    if not rows:
        raise _no_rows(delivery)
    for (column, wanted, fault), count in zip(faults, found[: len(faults)], strict=True):
        if count:
            raise _unusable(delivery, column, wanted, fault, f"{count:,} of {rows:,}")
    return [_placeholders(delivery, column, count) for column, count in zip(dates, found[len(faults) :], strict=True) if count]


def _placeholders(delivery: Delivery, column: Reading, count: int) -> str:
    dates = f"{count:,} dates of 1900 and before or 2099 and after"
    return f"{delivery.table}.{column.name}: {dates} are read as missing"


def _unusable(delivery: Delivery, column: Reading, wanted: str, fault: str, share: str) -> TableError:
    is_misfit = fault == column.conversion.fails
    return TableError(
        f"{delivery.where}, column {column.name}",
        expected=f"in every row {wanted}",
        received=f"{share} rows without: {delivery.examples(fault, column.raw)}",
        repair=_REPAIRS.get(column.type, _MEND) if is_misfit else _MEND,
    )


def _uncertain(delivery: Delivery, name: str, raw: str, condition: str, why: str) -> TableError:
    return TableError(
        f"{delivery.where}, column {name}",
        expected="dates of which day and month are certain",
        received=f"dates that could begin with {why}: {delivery.examples(condition, raw)}",
        repair="export ISO dates such as 2018-05-15, or set `day_first = true` or `false` in [ingest]",
    )


def _no_rows(delivery: Delivery) -> TableError:
    return TableError(
        delivery.where,
        expected="at least one row",
        received="a header and nothing else",
        repair="export it again; if the CRM really holds none, remove the file",
    )
