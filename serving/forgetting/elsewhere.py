"""What forgetting cannot reach, in sentences for whoever has to see to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from features.forgetting.person import Person, is_telling
from features.settings import Workspace
from features.target import FilesTarget
from serving.ledger import Ledger


def elsewhere(workspace: Workspace, person: Person) -> tuple[str, ...]:
    """The places that are others', for this workspace; call it while the ledger still knows which targets were sent scores.

    Raises:
        StoreError: the ledger does not answer.
    """
    return (*_crm(workspace, person), *_servers(workspace), *_copies(workspace))


def _crm(workspace: Workspace, person: Person) -> Iterator[str]:
    yield "the CRM itself: erase the person there; here the list of the forgotten keeps them from coming back with an export"
    if workspace.settings.pull:
        if any(not is_telling(one) for one in person.every):
            yield "data/pulled and its export: so short an id is not told from other numbers there; ingest leaves it out"
    else:
        yield f"the CRM's export in {workspace.source}: it is the CRM's; the next export is without whom the CRM has erased"
    with closing(Ledger.open(workspace)) as ledger:
        told = ledger.told_about(person)
    for name in told:
        if not isinstance(workspace.settings.write_back.get(name), FilesTarget):
            yield f"what [write_back.{name}] was sent: erase the record there, or empty its fields"
    for name, table in workspace.settings.external.items():
        yield f"{table.path}, which [external.{name}] reads: whoever makes it has to leave the person out"


def _servers(workspace: Workspace) -> Iterator[str]:
    settings = workspace.settings
    if settings.store.online != "sqlite":
        yield "snapshots and append-only files of Redis: they are gone with its next rewrite (BGREWRITEAOF, BGSAVE)"
    if settings.serving.ledger != "sqlite":
        yield "write-ahead logs, replicas and backups of PostgreSQL: its administrator sees to them"
    if settings.mlflow.tracking_uri:
        yield f"the MLflow server {settings.mlflow.tracking_uri}: models and reports hold no ids; it was not searched"
    if settings.spark.store:
        yield f"tables, snapshots and scores in Spark's store {settings.spark.store}: run ingest, snapshot and score there again"


def _copies(workspace: Workspace) -> Iterator[str]:
    yield "backups and other copies of the workspace, and whatever was downloaded from it"
    yield "logs of a proxy or a caller, which may hold paths such as /v1/scores/customer/ID; Foresell's own hold no ids"
