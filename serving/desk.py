"""The desk: where one propensity is asked about entities by id, or about leads the store has never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from features.catalog import Catalog
from features.errors import ForesellError
from features.feature import View
from features.propensity import propensity_files
from features.record import Record
from features.settings import Workspace
from features.store import Online
from features.views import feature_map, views
from serving.newcomer import Attribute, Given, attributes, newcomer, overridden
from serving.scorer import Score, Scorer
from training.registry import champion


@dataclass(frozen=True)
class Ask:
    """One entity a caller wants scored: an id, attributes, or both. What is given goes over what is stored."""

    entity_id: str | None
    given: Mapping[str, Given] = field(default_factory=dict)
    may_be_new: bool = False


@dataclass(frozen=True)
class Desk:
    """One propensity, open: its champion, the online store and what may be said of a newcomer."""

    scorer: Scorer
    online: Online
    views: tuple[View, ...]

    @property
    def entity(self) -> str:
        """`lead` or `customer`."""
        return self.scorer.propensity.entity

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """What a request may say about an entity."""
        return attributes(self.views, self.entity)

    def answer(self, asks: Sequence[Ask], now: datetime) -> list[Score]:
        """One answer for each, in the same order.

        An entity that is unknown or ineligible, or whose record is older than a feature of the champion, gets a sentence why.

        Raises:
            StoreError: the online store does not answer.
            ContractError: a record is damaged, or the workspace's views lack a feature that a newcomer needs.
        """
        stored = self._stored(asks)
        found = [self._record(ask, stored.get(ask.entity_id or ""), now) for ask in asks]
        scores = iter(self.scorer.score([one for one in found if isinstance(one, Record)], now))
        answers = [next(scores) if isinstance(one, Record) else one for one in found]
        return [replace(answer, entity_id=ask.entity_id) for ask, answer in zip(asks, answers, strict=True)]

    def _stored(self, asks: Sequence[Ask]) -> dict[str, Record]:
        ids = list(dict.fromkeys(ask.entity_id for ask in asks if ask.entity_id is not None))
        found = self.online.read(self.entity, ids) if ids else []
        return {record.entity_id: record for record in found if record is not None}

    def _record(self, ask: Ask, stored: Record | None, now: datetime) -> Record | Score:
        """What is known of one entity, what is given over what is stored; or the answer why it cannot be scored."""
        if stored is None and ask.may_be_new:
            return Record(ask.entity_id or "", now, newcomer(self.views, self.entity, ask.given, now))
        if stored is None:
            return self.scorer.unscored(ask.entity_id or "", f"no {self.entity} of this id is in the online store", None, now)
        lacking = [name for name in self.scorer.columns if name not in stored.values]
        if lacking:
            return self.scorer.unscored(stored.entity_id, _outdated(lacking), stored.as_of, now)
        return replace(stored, values=overridden(stored.values, self.views, self.entity, ask.given, now)) if ask.given else stored


def _outdated(lacking: Sequence[str]) -> str:
    return f"the record in the online store was written without {', '.join(lacking)}; `foresell snapshot` writes it anew"


def open_desks(workspace: Workspace) -> dict[str, Desk | ForesellError]:
    """A desk for every propensity file of the workspace, by name; where none can be opened, the error that says why.

    A champion answers by its own contract, even when its propensity file has been edited since.
    """
    present = views(workspace, Catalog.load(workspace))
    online = Online(workspace)
    return {
        name: _open(workspace, name, present, online) for name in sorted(propensity_files(workspace.root, workspace.settings))
    }


def _open(workspace: Workspace, name: str, present: tuple[View, ...], online: Online) -> Desk | ForesellError:
    try:
        registered = champion(workspace, name)
        online.require(registered.model.propensity.entity)
    except ForesellError as problem:
        return problem
    declarations = feature_map(present, registered.model.propensity.entity)
    return Desk(Scorer(registered.model, registered.version, declarations), online, present)
