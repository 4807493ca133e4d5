"""Salesforce: collections of two hundred records a call, and above some two thousand one job of the Bulk API 2.0.

A collection is answered record by record, in its order. A job is asked for until it is done; its failed records come as CSV with
`sf__Error`. A record that somebody else has locked (`UNABLE_TO_LOCK_ROW`) is no bad one, and is sent again alone. The day's limit
of calls is answered with 403 and `REQUEST_LIMIT_EXCEEDED`: there the run stops. A token that has run out is renewed once.

Sources: developer.salesforce.com, REST API "sObject Collections" and "OAuth 2.0 client credentials flow", Bulk API 2.0 "Ingest".
`simple-salesforce` is not used: it logs in by SOAP with a password, and its bulk part wants files.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from features.remote.environment import filled
from features.remote.failure import Busy, Denied, Refused
from features.remote.login import Login
from features.remote.pace import Sleep
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.target import SalesforceTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.connectors.rest import require_fields

if TYPE_CHECKING:
    import httpx

RECORDS_A_CALL = 200
OBJECTS = {"lead": "Lead", "customer": "Account"}
NOTHING = "#N/A"  # an empty cell leaves a field as it is
LOCKED = "UNABLE_TO_LOCK_ROW"
GONE = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")
FIRST_LOOK, LONGEST_LOOK, LONGEST_JOB = 2.0, 60.0, timedelta(hours=2).total_seconds()


class Salesforce:
    """One kind of object.

    Args:
        workspace: a file with a credential must lie outside it.
        wire: to Salesforce.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.
        sleep: waits so many seconds, between looks at a job.

    Raises:
        WorkspaceError: credentials are not there or stand in the settings, or nothing says which fields are written.
    """

    limit = 10_000
    groups = False

    def __init__(
        self, workspace: Workspace, wire: Wire, where: str, target: SalesforceTarget, fields: Mapping[str, str], sleep: Sleep
    ) -> None:
        require_fields(where, target.fields)
        self._wire, self._target, self._fields, self._sleep = wire, target, fields, sleep
        self._root = filled(target.url, f"{where} url").rstrip("/")
        self._path = f"/services/data/v{target.api}"
        self._object = target.object or OBJECTS[target.entity]
        self._key = target.external_id or "Id"
        self._login = Login(workspace, wire, where, target, f"{self._root}/services/oauth2/token", {})

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The calls, without a token; of a job the first rows."""
        root = self._target.url.rstrip("/") + self._path
        if self._is_bulk(chunk):
            rows = "".join(self._csv(chunk[:2]))
            return [Call("POST", f"{root}/jobs/ingest", self._job()), Call("PUT", f"{root}/jobs/ingest/ID/batches", rows)]
        return [Call("PATCH", root + self._collection, self._body(part)) for part in _parts(chunk)]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write them, as a job or as collections."""
        found = self._send_job(chunk) if self._is_bulk(chunk) else self._send_parts(chunk)
        return [Rejection(identity, error, _cause(error)) for identity, error in found]

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The fields of those records that there are."""
        listed = ", ".join("'" + one.replace("\\", "\\\\").replace("'", "\\'") + "'" for one in ids)
        names = ", ".join(dict.fromkeys([self._key, *own_names(self._fields, propensity)]))
        query = urlencode({"q": f"SELECT {names} FROM {self._object} WHERE {self._key} IN ({listed})"})
        answer = self._told("GET", f"/query?{query}", "records")
        held = {str(row[self._key]): row for row in answer["records"]}
        by_15 = {key[:15]: row for key, row in held.items()} if self._key == "Id" else {}
        found = {one: held.get(one) or by_15.get(one[:15]) for one in ids}
        return {one: row for one, row in found.items() if row is not None}

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    @property
    def _collection(self) -> str:
        return f"/composite/sobjects/{self._object}/{self._key}" if self._target.external_id else "/composite/sobjects"

    def _is_bulk(self, chunk: Sequence[Record]) -> bool:
        return len(chunk) > self._target.bulk_above

    def _body(self, part: Sequence[Record]) -> dict[str, Any]:
        key = self._target.external_id or "id"
        kind = {"attributes": {"type": self._object}}
        return {"allOrNone": False, "records": [{**kind, key: one.id, **one.values} for one in part]}

    def _send_parts(self, chunk: Sequence[Record]) -> list[tuple[str, str]]:
        """Ids and errors of the records that were not taken."""
        found: list[tuple[str, str]] = []
        for part in _parts(chunk):
            answer = parsed(self._call("PATCH", self._collection, json=self._body(part)))
            if not isinstance(answer, list) or [type(of) for of in answer] != [dict] * len(part):
                raise Refused("the answer does not account for every record")
            told = zip(part, answer, strict=True)
            found += [(one.id, self._words(of.get("errors") or ())) for one, of in told if not of.get("success")]
        return found

    def _words(self, errors: Iterable[Mapping[str, Any]]) -> str:
        return self._wire.clean("; ".join(f"{one.get('statusCode')}: {one.get('message')}" for one in errors) or "not taken")

    def _send_job(self, chunk: Sequence[Record]) -> list[tuple[str, str]]:
        """Ids and errors of the records that were not taken."""
        job = f"/jobs/ingest/{self._told('POST', '/jobs/ingest', 'id', json=self._job())['id']}"
        content = "".join(self._csv(chunk)).encode()
        self._call("PUT", f"{job}/batches", content=content, headers={"Content-Type": "text/csv"})
        self._told("PATCH", job, "state", json={"state": "UploadComplete"})
        told = self._done(job)
        if told["state"] != "JobComplete":
            raise Refused(self._wire.clean(f"the job {told['state'].lower()}: {told.get('errorMessage', '')}"))
        if int(told.get("numberRecordsProcessed", -1)) < len(chunk):
            raise Refused("the job left records out")
        return self._failed(job) if int(told.get("numberRecordsFailed", 0)) else []

    def _job(self) -> dict[str, str]:
        key = {"externalIdFieldName": self._target.external_id} if self._target.external_id else {}
        operation = "upsert" if key else "update"
        return {"object": self._object, "operation": operation, "contentType": "CSV", "lineEnding": "LF", **key}

    def _csv(self, chunk: Sequence[Record]) -> Iterator[str]:
        """Rows of a job, the first with the names of the fields."""
        names = list(chunk[0].values)
        rows = ([one.id, *(NOTHING if one.values[name] is None else one.values[name] for name in names)] for one in chunk)
        for row in [[self._key, *names], *rows]:
            line = StringIO()
            csv.writer(line, lineterminator="\n").writerow(row)
            yield line.getvalue()

    def _done(self, job: str) -> Any:
        look, waited = FIRST_LOOK, 0.0
        told: Mapping[str, Any] = {}
        while waited < LONGEST_JOB:
            with suppress(Busy):  # the job goes on, whoever asks about it
                told = self._told("GET", job, "state")
            if told.get("state") in ("JobComplete", "Failed", "Aborted"):
                return told
            self._sleep(look)
            waited, look = waited + look, min(2 * look, LONGEST_LOOK)
        with suppress(Busy):
            self._call("PATCH", job, json={"state": "Aborted"})  # or it would bring old scores back some day
        raise Busy(f"the job has not ended within {timedelta(seconds=LONGEST_JOB)}")

    def _failed(self, job: str) -> list[tuple[str, str]]:
        rows = csv.DictReader(StringIO(self._call("GET", f"{job}/failedResults").text))
        if not {self._key, "sf__Error"} <= set(rows.fieldnames or ()):
            raise Busy(f"GET {job}/failedResults was answered without a table")
        return [(row[self._key], self._wire.clean(row["sf__Error"])) for row in rows]

    def _told(self, method: str, path: str, key: str, **options: Any) -> Mapping[str, Any]:
        """The object that a call answers, which has such a key."""
        answer = parsed(self._call(method, path, **options))
        if not isinstance(answer, dict) or key not in answer:
            raise Busy(f"{method} {path} was answered without `{key}`")
        return answer

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._login.call(method, self._root + self._path + path, **options)
        except Refused as refused:
            if "REQUEST_LIMIT_EXCEEDED" in json.dumps(refused.body):
                raise Denied(refused.told) from None
            raise


def _parts(chunk: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(chunk), RECORDS_A_CALL):
        yield chunk[start : start + RECORDS_A_CALL]


def _cause(error: str) -> Literal["refused", "gone", "locked"]:
    return "locked" if error.startswith(LOCKED) else "gone" if error.startswith(GONE) else "refused"
