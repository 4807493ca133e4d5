"""The reader: what is known of the entities of a request, from the online store, from the request, or from both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from features.condition import is_missing
from features.errors import ContractError, ForesellError, StoreError
from features.feature import View
from features.forgetting.forgotten import Forgotten
from features.online import Online
from features.record import Record, Values
from serving.breaker import Breaker
from serving.ledger import Stored
from serving.newcomer import Attribute, Given, Value, attributes, newcomer, overridden, said


@dataclass(slots=True)  # not frozen, for the reason why a Record is not
class Ask:
    """One entity a caller wants scored: an id, attributes, or both. What is given goes over what is stored.

    `may_be_new` says that what is given is enough for a score where the store knows nobody of that id.
    """

    entity_id: str | None
    given: Mapping[str, Given] = field(default_factory=dict)
    may_be_new: bool = False


class Reader:
    """Reads what is known of one kind of entity.

    Attributes:
        breaker: of the store.
        newest: the newest as_of of the records that were read.
        attributes: what a request may give.
    """

    def __init__(self, online: Online, views: tuple[View, ...], entity: str, forgotten: Forgotten | None = None) -> None:
        """Take the open store, what the workspace declares, and who is forgotten.

        Raises:
            StoreError: the store has no place for records of this entity.
        """
        online.require(entity)
        self._online, self._views, self.entity, self._forgotten = online, views, entity, forgotten
        self.breaker = Breaker()
        self.newest: datetime | None = None
        self.attributes: tuple[Attribute, ...] = attributes(views, entity)

    def known(self, asks: Sequence[Ask], now: datetime) -> list[Record | ForesellError | None]:
        """What is known of each, in the same order; None of one that the store does not know and that cannot be new, an error
        of one whose record is damaged.

        Somebody without an id, or whom the store does not know, is taken for one who was created at this instant: nothing has
        happened to them yet, so their counts are 0. Of whom is forgotten nothing is known, whatever is given.

        Raises:
            StoreError: the store does not answer within its deadline, or has just failed to.
        """
        gone = {one: self._nobody() for one in self.forgotten(ask.entity_id for ask in asks)}
        ids = [one for one in dict.fromkeys(ask.entity_id for ask in asks) if one is not None and one not in gone]
        stored: dict[str, Record | ForesellError | None] = dict(gone)
        if ids:
            with self.breaker.guarding():
                stored |= dict(zip(ids, self._stored(ids), strict=True))
            self._note(stored.values())
        return [self._record(ask, stored.get(ask.entity_id or ""), now) for ask in asks]

    def forgotten(self, ids: Iterable[str | None]) -> set[str]:
        """Those of some ids who are forgotten."""
        return self._forgotten.among(self.entity, ids) if self._forgotten else set()

    def _nobody(self) -> ForesellError:
        return StoreError(
            f"this {self.entity}",
            expected=f"a {self.entity} who was not forgotten",
            received="forgotten",
            repair="nothing about them is known, computed or kept",
        )

    def _stored(self, ids: Sequence[str]) -> Sequence[Record | ForesellError | None]:
        try:
            return self._online.read(self.entity, ids)
        except ContractError as problem:  # one is damaged: find out which, so that the others are not lost
            half = len(ids) // 2
            return [*self._stored(ids[:half]), *self._stored(ids[half:])] if half else [problem]

    def given_before(self, stored: Stored) -> dict[str, Given]:
        """The attributes that a stored score was made from, as one would give them again."""
        named = {one.feature.name for one in self.attributes if one.type != "timestamp"}
        return {name: value for name, value in stored.known.items() if name in named and not is_missing(value)}

    def told(self, ask: Ask, now: datetime) -> dict[str, Value]:
        """The features that a request alone tells, whatever the store knows."""
        return said(self._views, self.entity, ask.given, now)

    def _note(self, found: Iterable[Record | ForesellError | None]) -> None:
        as_ofs = {one.as_of for one in found if isinstance(one, Record)}
        if as_ofs and (self.newest is None or max(as_ofs) > self.newest):
            self.newest = max(as_ofs)

    def ping(self) -> None:
        """Ask the store about nobody.

        Raises:
            StoreError: it does not answer.
        """
        with self.breaker.guarding():
            self._online.read(self.entity, [""])

    def _record(self, ask: Ask, stored: Record | ForesellError | None, now: datetime) -> Record | ForesellError | None:
        if stored is None:
            if not ask.may_be_new:
                return None
            return Record(ask.entity_id or "", now, newcomer(self._views, self.entity, ask.given, now), is_new=True)
        if isinstance(stored, ForesellError) or not ask.given:
            return stored
        before = stored.values.whole() if isinstance(stored.values, Values) else dict(stored.values)
        values = overridden(before, self._views, self.entity, ask.given, now)
        told = {attribute.feature.name for attribute in self.attributes if any(name in ask.given for name in attribute.names)}
        given = told.union(name for name in values if values[name] is not before.get(name))
        return replace(stored, values=values, given=given, before=before)
