"""A source: kinds of records that can be asked for by the time of their last change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from features.errors import CallError, WorkspaceError, nearest
from features.remote.failure import Denied
from features.settings import parse_instant
from features.shape import plain

Row = dict[str, str | None]


@dataclass(frozen=True)
class Kind:
    """One kind of record, and the file of the export that it becomes.

    Attributes:
        stem: the file's name.
        name: what the source calls it.
        columns: the fields that are asked for, as the file calls them.
        key: the columns that identify a record.
        modified: the column with the time of a record's last change.
        children: kinds that come with the records of this one, such as the history of their fields.
    """

    stem: str
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    modified: str
    children: tuple[Kind, ...] = ()


class Window(NamedTuple):
    """Which records of a kind: changed in `[low, high)`; with `high`, those after a key in the order of keys.

    Without `high` they come in the order of their last change, and None for `low` is all that ever was.
    """

    low: datetime | None
    high: datetime | None = None
    after: Any = None


@dataclass(frozen=True)
class Record:
    """One record: its key as the source compares it, its last change in the source's units, its values, rows of children."""

    key: Any
    modified: datetime
    row: Row
    children: Mapping[str, Sequence[Row]] = field(default_factory=dict)


class Source(Protocol):
    """One source.

    Attributes:
        unit: what its times of change are told in: records changed within one unit have no order among each other.
        limit: records that a page has unless it is the last one.
        versions: whether the export has every version of a record that was pulled, or only the newest one.
    """

    unit: timedelta
    limit: int
    versions: bool

    def kinds(self, stems: frozenset[str]) -> list[Kind]:
        """What there is for the files that an adapter reads.

        Raises:
            WorkspaceError: the settings name what there is not.
        """
        ...

    def count(self, kind: Kind, low: datetime | None) -> int:
        """How many records changed since. Raises as `page`."""
        ...

    def page(self, kind: Kind, window: Window) -> list[Record]:
        """The first `limit` records of a window.

        Raises:
            Refused: the source does not answer what was asked.
            Busy: it cannot answer now.
            Denied: it lets nobody in, or is not what the settings say.
        """
        ...

    def gone(self, kind: Kind, after: str | None) -> tuple[list[Record], str | None]:
        """Deleted records that `page` does not show, where the source still knows them, and what the next page comes after.

        Raises as `page`.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def pages(ask: Callable[[Window], list[Record]], limit: int, unit: timedelta, low: datetime | None) -> Iterator[list[Record]]:
    """All records that changed since, in the order of their last change; whoever changes meanwhile comes again later.

    Many records may have one time of change, such as those of an import, more than a page holds. So a page that is full ends with
    the last whole unit of time in it, and what changed in the next one is asked for by key.

    Args:
        ask: gives the first records of a window.
        limit: so many, unless there are no more.
        unit: of the source's times of change.
        low: None for all that ever was.
    """
    while True:
        found = ask(Window(low))
        if len(found) < limit:
            yield from [found] if found else ()
            return
        last = found[-1].modified
        yield from [whole] if (whole := [record for record in found if record.modified < last]) else ()
        low, after = last + unit, None
        while found:
            found = ask(Window(last, low, after))
            yield from [found] if found else ()
            after = found[-1].key if found else None
            if len(found) < limit:
                break


def instant(told: str | None) -> datetime:
    """A time of change as a source tells it; without a zone it is UTC.

    Raises:
        Denied: it is none.
    """
    try:
        return parse_instant(str(told))
    except CallError:
        raise Denied(f"a time of change that is none: {told!r}") from None


def text(value: Any) -> str | None:
    """A value as a text file would have it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def chosen(
    kinds: Sequence[Kind], stems: frozenset[str], skip: Sequence[str], fields: Mapping[str, Sequence[str]], where: str
) -> list[Kind]:
    """The kinds whose files are read and not skipped, with those of their children that are, and with the further fields.

    Raises:
        WorkspaceError: `skip` or `fields` name a file that is none, or the adapter reads none of the source's files.
    """
    known = {one.stem for kind in kinds for one in (kind, *kind.children)}
    for key, names in (("skip", skip), ("fields", fields)):
        for name in names:
            if name not in known:
                near = nearest(name, known)
                raise WorkspaceError(
                    f"{where} {key}",
                    expected=f"files of the source: {', '.join(sorted(known))}",
                    received=repr(name),
                    repair=f"write `{near}`" if near else "check the spelling",
                )
    wanted = {plain(stem) for stem in stems} - {plain(stem) for stem in skip}
    found = [
        replace(
            kind,
            columns=tuple(dict.fromkeys([*kind.columns, *fields.get(kind.stem, ())])),
            children=tuple(child for child in kind.children if plain(child.stem) in wanted),
        )
        for kind in kinds
        if plain(kind.stem) in wanted
    ]
    if not found:
        raise WorkspaceError(
            where,
            expected=f"an adapter that reads files of the source: {', '.join(sorted(known))}",
            received=f"one that reads {', '.join(sorted(stems))}",
            repair="choose the source's own `adapter` in foresell.toml",
        )
    return found
