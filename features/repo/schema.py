"""Views and propensities in Feast's terms: entities, feature views over the snapshot files, one feature service a propensity."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from features.catalog import Catalog
from features.feature import View
from features.naming import require_names
from features.propensity import Propensity, load_all
from features.repo.instrumentation import uninstrumented
from features.settings import Workspace
from features.spark.place import place
from features.storage import project
from features.views import views
from features.wire import RECORD, join_key, record_view

with uninstrumented():
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Bytes, Float64, String

EVENT_TIMESTAMP = "event_timestamp"
# Feast's shortest: the join finds a snapshot of exactly the as_of, never silently an older one
EXACTLY = timedelta(microseconds=1)
EXACTLY_IN_SPARK = timedelta(seconds=1)  # its store counts whole seconds, and takes 0 for any age
FOREVER = timedelta(0)


def objects(workspace: Workspace) -> list[Any]:
    """Everything that Feast is told about a workspace: its project, entities, feature views and feature services.

    Raises:
        TableError: nothing has been ingested.
        FeatureError, PropensityError: a declaration is wrong.
    """
    present = views(workspace, Catalog.load(workspace))
    require_names(present)
    entities = {name: _entity(name) for name in dict.fromkeys(view.entity for view in present)}
    offline = {view.name: _offline(view, entities[view.entity], _of_view(workspace, view)) for view in present}
    online = [_online(workspace, entity) for entity in entities.values()]
    asked = [propensity for propensity in load_all(workspace) if propensity.entity in entities]
    services = [_service(propensity, present, offline) for propensity in asked]
    described = Project(name=project(workspace), description="Foresell: what was known, when")
    return [described, *entities.values(), *offline.values(), *online, *(s for s in services if s.feature_view_projections)]


def spark_views(workspace: Workspace) -> list[Any]:
    """What Feast is told about a workspace for Spark: its project, entities and feature views, over the same snapshots.

    Raises:
        TableError: nothing has been ingested.
        FeatureError: a declaration is wrong.
    """
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    present = views(workspace, Catalog.load(workspace))
    require_names(present)
    entities = {name: _entity(name) for name in dict.fromkeys(view.entity for view in present)}
    declared = []
    for view in present:
        entity, folder = entities[view.entity], place(workspace, workspace.snapshots / view.entity / view.name)
        source = SparkSource(
            name=view.name,
            path=f"{folder}/*.parquet",
            file_format="parquet",
            timestamp_field=EVENT_TIMESTAMP,
            field_mapping={"entity_id": entity.join_key},
        )
        declared.append(_offline(view, entity, source, EXACTLY_IN_SPARK))
    described = Project(name=f"{project(workspace)}_spark", description="Foresell: what was known, when; read by Spark")
    return [described, *entities.values(), *declared]


def _entity(name: str) -> Entity:
    return Entity(name=name, join_keys=[join_key(name)], value_type=ValueType.STRING, description=f"one {name} of the CRM")


def _of_view(workspace: Workspace, view: View) -> FileSource:
    return _source(view.name, workspace.snapshots / view.entity / view.name, {"entity_id": join_key(view.entity)})


def _offline(view: View, entity: Entity, source: Any, exactly: timedelta = EXACTLY) -> FeatureView:
    fields = [
        Field(
            name=feature.name,
            dtype=Float64 if feature.dtype == "number" else String,
            description=feature.meaning,
            tags={"kind": feature.kind, "unit": feature.unit, "bounds": feature.bounds},
        )
        for feature in view.columns
    ]
    return FeatureView(
        name=view.name,
        entities=[entity],
        schema=[Field(name=entity.join_key, dtype=String), *fields],
        source=source,
        ttl=FOREVER if view.external else exactly,
        online=False,
        description=f"{view.entity}: computed elsewhere" if view.external else f"{view.entity}: from table {view.table}",
        tags={"table": view.table, "external": str(view.external).lower()},
    )


def _online(workspace: Workspace, entity: Entity) -> FeatureView:
    return FeatureView(
        name=record_view(entity.name),
        entities=[entity],
        schema=[Field(name=entity.join_key, dtype=String), Field(name=RECORD, dtype=Bytes, description="see features/record.py")],
        source=_source(record_view(entity.name), workspace.snapshots / entity.name / RECORD, {}),
        ttl=FOREVER,
        description=f"everything known of one {entity.name}, packed: what the service reads",
    )


def _source(name: str, folder: Path, names: dict[str, str]) -> FileSource:
    return FileSource(
        name=name,
        path=str(folder / "*.parquet"),
        timestamp_field=EVENT_TIMESTAMP,
        field_mapping=names,
        file_format=ParquetFormat(),
    )


def _service(propensity: Propensity, present: Sequence[View], offline: dict[str, FeatureView]) -> FeatureService:
    mine = [view.name for view in present if view.entity == propensity.entity]
    chosen = propensity.features or dict.fromkeys(mine, ("*",))
    wanted = {name: names for name, names in chosen.items() if name in mine}
    projections = [offline[name] if "*" in names else offline[name][list(names)] for name, names in wanted.items()]
    return FeatureService(name=propensity.name, features=projections, description=propensity.question)
