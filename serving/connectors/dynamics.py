"""Dynamics 365 Sales: rows of `msdyn_predictivescore`, where its own scoring writes, by `UpsertMultiple` of the Web API.

A row is one of a lead or an opportunity: its key is `msdyn_entityid` and `msdyn_entitytype`, so a target takes one propensity. A
call is all or nothing. With `link` the lead or opportunity is made to point to its row, which also tells one that was deleted.

| column | values |
| --- | --- |
| `msdyn_grade` | A 0, B 1, C 2, D 3 |
| `msdyn_scoretrend` | rising 0, steady 1, falling 2, not enough information 3 |

Sources: learn.microsoft.com, "msdyn_predictivescore table reference", "UpsertMultiple action", "Service protection API limits".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from features.errors import WorkspaceError
from features.remote.environment import filled
from features.remote.failure import Refused
from features.remote.login import Login
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.target import DynamicsTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names

API = "/api/data/v9.2"
TABLE = "msdyn_predictivescores"
NOT_ENOUGH = 3
GONE = "0x80040217"  # an object does not exist
CHOICES: dict[str, dict[Any, int]] = {
    "msdyn_grade": {"A": 0, "B": 1, "C": 2, "D": 3},
    "msdyn_scoretrend": {"rising": 0, "steady": 1, "falling": 2, None: NOT_ENOUGH},
}
_SETS = {"lead": "leads", "opportunity": "opportunities"}


class Dynamics:
    """The predictive scores of an environment.

    Args:
        workspace: a file with a credential must lie outside it.
        wire: to Dynamics.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.

    Raises:
        WorkspaceError: credentials are not there or stand in the settings, or more than one propensity is written.
    """

    limit = 100
    groups = False

    def __init__(
        self, workspace: Workspace, wire: Wire, where: str, target: DynamicsTarget, fields: Mapping[str, str]
    ) -> None:  # fmt: skip
        if len(target.propensities) != 1:
            raise WorkspaceError(
                f"{where} propensities",
                expected="one propensity, because Dynamics keeps one score of each lead or opportunity",
                received=str(len(target.propensities)) if target.propensities else "none, which stands for all",
                repair='name it, such as propensities = ["lead-conversion"]',
            )
        self._wire, self._target, self._fields = wire, target, fields
        self._root = filled(target.url, f"{where} url").rstrip("/")
        address = f"{filled(target.login, f'{where} login').rstrip('/')}/{target.tenant}/oauth2/v2.0/token"
        self._login = Login(workspace, wire, where, target, address, {"scope": f"{self._root}/.default"})

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The calls, without a token."""
        return [Call("POST", self._target.url.rstrip("/") + path, body) for path, body in self._calls(chunk)]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Upsert the scores, and let their leads or opportunities point to them."""
        sound = [one for one in chunk if _is_guid(one.id)]
        try:
            for path, body in self._calls(sound) if sound else ():
                self._login.call("POST", self._root + path, json=body)
        except Refused as refused:
            refused.is_gone = GONE in json.dumps(refused.body)
            raise
        return [Rejection(one.id, "the ids of Dynamics are GUIDs") for one in chunk if not _is_guid(one.id)]

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The rows of those that have one, with grades and trends in our words."""
        own = list(own_names(self._fields, propensity))
        listed = ",".join(f"'{one}'" for one in ids if _is_guid(one))
        among = f"Microsoft.Dynamics.CRM.In(PropertyName='msdyn_entityid',PropertyValues=[{listed}])"
        query = urlencode(
            {
                "$select": ",".join(["msdyn_entityid", *own]),
                "$filter": f"msdyn_entitytype eq '{self._target.object}' and {among}",
            }
        )
        answer = parsed(self._login.call("GET", f"{self._root}{API}/{TABLE}?{query}"))
        by_id = {str(row["msdyn_entityid"]).lower(): row for row in (answer or {}).get("value", ())}
        found = {one: by_id.get(one.lower()) for one in ids}
        return {one: {field: _word(field, row.get(field)) for field in own} for one, row in found.items() if row is not None}

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _calls(self, chunk: Sequence[Record]) -> list[tuple[str, dict[str, Any]]]:
        """Paths and bodies."""
        rows = [
            {
                "@odata.type": "Microsoft.Dynamics.CRM.msdyn_predictivescore",
                "@odata.id": self._row(one),
                **{field: _choice(field, value) for field, value in one.values.items()},
            }
            for one in chunk
        ]
        calls: list[tuple[str, dict[str, Any]]] = [(f"{API}/{TABLE}/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": rows})]
        if self._target.link:
            kind = self._target.object
            pointers = [
                {
                    "@odata.type": f"Microsoft.Dynamics.CRM.{kind}",
                    f"{kind}id": one.id,
                    "msdyn_PredictiveScoreId@odata.bind": f"/{self._row(one)}",
                }
                for one in chunk
            ]
            calls.append((f"{API}/{_SETS[kind]}/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": pointers}))
        return calls

    def _row(self, record: Record) -> str:
        return f"{TABLE}(msdyn_entityid='{record.id}',msdyn_entitytype='{self._target.object}')"


def _choice(field: str, value: Any) -> Any:
    return CHOICES[field].get(value) if field in CHOICES else value


def _word(field: str, value: Any) -> Any:
    return next((word for word, number in CHOICES[field].items() if number == value), None) if field in CHOICES else value


def _is_guid(identity: str) -> bool:
    try:
        return str(UUID(identity)) == identity.lower()
    except ValueError:
        return False
