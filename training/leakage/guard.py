"""The guard: every check over one propensity, the waivers of its file, and the stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from features.catalog import Catalog
from features.errors import LeakageError
from features.feature import View
from features.propensity import Propensity, file_of
from features.settings import Workspace
from features.tables import ENTITY_TABLES
from features.views import views
from training.dataset import Dataset
from training.leakage import population, truncation
from training.leakage.arrival import arrival_findings
from training.leakage.columns import feature_findings
from training.leakage.finding import SEVERITIES, Finding
from training.leakage.history import history_findings
from training.leakage.origin import declared_attributes, event_repairs
from training.leakage.waiver import waived


def guard(workspace: Workspace, propensity: Propensity, data: Dataset) -> tuple[Finding, ...]:
    """Everything that knows the outcome, or may, the worst first; what the propensity file waives is marked.

    Args:
        workspace: with ingested tables and the snapshots of the dataset.
        propensity: the question.
        data: its dataset.
    """
    catalog, frame = Catalog.load(workspace), data.frame
    present, instants = _views(workspace, catalog, propensity), _instants(data)
    attributes = declared_attributes(workspace, catalog, present)
    found = [
        *feature_findings(frame, data.labels, list(data.dtypes), data.attributes, event_repairs(workspace, present)),
        *history_findings(workspace, propensity.entity, data),
        *([] if _elsewhere(workspace, data) else population.eligible_findings(workspace, propensity, instants, attributes)),
        *population.dataset_findings(workspace, propensity, frame),
        *_of_tables(workspace, propensity, _tables(propensity, present, data), instants),
        *truncation.base_rate_findings(frame, propensity, _file(workspace, propensity)),
    ]
    return _ranked(waived(found, propensity.waivers, _file(workspace, propensity)))


def guard_tables(workspace: Workspace, propensity: Propensity) -> tuple[Finding, ...]:
    """What the tables alone show, for when no dataset can be made of them: often for the very reason that is found here.

    Args:
        workspace: with ingested tables, among them what the propensity asks about.
        propensity: the question.
    """
    tables = dict.fromkeys(view.table for view in _views(workspace, Catalog.load(workspace), propensity) if not view.external)
    found = _of_tables(workspace, propensity, list(tables), [])
    keys = {finding.key for finding in found}
    waivers = {key: reason for key, reason in propensity.waivers.items() if key in keys}
    return _ranked(waived(found, waivers, _file(workspace, propensity)))


def require_clean(findings: Sequence[Finding], propensity: Propensity) -> None:
    """Stop where something leaks and nobody has said why it may pass.

    Raises:
        LeakageError: there is an error that is not waived; each is named with its evidence and the line that would mend it.
    """
    errors = [finding for finding in findings if finding.stops]
    if not errors:
        return
    count = f"{len(errors)} finding{'s' if len(errors) > 1 else ''} of the leakage guard"
    waiver = f'if it is honest all the same, [waivers] in the propensity file: "{errors[0].key}" = "why"'
    raise LeakageError(
        f"training {propensity.name}: {count}",
        expected="rows and features that tell only what was known before the as_of",
        received="".join(f"\n    {finding.sentence}" for finding in errors),
        repair="".join(f"\n    {repair}" for repair in dict.fromkeys([*(finding.repair for finding in errors), waiver])),
    )


def _elsewhere(workspace: Workspace, data: Dataset) -> bool:
    """Whether the snapshots lie where only Spark reads them; who was let in by which condition cannot be counted then."""
    return data.engine == "spark" and bool(workspace.settings.spark.store)


def _of_tables(
    workspace: Workspace, propensity: Propensity, tables: Sequence[str], instants: Sequence[datetime]
) -> list[Finding]:
    catalog, entity = Catalog.load(workspace), ENTITY_TABLES[propensity.entity].name
    promised = [entity] if any(attribute.fixed for attribute in catalog.attributes.get(entity, {}).values()) else []
    return [
        *arrival_findings(workspace, tables, promised, instants),
        *population.table_findings(workspace, propensity),
    ]


def _tables(propensity: Propensity, present: Sequence[View], data: Dataset) -> list[str]:
    """The tables that the outcome, the entity and the dataset's features come from, those of one value only among them."""
    chosen = {*data.dtypes, *data.dropped}
    used = [view.table for view in present if not view.external and any(f.name in chosen for f in view.columns)]
    return list(dict.fromkeys([ENTITY_TABLES[propensity.entity].name, propensity.outcome.source, *used]))


def _views(workspace: Workspace, catalog: Catalog, propensity: Propensity) -> list[View]:
    return [view for view in views(workspace, catalog) if view.entity == propensity.entity]


def _instants(data: Dataset) -> list[datetime]:
    return [instant.to_pydatetime() for instant in sorted(data.frame["as_of"].unique())]


def _file(workspace: Workspace, propensity: Propensity) -> str:
    path = file_of(workspace, propensity.name)
    return f"{path.parent.name}/{path.name}"


def _ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (bool(finding.waived), SEVERITIES.index(finding.severity))))
