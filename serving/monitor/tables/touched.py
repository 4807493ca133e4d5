"""What a propensity is made from, table by table and column by column, so that an incident names whom it touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from features.catalog import Catalog
from features.condition import Condition
from features.errors import ForesellError
from features.feature import Feature, View
from features.propensity import Propensity, propensity_files
from features.settings import Workspace
from features.tables import ATTRIBUTE_HISTORY, TABLES
from features.views import DECLARED, views
from serving.monitor.tables.incident import Incident
from training import registry

EVERY_COLUMN = "*"


@dataclass(frozen=True)
class Use:
    """What the champion of a propensity reads.

    Attributes:
        propensity: its name.
        columns: by table; `*` is every column, and of `attribute_history` an attribute such as `customer.segment` is a column.
        is_known: whether it could be told for every feature; otherwise the propensity is touched by whatever happens.
    """

    propensity: str
    columns: Mapping[str, frozenset[str]]
    is_known: bool = True

    def is_touched(self, incident: Incident) -> bool:
        """Whether an incident is of something that it reads."""
        read = self.columns.get(incident.table, frozenset())
        if not self.is_known or EVERY_COLUMN in read:
            return True
        if incident.table == ATTRIBUTE_HISTORY.name and "." in incident.where:
            return incident.where.partition("=")[0].partition(".")[2] in read
        return incident.column in read if incident.column else bool(read)


def uses(workspace: Workspace, catalog: Catalog) -> tuple[Use, ...]:
    """What the champion of every propensity reads, by name; a propensity without a champion reads nothing.

    A propensity file that is wrong keeps nobody from it: what a champion reads stands in the champion.

    Raises:
        FeatureError: a declaration of the workspace is wrong.
    """
    fed, names = views(workspace, catalog), sorted(propensity_files(workspace.root, workspace.settings))
    return tuple(use for name in names if (use := _use(workspace, fed, name)) is not None)


def touched(incident: Incident, used: Iterable[Use]) -> tuple[str, ...]:
    """The propensities that an incident touches, by name."""
    return tuple(sorted(use.propensity for use in used if use.is_touched(incident)))


def _use(workspace: Workspace, fed: Iterable[View], name: str) -> Use | None:
    try:
        if registry.champion_version(workspace, name) is None:
            return None
        model = registry.champion(workspace, name).model
        trained = model.propensity
    except ForesellError:  # the registry is away, or the model of another release: what it reads cannot be told
        return Use(name, {}, is_known=False)
    return use_of(trained, model.columns, fed)


def use_of(propensity: Propensity, features: Iterable[str], fed: Iterable[View]) -> Use:
    """What a model of these features reads, with what decides who is eligible, what the outcome is and what it is worth."""
    wanted = [*features, *(condition.column for condition in propensity.conditions)]
    wanted += propensity.value.columns if propensity.value else ()
    read, is_known = _outcome(propensity), True
    declared = [view for view in (*fed, *DECLARED) if view.entity == propensity.entity]
    for name in dict.fromkeys(wanted):
        found = next(((view, one) for view in declared for one in view.features if one.name == name), None)
        if found is None:
            is_known = False
        elif not found[0].external:
            _add(read, found[0].table, _columns(*found))
    return Use(propensity.name, {table: frozenset(columns) for table, columns in read.items()}, is_known)


def _outcome(propensity: Propensity) -> dict[str, set[str]]:
    outcome, contract = propensity.outcome, TABLES.get(propensity.outcome.source)
    if contract is None:
        return {}
    columns = {outcome.at or contract.time, outcome.sum or "", *_of(outcome.conditions), f"{propensity.entity}_id"}
    return {contract.name: columns - {""}}


def _columns(view: View, feature: Feature) -> set[str]:
    """The columns of the view's table that a feature reads; of an attribute's history, the name of the attribute."""
    if view.table == ATTRIBUTE_HISTORY.name:
        fields = [str(value) for one in feature.where if one.column == "field" for value in one.values]
        return {f"{view.entity}.{name}" for name in fields} or {EVERY_COLUMN}
    parts = [one for one in view.features if one.name in feature.of]
    found = {view.key, view.contract.time} | _of(view.where)
    for one in (feature, *parts):
        found |= {one.column, one.at} | _of(one.where)
    return found - {""}


def _of(conditions: Iterable[Condition]) -> set[str]:
    return {condition.column for condition in conditions}


def _add(read: dict[str, set[str]], table: str, columns: set[str]) -> None:
    read.setdefault(table, set()).update(columns)
