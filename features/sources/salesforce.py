"""Salesforce: SOQL over the standard objects and their histories by `queryAll`, which shows deleted records too.

Fields that an organisation does not have, or does not show to the user, are left out; so are objects, such as the history of one
whose fields are not tracked. Each page is a query of its own, so that no cursor of Salesforce's has to live through a night.

Sources: developer.salesforce.com, REST API "QueryAll" and "sObject Describe", SOQL "Date Formats" and "ORDER BY". For thousands
of pages the Bulk API would take fewer calls of the day's limit, but its jobs keep no order, so a killed one would begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from features.errors import WorkspaceError, nearest
from features.remote.environment import filled
from features.remote.failure import Denied, Refused
from features.remote.login import Login
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.sources.settings import SalesforceSource
from features.sources.source import Kind, Record, Window, chosen, instant, text

PAGE = 2_000
_FIELDS = {
    "Lead": (
        "IsConverted", "ConvertedDate", "ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId", "MasterRecordId",
        "OwnerId", "LeadSource", "Status", "Rating", "Industry", "Country", "State", "AnnualRevenue", "NumberOfEmployees",
    ),
    "Account": (
        "MasterRecordId", "OwnerId", "Ownership", "Type", "Industry", "Rating", "BillingCountry", "BillingState", "AnnualRevenue",
        "NumberOfEmployees",
    ),
    "Contact": ("AccountId",),
    "Opportunity": ("AccountId", "CloseDate", "IsWon", "IsClosed", "StageName", "Amount", "Type", "LastStageChangeDate"),
    "OpportunityLineItem": ("OpportunityId", "Product2Id", "Quantity", "TotalPrice", "ListPrice", "Discount"),
    "Product2": ("Family",),
    "Task": (
        "WhoId", "WhatId", "AccountId", "Type", "TaskSubtype", "CallType", "ActivityDate", "CompletedDateTime", "IsClosed",
    ),
    "Event": ("WhoId", "WhatId", "AccountId", "Type", "EventSubtype", "ActivityDate", "StartDateTime", "ActivityDateTime"),
    "Case": ("AccountId", "ClosedDate", "Priority", "Type", "Reason"),
    "Campaign": ("Name",),
    "CampaignMember": ("CampaignId", "LeadId", "ContactId", "FirstRespondedDate"),
    "Contract": ("AccountId", "StartDate", "EndDate", "ActivatedDate"),
}  # fmt: skip
_HISTORIES = {
    "LeadHistory": ("LeadId", "Field", "OldValue", "NewValue"),
    "AccountHistory": ("AccountId", "Field", "OldValue", "NewValue"),
    "OpportunityFieldHistory": ("OpportunityId", "Field", "OldValue", "NewValue"),
    "OpportunityHistory": ("OpportunityId", "StageName", "Amount"),
}
_EVERY, _CHANGED = ("Id", "CreatedDate", "IsDeleted"), ("LastModifiedDate", "SystemModstamp")
_KINDS = [
    *(Kind(name, name, (*_EVERY, *_CHANGED, *fields), ("Id",), "SystemModstamp") for name, fields in _FIELDS.items()),
    *(Kind(name, name, (*_EVERY, *fields), ("Id",), "CreatedDate") for name, fields in _HISTORIES.items()),
]


class SalesforceRecords:
    """The objects of an organisation.

    Args:
        workspace: a file with a credential must lie outside it.
        wire: to Salesforce.
        where: the source's table in the settings, for errors.
        settings: the source.

    Raises:
        WorkspaceError: credentials are not there or stand in the settings.
    """

    unit = timedelta(seconds=1)
    versions = False

    def __init__(self, workspace: Workspace, wire: Wire, where: str, settings: SalesforceSource) -> None:
        self._wire, self._where, self._settings = wire, where, settings
        self._root = filled(settings.url, f"{where} url").rstrip("/")
        self._login = Login(workspace, wire, where, settings, f"{self._root}/services/oauth2/token", {})
        self.limit = min(settings.page or PAGE, PAGE)

    def kinds(self, stems: frozenset[str]) -> list[Kind]:
        """The objects whose files are read, as far as the organisation has them."""
        every = chosen(_KINDS, stems, self._settings.skip, self._settings.fields, self._where)
        return [found for kind in every if (found := self._as_shown(kind)) is not None]

    def count(self, kind: Kind, low: datetime | None) -> int:
        """How many records changed since."""
        return int(self._query(f"SELECT COUNT() FROM {kind.name}{_where(kind, Window(low))}")["totalSize"])

    def page(self, kind: Kind, window: Window) -> list[Record]:
        """The first records of a window; an answer that is too long comes in parts."""
        order = "Id" if window.high else f"{kind.modified}, Id"
        asked = f"SELECT {', '.join(kind.columns)} FROM {kind.name}{_where(kind, window)} ORDER BY {order} LIMIT {self.limit}"
        answer = self._query(asked)
        found = [*answer["records"]]
        while not answer.get("done", True):
            answer = self._answer(self._root + answer["nextRecordsUrl"])
            found += answer["records"]
        return [_record(kind, told) for told in found]

    def gone(self, kind: Kind, after: str | None) -> tuple[list[Record], str | None]:
        """None: `queryAll` shows deleted records among the others."""
        return [], None

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _as_shown(self, kind: Kind) -> Kind | None:
        """A kind with the fields that the user may see; None if the organisation has no such object."""
        try:
            told = self._answer(f"{self._path}/sobjects/{kind.name}/describe", "fields")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        shown = {str(field["name"]) for field in told["fields"]}
        for name in self._settings.fields.get(kind.stem, ()):
            if name not in shown:
                near = nearest(name, shown)
                raise WorkspaceError(
                    f"{self._where} fields",
                    expected=f"fields of {kind.name} that the user may see",
                    received=repr(name),
                    repair=f"write `{near}`" if near else "check the spelling, or the rights of the user",
                )
        return replace(kind, columns=tuple(name for name in kind.columns if name in shown))

    @property
    def _path(self) -> str:
        return f"{self._root}/services/data/v{self._settings.api}"

    def _query(self, asked: str) -> Any:
        return self._answer(f"{self._path}/queryAll?{urlencode({'q': asked})}", "totalSize")

    def _answer(self, url: str, holds: str = "records") -> Any:
        try:
            answer = parsed(self._login.call("GET", url))
        except Refused as refused:
            if "REQUEST_LIMIT_EXCEEDED" in json.dumps(refused.body):
                raise Denied(refused.told) from None
            raise
        if not isinstance(answer, dict) or holds not in answer:
            raise Denied("the answer is no result of Salesforce; is the address that of the organisation?")
        return answer


def _where(kind: Kind, window: Window) -> str:
    parts = [
        f"{kind.modified} {sign} {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for sign, at in ((">=", window.low), ("<", window.high))
        if at is not None
    ]
    if window.after is not None:
        parts.append(f"Id > '{window.after}'")
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def _record(kind: Kind, told: Mapping[str, Any]) -> Record:
    row = {name: text(told.get(name)) for name in kind.columns}
    return Record(str(told["Id"]), instant(row[kind.modified]), row)
