"""The description of the API in OpenAPI 3.1, and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.responses import Response

from features.errors import ForesellError
from serving.desk import Desk
from serving.flaw import Flaw
from serving.hooks.soap import ACKNOWLEDGED
from serving.http import example
from serving.http.actions import LoggedActions, described_actions
from serving.http.actions import example as example_of_actions
from serving.http.problem import MEDIA_TYPE, Problem
from serving.http.request import Form
from serving.http.schema import REFERENCE, schemas
from serving.limits import MOST_ENTITIES
from serving.office import Office
from serving.score import Score

REFUSALS = {
    400: "the body is not JSON", 401: "no API key, or none that lets anybody in", 403: "the key is not for this",
    408: "the body did not come to its end", 413: "the body is too large",
    415: "the body is not marked as JSON", 422: "the request is wrong about every entity",
    429: "the key has come too often", 503: "no score can be given now",
}  # fmt: skip
SUMMARY = "Who will buy, who will leave, who will grow: scores with reasons."
KEYS = {
    "key": {"type": "http", "scheme": "bearer", "description": "`foresell key create` makes a key"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key in a header of its own"},
}
TAGS = {
    "actions": "what was done because of scores, so that their worth can be told",
    "scores": "asked for, or read back as they were served", "webhooks": "what a CRM sends by itself",
    "operation": "for those who look after the service",
}  # fmt: skip
_FIGURES = {
    "description": "every figure",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "foresell_dependency_up{dependency=\"ledger\"} 1.0"}},
}  # fmt: skip
_RECORDS = {"anyOf": [{"type": "object"}, {"type": "array", "items": {}}]}
EXAMPLE_ID = "5f3d6c0e9b7a4d2c8e1f0a9b8c7d6e5f"


class Refused(BaseModel):
    """An entity of a request that could not be read; the others are answered all the same.

    Attributes:
        entity_id: its id, if that can be read.
        propensity: which question.
        problem: what is wrong with it.
    """

    entity_id: str | None
    propensity: str
    problem: Problem


class Answer(BaseModel):
    """One score, or a sentence why there is none, for every entity asked about.

    Attributes:
        scores: in the order of the request: its ids, then its records.
    """

    scores: list[Score | Refused]


class Stored(BaseModel):
    """The last stored scores of one entity.

    Attributes:
        scores: one for each propensity that has one, exactly as it was served.
    """

    scores: list[Score]


class Accepted(BaseModel):
    """What became of a webhook.

    Attributes:
        id: of the call, as the request log has it.
        accepted: how many records will be scored.
        flaws: what was left out, and why.
    """

    id: str
    accepted: int
    flaws: list[Flaw]


class Status(BaseModel):
    """What the service is doing.

    Attributes:
        desks: for each propensity the version that answers and the challenger that waits, or why it has none.
        dependencies: for each of online store, ledger, registry and keys (their file) what is wrong with it; null if nothing is.
        waiting: how much waits to be done.
        lost: how much could not be kept since the start.
    """

    desks: dict[str, dict[str, Any]]
    dependencies: dict[str, dict[str, Any] | None]
    waiting: dict[str, int]
    lost: dict[str, int]


def described(office: Office, forms: Mapping[str, Form], several: Mapping[str, Form], now: datetime) -> dict[str, Any]:
    """The OpenAPI document of a workspace's service.

    Args:
        office: whose propensities, webhooks and settings are described.
        forms: what may be asked about each kind of entity.
        several: the same where the request names the propensities.
        now: the instant of the examples.
    """
    shown = {name: example.answered(desk, now) for name, desk in office.lineup.desks.items() if isinstance(desk, Desk)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Foresell", "version": "1", "summary": SUMMARY, "license": {"name": "Apache-2.0"}},
        "security": [] if office.workspace.settings.serving.keys == "off" else [{name: []} for name in KEYS],
        "tags": [{"name": name, "description": words} for name, words in TAGS.items()],
        "paths": {
            **{f"/v1/{name}": {"post": _scores(office, name, forms[entity], shown)} for name, entity in office.entities.items()
               if entity in forms},
            "/v1/scores": {"post": _several(office, several, shown)},
            "/v1/scores/{entity}/{id}": {"get": _stored(list(forms), shown)},
            "/v1/actions": {"post": _actions(office, now)},
            "/v1/hooks/{source}/{token}": {"post": _hook(office)},
            "/v1/status": {"get": _admin("What the service is doing", "status", _json("its state", "Status", _status(shown)))},
            "/metrics": {"get": _admin("Figures in Prometheus' form", "metrics", _FIGURES)},
        },
        "components": {"schemas": _components(office, forms, several), "securitySchemes": KEYS},
    }  # fmt: skip


def _components(office: Office, forms: Mapping[str, Form], several: Mapping[str, Form]) -> dict[str, Any]:
    found = schemas(Answer, Stored, LoggedActions, Accepted, Status, Problem)
    found |= described_actions(office.entities)
    for form in (*forms.values(), *several.values()):
        found |= form.schema.get("$defs", {})
        found[form.schema["title"]] = {key: value for key, value in form.schema.items() if key != "$defs"}
    return found


def page() -> Response:
    """The API page; BentoML serves the scripts from its own files, so that it works on a closed machine."""
    return get_swagger_ui_html(
        openapi_url="docs.json",
        title="Foresell: the API",
        swagger_js_url="static_content/swagger-ui-bundle.js",
        swagger_css_url="static_content/swagger-ui.css",
        swagger_favicon_url="static_content/favicon-light-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "persistAuthorization": True, "defaultModelsExpandDepth": 0},
    )


def _scores(office: Office, name: str, form: Form, shown: Mapping[str, Any]) -> dict[str, Any]:
    desk = office.lineup.desks.get(name)
    opened = desk if isinstance(desk, Desk) else None
    answer = _answer([shown.get(name) or next(iter(shown.values()), None)])
    return {
        "operationId": name.replace("-", "_"),
        "tags": ["scores"],
        "summary": opened.scorer.propensity.question if opened else "Has no champion yet",
        "description": _waiting(desk),
        "requestBody": _body({"$ref": REFERENCE.format(model=form.schema["title"])}, {"one": example.asked(form, opened)}),
        "responses": {"200": _json("one answer for every entity, in the order of the request", "Answer", answer), **_refusals()},
    }


def _waiting(desk: Desk | ForesellError | None) -> str:
    return (
        str(desk.repair) if isinstance(desk, ForesellError) else f"One answer for every entity; 1 to {MOST_ENTITIES:,} of them."
    )


def _several(office: Office, several: Mapping[str, Form], shown: Mapping[str, Any]) -> dict[str, Any]:
    of = {entity: [name for name, its in office.entities.items() if its == entity] for entity in several}
    asked = {entity: {"propensities": names, **example.asked(several[entity], None)} for entity, names in of.items() if names}
    schema = {"oneOf": [{"$ref": REFERENCE.format(model=several[entity].schema["title"])} for entity in asked]}
    return {
        "operationId": "scores",
        "tags": ["scores"],
        "summary": "Several propensities of the same entities at once",
        "description": "Answers come by entity, and for each entity in the order of `propensities`.",
        "requestBody": _body(schema, asked),
        "responses": {
            "200": _json("one answer for every entity and propensity", "Answer", _answer(shown.values())),
            **_refusals(),
        },
    }


def _stored(entities: list[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    told = [{**one, "entity_id": "1001"} for one in shown.values()][:1]
    return {
        "operationId": "stored",
        "tags": ["scores"],
        "summary": "The last stored scores of an entity, with their reasons as they were served",
        "parameters": [
            _parameter("entity", "whose scores", {"type": "string", "enum": entities}, entities[0] if entities else "lead"),
            _parameter("id", "the CRM's id", {"type": "string", "minLength": 1}, "1001"),
        ],
        "responses": {
            "200": _json("its scores", "Stored", _answer(told)),
            "404": _problem("none is stored"),
            **_refusals(401, 403, 422, 429, 503),
        },
    }


def _actions(office: Office, now: datetime) -> dict[str, Any]:
    shown = example_of_actions(office.entities, now)
    (told,) = shown["actions"]
    logged = {"id": told["id"], "propensity": told["propensity"], "entity_id": "1001", "held_out": False, "known": False}
    return {
        "operationId": "actions",
        "tags": ["actions"],
        "summary": "What was done: calls, e-mails and visits, so that the worth of acting on scores can be told",
        "description": "Answered once everything is kept; what is not answered may be sent again, and is kept once. One bad "
        f"record does not lose the others. 1 to {MOST_ENTITIES:,} actions.",
        "requestBody": _body({"$ref": REFERENCE.format(model="ActionsRequest")}, {"call": shown}),
        "responses": {
            "200": _json("what is kept, in the order of the request", "LoggedActions", {"actions": [logged]}),
            **_refusals(),
        },
    }


def _hook(office: Office) -> dict[str, Any]:
    sources = list(office.hooks)
    schema: dict[str, Any] = {"type": "string", **({"enum": sources} if sources else {})}
    accepted = {"id": EXAMPLE_ID, "accepted": 1, "flaws": []}
    answers = {"202": _json("accepted", "Accepted", accepted)}
    if any(hook.shape == "salesforce" for hook in office.hooks.values()):
        content = {"text/xml": {"schema": {"type": "string"}, "example": ACKNOWLEDGED.decode()}}
        answers["200"] = {"description": "accepted, as Salesforce must hear it", "content": content}
    return {
        "operationId": "hook",
        "tags": ["webhooks"],
        "summary": "A CRM's own webhook: accepted at once, scored and written back after the answer",
        "description": "The body is whatever the CRM sends; `[hooks.SOURCE]` in foresell.toml says how it is read.",
        "security": [],
        "parameters": [
            _parameter("source", "the name under [hooks]", schema, sources[0] if sources else "odoo"),
            _parameter("token", "a key with the scope hook; Odoo and others can send no header", {"type": "string"}, "fs_..."),
        ],
        "requestBody": _body(_RECORDS, {"record": {"id": "1001", "_id": 1001, "_model": "crm.lead"}}),
        "responses": {
            **answers,
            "404": _problem("no such source"),
            **_refusals(400, 401, 403, 408, 413, 422, 429, 503),
        },
    }


def _admin(summary: str, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["operation"],
        "summary": summary,
        "responses": {"200": answer, **_refusals(401, 403, 429, 503)},
    }


def _answer(scores: Iterable[Any]) -> dict[str, Any]:
    return {"scores": [one for one in scores if one is not None]}


def _status(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "desks": {name: {"answers": one["model_version"], "challenger": None} for name, one in shown.items()},
        "dependencies": {"online_store": None, "ledger": None, "registry": None, "keys": None},
        "waiting": {"recorder": 0},
        "lost": {"recorder": 0, "shadow": 0},
    }


def _body(schema: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in shown.items()}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _json(description: str, model: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model=model)}
    return {"description": description, "content": {"application/json": {"schema": schema, "example": shown}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): _problem(REFUSALS[status]) for status in statuses or REFUSALS}


def _parameter(name: str, words: str, schema: Mapping[str, Any], shown: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": words, "schema": schema, "example": shown}
