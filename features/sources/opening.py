"""Opening a source: its settings as something that can be asked. Nothing is connected to yet."""

from __future__ import annotations

from features.remote.credential import variables
from features.remote.pace import Clock, Pace, Sleep
from features.remote.wire import Wire
from features.settings import Workspace
from features.sources.hubspot import HubspotRecords
from features.sources.odoo import OdooRecords
from features.sources.salesforce import SalesforceRecords
from features.sources.settings import AnySource, HubspotSource, OdooSource, SqlSource
from features.sources.source import Source
from features.sources.sql import SqlRecords


def open_source(workspace: Workspace, where: str, settings: AnySource, clock: Clock, sleep: Sleep) -> Source:
    """The source of some settings.

    Raises:
        WorkspaceError: a credential is not there or stands in the settings, or something that this kind of source needs lacks.
    """
    if isinstance(settings, SqlSource):
        return SqlRecords(workspace, where, settings)
    wire = Wire(settings.timeout_seconds, Pace(settings.per_second, clock, sleep))
    wire.secrets += variables(settings.url)
    if isinstance(settings, OdooSource):
        return OdooRecords(workspace, wire, where, settings)
    if isinstance(settings, HubspotSource):
        return HubspotRecords(workspace, wire, where, settings)
    return SalesforceRecords(workspace, wire, where, settings)
