"""HubSpot: objects by search for what changed, then in batches with the history of their properties and their associations.

A search gives two hundred a page and ten thousand in all, so no page is turned: each search begins where the last one came to. It
shows no archived objects; a list of their own has those of the last ninety days. What was deleted for good is not shown at all,
and an association that was removed stays in the export.

Sources: developers.hubspot.com, "Search the CRM", "Objects: batch read", "Associations v4", "Pipelines", "API usage guidelines".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from features.errors import WorkspaceError, nearest
from features.remote.credential import credential
from features.remote.environment import filled
from features.remote.failure import Denied
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.sources.settings import HubspotSource
from features.sources.source import Kind, Record, Row, Window, chosen, instant, text

PAGE, BATCH, LISTED = 200, 50, 100
PIPELINES = "pipelines/deals"
_PROPERTIES = {
    "contact": (
        "lifecyclestage", "hs_lifecyclestage_customer_date", "associatedcompanyid", "hs_analytics_source", "hs_object_source",
        "hs_merged_object_ids", "hs_lead_status", "hs_analytics_num_visits", "hs_analytics_num_page_views",
        "num_conversion_events", "country", "industry", "jobtitle",
    ),
    "company": ("industry", "country", "lifecyclestage", "type", "numberofemployees", "annualrevenue"),
    "deal": ("dealstage", "amount", "closedate", "dealtype"),
    "ticket": ("closed_date", "hs_ticket_priority", "hs_ticket_category"),
    "engagement_call": ("hs_timestamp", "hs_call_direction"),
    "engagement_email": ("hs_timestamp", "hs_email_direction"),
    "engagement_meeting": ("hs_timestamp", "hs_meeting_start_time"),
    "engagement_note": ("hs_timestamp",),
    "engagement_task": ("hs_timestamp",),
    "engagement_communication": ("hs_timestamp",),
}  # fmt: skip
_WITH_HISTORY = ("contact", "company", "deal")
_ASSOCIATED = {"deal": ("company", "contact"), "ticket": ("company",), "engagement": ("contact", "company")}
_PLURALS = {"company": "companies"}


class HubspotRecords:
    """The objects of an account.

    Args:
        workspace: a file with the token must lie outside it.
        wire: to HubSpot.
        where: the source's table in the settings, for errors.
        settings: the source.

    Raises:
        WorkspaceError: the token is not there or stands in the settings.
    """

    unit = timedelta(milliseconds=1)
    versions = False

    def __init__(self, workspace: Workspace, wire: Wire, where: str, settings: HubspotSource) -> None:
        token = credential(workspace, settings.token, f"{where} token")
        wire.secrets.append(token)
        self._wire, self._where, self._settings = wire, where, settings
        self._headers = {"Authorization": f"Bearer {token}"}
        self._root = filled(settings.url, f"{where} url").rstrip("/")
        self.limit = min(settings.page or PAGE, PAGE)

    def kinds(self, stems: frozenset[str]) -> list[Kind]:
        """The objects whose files are read."""
        settings = self._settings
        for stem, names in settings.fields.items():
            self._check(stem, names)
        fields = {stem: [f"property_{name}" for name in names] for stem, names in settings.fields.items()}
        return chosen([*map(_kind, _PROPERTIES), _STAGES], stems, settings.skip, fields, self._where)

    def count(self, kind: Kind, low: datetime | None) -> int:
        """How many objects changed since."""
        if kind.name == PIPELINES:
            return len(self.page(kind, Window(low)))
        return int(self._search(kind, Window(low), 1)["total"])

    def page(self, kind: Kind, window: Window) -> list[Record]:
        """The first objects of a window."""
        if kind.name == PIPELINES:
            return self._stages(window)
        found = self._search(kind, window, self.limit)["results"]
        return self._records(kind, found, archived=False)

    def gone(self, kind: Kind, after: str | None) -> tuple[list[Record], str | None]:
        """A page of archived objects."""
        if kind.name == PIPELINES:
            return [], None
        query = {
            "archived": "true",
            "limit": str(LISTED),
            "properties": ",".join(_asked(kind)),
            **({"after": after} if after else {}),
        }
        answer = self._ask("GET", f"/crm/v3/objects/{kind.name}", params=query)
        following = ((answer.get("paging") or {}).get("next") or {}).get("after")
        return self._records(kind, answer["results"], archived=True), following

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _search(self, kind: Kind, window: Window, limit: int) -> Any:
        modified = kind.modified.removeprefix("property_")
        bounds = (("GTE", modified, window.low and _milliseconds(window.low)), ("GT", "hs_object_id", window.after))
        filters = [{"operator": sign, "propertyName": name, "value": value} for sign, name, value in bounds if value is not None]
        if window.high is not None:
            filters.append({"operator": "LT", "propertyName": modified, "value": _milliseconds(window.high)})
        order = "hs_object_id" if window.high else modified
        body = {
            "filterGroups": [{"filters": filters}] if filters else [],
            "sorts": [{"propertyName": order, "direction": "ASCENDING"}],
            "properties": _asked(kind),
            "limit": limit,
        }
        return self._ask("POST", f"/crm/v3/objects/{kind.name}/search", json=body)

    def _records(self, kind: Kind, found: Sequence[Mapping[str, Any]], *, archived: bool) -> list[Record]:
        ids = [str(one["id"]) for one in found]
        children: dict[str, dict[str, list[Row]]] = {one: {} for one in ids}
        for child in kind.children:
            if child.stem.endswith("_property_history"):
                self._histories(kind, child, [] if archived else ids, children)
            else:
                self._associations(kind, child, [] if archived else found, children)
        return [_record(kind, one, children[str(one["id"])], archived=archived) for one in found]

    def _histories(self, kind: Kind, child: Kind, ids: list[str], children: dict[str, dict[str, list[Row]]]) -> None:
        names = [name for name in _asked(kind) if name not in ("createdate", kind.modified.removeprefix("property_"))]
        for start in range(0, len(ids), BATCH):
            body = {
                "properties": [], "propertiesWithHistory": names, "inputs": [{"id": one} for one in ids[start : start + BATCH]],
            }  # fmt: skip
            for one in self._ask("POST", f"/crm/v3/objects/{kind.name}/batch/read", json=body)["results"]:
                children[str(one["id"])][child.stem] = [
                    {
                        child.key[0]: str(one["id"]), "name": name, "value": text(told.get("value")),
                        "timestamp": text(told["timestamp"]), "source": text(told.get("sourceType")),
                    }
                    for name, values in (one.get("propertiesWithHistory") or {}).items()
                    for told in values
                ]  # fmt: skip

    def _associations(
        self, kind: Kind, child: Kind, found: Sequence[Mapping[str, Any]], children: dict[str, dict[str, list[Row]]]
    ) -> None:
        if not found:
            return
        own, other = child.key
        modified = {str(one["id"]): text(one["properties"].get(kind.modified.removeprefix("property_"))) for one in found}
        path = f"/crm/v4/associations/{kind.name}/{_plural(other.removesuffix('_id'))}/batch/read"
        for told in self._ask("POST", path, json={"inputs": [{"id": one} for one in modified]})["results"]:
            one = str(told["from"]["id"])
            rows: list[Row] = [{own: one, other: str(to["toObjectId"]), "modified": modified[one]} for to in told["to"]]
            children[one][child.stem] = rows

    def _stages(self, window: Window) -> list[Record]:
        """Every stage of every pipeline of deals; there are few, so the window is cut out here."""
        found = []
        for pipeline in self._ask("GET", "/crm/v3/pipelines/deals")["results"]:
            for stage in pipeline["stages"]:
                told = stage.get("metadata") or {}
                row = {
                    "stage_id": str(stage["id"]), "label": text(stage.get("label")), "updated_at": text(stage["updatedAt"]),
                    "closed_won": text(float(told.get("probability") or 0) == 1.0), "is_closed": text(told.get("isClosed")),
                }  # fmt: skip
                found.append(Record(row["stage_id"], instant(row["updated_at"]), row))
        found.sort(key=lambda one: (one.key if window.high else "", one.modified, one.key))
        return [one for one in found if _is_within(one, window)]

    def _check(self, stem: str, names: Sequence[str]) -> None:
        """HubSpot answers for a property that there is not as for one that is empty."""
        if stem not in _PROPERTIES:
            return  # `chosen` says so
        kind = _kind(stem)
        known = {str(one["name"]) for one in self._ask("GET", f"/crm/v3/properties/{kind.name}")["results"]}
        for name in names:
            if name not in known:
                near = nearest(name, known)
                raise WorkspaceError(
                    f"{self._where} fields",
                    expected=f"properties of {kind.name}",
                    received=repr(name),
                    repair=f"write `{near}`" if near else "check the spelling: it is the internal name",
                )

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = parsed(self._wire.call(method, self._root + path, headers=self._headers, **options))
        if not isinstance(answer, dict) or "results" not in answer:
            raise Denied("the answer has no results; is the address that of HubSpot's API?")
        return answer


def _kind(stem: str) -> Kind:
    """An object with what comes along with it."""
    name = stem.removeprefix("engagement_")
    root = "engagement" if name != stem else stem
    own = "engagement_id" if root == "engagement" else "deal_id" if stem == "deal" else "id"
    modified = "property_lastmodifieddate" if stem == "contact" else "property_hs_lastmodifieddate"
    created = "hs_createdate" if root == "engagement" else "createdate"
    columns = (own, "is_deleted", f"property_{created}", modified, *(f"property_{one}" for one in _PROPERTIES[stem]))
    history = Kind(
        f"{stem}_property_history", "", (), (f"{stem}_id", "name", "timestamp"), "timestamp"
    )  # fmt: skip
    links = [Kind(f"{root}_{other}", "", (), (f"{root}_id", f"{other}_id"), "modified") for other in _ASSOCIATED.get(root, ())]
    return Kind(stem, _plural(name), columns, (own,), modified, tuple([history, *links] if stem in _WITH_HISTORY else links))


_STAGES = Kind(
    "deal_pipeline_stage", PIPELINES, ("stage_id", "label", "updated_at", "closed_won", "is_closed"), ("stage_id",), "updated_at"
)


def _plural(name: str) -> str:
    return _PLURALS.get(name, f"{name}s")


def _asked(kind: Kind) -> list[str]:
    return [name.removeprefix("property_") for name in kind.columns if name.startswith("property_")]


def _record(kind: Kind, told: Mapping[str, Any], children: Mapping[str, Sequence[Row]], *, archived: bool) -> Record:
    row: Row = {
        f"property_{name}": text(value) for name, value in told["properties"].items() if f"property_{name}" in kind.columns
    }
    row |= {kind.key[0]: str(told["id"]), "is_deleted": text(archived)}
    changed = instant(text(told.get("archivedAt")) if archived else row.get(kind.modified))
    return Record(str(told["id"]), changed, row, children)


def _is_within(record: Record, window: Window) -> bool:
    low, high = window.low, window.high
    in_time = (low is None or record.modified >= low) and (high is None or record.modified < high)
    return in_time and (window.after is None or record.key > window.after)


def _milliseconds(at: datetime) -> str:
    return str(round(at.timestamp() * 1_000))
