"""Opening a target: its settings as a connector. Nothing is connected to yet."""

from __future__ import annotations

from features.remote.credential import FILE, header, variables
from features.remote.pace import Clock, Pace, Sleep
from features.remote.wire import Wire
from features.settings import Workspace
from features.target import (
    DynamicsTarget,
    FilesTarget,
    HttpTarget,
    HubspotTarget,
    OdooTarget,
    RestTarget,
    SalesforceTarget,
    SqlTarget,
    Target,
    WebhookTarget,
)
from serving.connectors.connector import Connector
from serving.connectors.dynamics import Dynamics
from serving.connectors.files import Files
from serving.connectors.hubspot import Hubspot
from serving.connectors.odoo import Odoo
from serving.connectors.record import mapping
from serving.connectors.rest import Rest
from serving.connectors.salesforce import Salesforce
from serving.connectors.sql import Sql
from serving.connectors.webhook import Webhook


def open_connector(workspace: Workspace, name: str, target: Target, clock: Clock, sleep: Sleep) -> Connector:
    """The connector of a target.

    Raises:
        WorkspaceError: a credential is not there or stands in the settings, or something that this kind of target needs lacks.
    """
    fields, where = mapping(target, name), f"[write_back.{name}]"
    if isinstance(target, FilesTarget):
        return Files(workspace.root / target.path, target.format, fields)
    if isinstance(target, SqlTarget):
        return Sql(workspace, where, target, fields)
    assert isinstance(target, HttpTarget)
    wire = Wire(target.timeout_seconds, Pace(target.per_second, clock, sleep))
    wire.secrets += variables(target.url)
    if isinstance(target, RestTarget):
        return Rest(wire, where, target, fields, headers(workspace, where, target.headers, wire))
    if isinstance(target, OdooTarget):
        return Odoo(workspace, wire, where, target, fields)
    if isinstance(target, HubspotTarget):
        return Hubspot(workspace, wire, where, target, fields)
    if isinstance(target, SalesforceTarget):
        return Salesforce(workspace, wire, where, target, fields, sleep)
    if isinstance(target, DynamicsTarget):
        return Dynamics(workspace, wire, where, target, fields)
    assert isinstance(target, WebhookTarget)
    return Webhook(workspace, wire, where, name, target, headers(workspace, where, target.headers, wire))


def headers(workspace: Workspace, where: str, settings: dict[str, str], wire: Wire) -> dict[str, str]:
    """Headers with their credentials filled in, none of which the wire will show."""
    found = {name: header(workspace, value, f"{where} headers") for name, value in settings.items()}
    secret = [found[name] for name, value in settings.items() if value.startswith(FILE) or "${" in value]
    wire.secrets += [part for value in secret for part in (value, *value.split()[-1:])]
    return found
