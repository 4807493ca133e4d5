"""The views of a workspace: what is declared, less what its tables cannot feed, plus its attributes, own and external ones."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from features import customer, lead
from features.catalog import Catalog
from features.compile import is_computable, view_sql
from features.condition import Condition
from features.errors import FeatureError, nearest
from features.feature import DERIVED_KINDS, KINDS, Feature, View
from features.settings import Attribute, External, Workspace
from features.tables import ATTRIBUTE_HISTORY, ENTITIES, ENTITY_TABLES, TABLES

DECLARED: tuple[View, ...] = (*lead.VIEWS, *customer.VIEWS)


def views(workspace: Workspace, catalog: Catalog) -> tuple[View, ...]:
    """Every view of the workspace: a view whose table is absent vanishes, and so does a feature whose column is absent.

    Raises:
        FeatureError: two features of one entity have one name, or the workspace's own declarations cannot be read.
    """
    declared = [*DECLARED, *_own_views(workspace.own_features)]
    fed = [_fed(_with_attributes(view, catalog), catalog) for view in declared if catalog.has(view.table)]
    histories = [_history_view(entity, catalog) for entity in ENTITIES if catalog.has(ATTRIBUTE_HISTORY.name)]
    external = [_external_view(name, settings) for name, settings in workspace.settings.external.items()]
    present = tuple(view for view in (*fed, *histories, *external) if view.columns and _has_entity(view, catalog))
    _require_unique_names(present)
    return present


def feature_map(present: Iterable[View], entity: str) -> dict[str, Feature]:
    """The features of one entity by name, in declared order."""
    return {feature.name: feature for view in present if view.entity == entity for feature in view.columns}


def view_of(present: Iterable[View], entity: str, name: str) -> View:
    """The view that holds a feature.

    Raises:
        FeatureError: no view of this entity has it.
    """
    for view in present:
        if view.entity == entity and any(feature.name == name for feature in view.columns):
            return view
    raise FeatureError(
        f"feature {name!r}",
        expected=f"a feature of {entity}",
        received=repr(name),
        repair="`foresell features list` names them; a feature vanishes when its table or column is absent",
    )


def _has_entity(view: View, catalog: Catalog) -> bool:
    return catalog.has(ENTITY_TABLES[view.entity].name)


def _fed(view: View, catalog: Catalog) -> View:
    """The view without the features whose columns, or whose parts, are absent."""
    columns = catalog.tables[view.table].columns
    if view.key not in columns:
        return replace(view, features=())
    measures = {f.name for f in view.features if f.kind not in DERIVED_KINDS and is_computable(f, view, columns)}
    kept = [f for f in view.features if f.name in measures or (f.kind in DERIVED_KINDS and set(f.of) <= measures)]
    return replace(view, features=tuple(kept))


def _with_attributes(view: View, catalog: Catalog) -> View:
    """The profile with the attributes that are fixed once the entity's row is known."""
    if view not in (lead.PROFILE, customer.PROFILE):
        return view
    declared = catalog.attributes.get(view.table, {})
    fixed = [_attribute_feature(view.entity, name, a, "") for name, a in declared.items() if a.fixed]
    return replace(view, features=(*view.features, *fixed))


def _history_view(entity: str, catalog: Catalog) -> View:
    """The latest value of every attribute that may change, from its history."""
    declared = catalog.attributes.get(ENTITY_TABLES[entity].name, {})
    _require_no_times(entity, declared)
    latest = [_attribute_feature(entity, name, a, name) for name, a in declared.items() if not a.fixed]
    mine = (Condition("entity", "=", (entity,)),)
    return View(f"{entity}_attributes", entity, ATTRIBUTE_HISTORY.name, tuple(latest), mine)


def _require_no_times(entity: str, declared: Mapping[str, Attribute]) -> None:
    times = [name for name, attribute in declared.items() if attribute.type == "timestamp" and not attribute.fixed]
    if times:
        raise FeatureError(
            f"attribute {times[0]!r} of {entity}",
            expected="a category, number, money, integer or flag; a time only with `fixed = true`",
            received="a time that may change",
            repair="declare `fixed = true` if it never changes, or deliver it as an event table",
        )


def _attribute_feature(entity: str, name: str, attribute: Attribute, field: str) -> Feature:
    words = name.replace("_", " ")
    described = Feature(
        f"{entity}_{name}", "attribute", name, unit=attribute.unit, meaning=attribute.meaning or words,
        high=attribute.high, low=attribute.low, dtype="category" if attribute.type in ("category", "id") else "number",
    )  # fmt: skip
    if field:
        return replace(described, kind="latest", column="value", where=(Condition("field", "=", (field,)),))
    if attribute.type == "timestamp":
        return replace(described, name=f"{entity}_{name}_days", kind="age", unit="days", meaning=f"days since {words}")
    return described


def _external_view(name: str, settings: External) -> View:
    features = [
        replace(_attribute_feature(settings.entity, column, attribute, ""), name=f"{name}_{column}", kind="external")
        for column, attribute in settings.columns.items()
    ]
    return View(name, settings.entity, name, tuple(features), external=True)


def _own_views(folder: Path | None) -> list[View]:
    """What the Python files in a workspace's `features/` declare as `VIEWS`."""
    found: list[View] = []
    for path in sorted(folder.glob("*.py")) if folder else []:
        spec = importlib.util.spec_from_file_location(f"workspace_features_{path.stem}", path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            declared = tuple(module.VIEWS)
        except Exception as problem:
            raise _not_views(path, f"{type(problem).__name__}: {problem}") from problem
        for view in declared:
            _require_view(path, view)
        found.extend(declared)
    return found


def _require_view(path: Path, view: object) -> None:
    """An own view is over a canonical table, of an entity there is, and adds to the profile rather than replacing it."""
    if not isinstance(view, View):
        raise _not_views(path, f"{view!r} in `VIEWS`")
    if view.entity not in ENTITIES or view.table not in TABLES:
        raise _not_views(path, f"view {view.name!r} of entity {view.entity!r} over table {view.table!r}")
    if view.is_profile:
        raise _not_views(path, f"view {view.name!r} over {view.table}, whose columns become features as declared attributes")


def _not_views(path: Path, received: str) -> FeatureError:
    return FeatureError(
        str(path),
        expected=f"`VIEWS`, a tuple of features.feature.view(name, entity, table, ...) with entity one of {', '.join(ENTITIES)} "
        f"and table one of {', '.join(TABLES)}",
        received=received,
        repair="features/lead.py in the Foresell repository shows the form",
    )


def _require_unique_names(present: Iterable[View]) -> None:
    names = Counter((view.entity, feature.name) for view in present for feature in view.columns)
    twice = [f"{entity}.{name}" for (entity, name), count in names.items() if count > 1]
    if twice:
        raise FeatureError(
            "feature declarations",
            expected="every feature name once per entity",
            received=f"more than once: {', '.join(twice)}",
            repair="rename one of them; names follow <measure>_<statistic>_<window>",
        )


def describe(workspace: Workspace, catalog: Catalog, name: str) -> list[dict[str, str]]:
    """What there is to know about a feature, once for every entity that has one of that name.

    Raises:
        FeatureError: no entity has such a feature; near misses are named.
    """
    present = views(workspace, catalog)
    holders = [view for view in present if any(feature.name == name for feature in view.columns)]
    if not holders:
        every = sorted({feature.name for view in present for feature in view.columns})
        near = nearest(name, every)
        raise FeatureError(
            f"feature {name!r}",
            expected="a feature of this workspace",
            received=f"none of that name; near: {near}" if near else "none of that name",
            repair="`foresell features list` names them",
        )
    return [_facts(view, next(f for f in view.columns if f.name == name), catalog) for view in holders]


def _facts(view: View, feature: Feature, catalog: Catalog) -> dict[str, str]:
    parts = tuple(f for f in view.features if f.name in feature.of and f != feature)
    alone = replace(view, features=(*(replace(part, hidden=True) for part in parts), feature))
    columns = {} if view.external else catalog.tables[view.table].columns
    return {
        "feature": feature.name,
        "entity": view.entity,
        "view": view.name,
        "table": view.table,
        "kind": f"{feature.kind}: {KINDS[feature.kind]}",
        "type": f"{feature.dtype}{f', {feature.unit}' if feature.unit else ''}",
        "meaning": feature.meaning,
        "bounds": feature.bounds,
        "rows": " and ".join(str(condition) for condition in (*view.where, *feature.where)) or "all",
        "when nothing happened": "missing" if feature.empty is None else f"{feature.empty:.0f}",
        "high": feature.high or "-",
        "low": feature.low or "-",
        "sql": "computed elsewhere"
        if view.external
        else view_sql(alone, {name: name for name in TABLES}, columns, [catalog.now]),
    }
