"""The description of the API in OpenAPI 3.1, and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from features.errors import ForesellError
from serving.desk import Desk
from serving.newcomer import Attribute
from serving.office import Office
from serving.problem import MEDIA_TYPE, Problem
from serving.request import SHOWN_IN_EXAMPLE, Form
from serving.score import Score

REFERENCE = "#/components/schemas/{model}"
REFUSALS = {
    400: "the body is not JSON", 401: "no API key, or none that lets anybody in", 403: "the key is not for this",
    413: "the body is too large", 415: "the body is not marked as JSON", 422: "the request is wrong about every entity",
    429: "the key has come too often", 503: "no score can be given now",
}  # fmt: skip
SUMMARY = "Who will buy, who will leave, who will grow: scores with reasons."


class Refused(BaseModel):
    """An entity of a request that could not be read; the others are answered all the same."""

    entity_id: str | None
    propensity: str
    problem: Problem


class Answer(BaseModel):
    """One score, or a sentence why there is none, for every entity asked about, in the order of the request."""

    scores: list[Score | Refused]


class Stored(BaseModel):
    """The last stored scores of one entity, exactly as they were served."""

    scores: list[Score]


class Accepted(BaseModel):
    """What became of a webhook: `id` finds it in the logs, `accepted` records will be scored, `flaws` say what was left out."""

    id: str
    accepted: int
    flaws: list[dict[str, str]]


def described(office: Office, forms: Mapping[str, Form], several: Mapping[str, Form]) -> dict[str, Any]:
    """The OpenAPI document of a workspace's service."""
    _, ours = models_json_schema(
        [(model, "serialization") for model in (Answer, Stored, Accepted, Problem)], ref_template=REFERENCE
    )
    asked = [form.schema for form in (*forms.values(), *several.values())]
    schemas = {**ours["$defs"]}
    for schema in asked:
        schemas |= schema.get("$defs", {})
        schemas[schema["title"]] = {key: value for key, value in schema.items() if key != "$defs"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Foresell", "version": "1", "summary": SUMMARY, "license": {"name": "Apache-2.0"}},
        "security": [{"key": []}],
        "paths": {
            **{f"/v1/{name}": {"post": _scores(office, name, forms[entity])} for name, entity in office.entities.items()
               if entity in forms},
            "/v1/scores": {"post": _several(office, several)},
            "/v1/scores/{entity}/{id}": {"get": _stored(list(forms))},
            "/v1/hooks/{source}/{token}": {"post": _hook(office)},
            "/v1/status": {"get": _admin("What the service is doing", "status", "application/json")},
            "/metrics": {"get": _admin("Figures in Prometheus' form", "metrics", "text/plain")},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`foresell key create` makes a key"}},
        },
    }  # fmt: skip


def page() -> Response:
    """The API page; BentoML serves the scripts from its own files, so that it works on a closed machine."""
    return get_swagger_ui_html(
        openapi_url="docs.json",
        title="Foresell: the API",
        swagger_js_url="static_content/swagger-ui-bundle.js",
        swagger_css_url="static_content/swagger-ui.css",
        swagger_favicon_url="static_content/favicon-light-32x32.png",
    )


def _scores(office: Office, name: str, form: Form) -> dict[str, Any]:
    desk = office.lineup.desks.get(name)
    summary = desk.scorer.propensity.question if isinstance(desk, Desk) else "Has no champion yet"
    return {
        "operationId": name.replace("-", "_"),
        "summary": summary,
        "description": _waiting(desk),
        "requestBody": _body(form.schema["title"], example(form, desk if isinstance(desk, Desk) else None)),
        "responses": {"200": _json("one answer for every entity, in the order of the request", "Answer"), **_refusals()},
    }


def _waiting(desk: Desk | ForesellError | None) -> str:
    return str(desk.repair) if isinstance(desk, ForesellError) else "One answer for every entity; 1 to 1,000 of them."


def _several(office: Office, several: Mapping[str, Form]) -> dict[str, Any]:
    examples = {
        form.entity: {
            "value": {
                "propensities": [name for name, entity in office.entities.items() if entity == form.entity],
                **example(form, None),
            }
        }
        for form in several.values()
    }
    schema = {"oneOf": [{"$ref": REFERENCE.format(model=form.schema["title"])} for form in several.values()]}
    return {
        "operationId": "scores",
        "summary": "Several propensities of the same entities at once",
        "description": "Answers come by entity, and for each entity in the order of `propensities`.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}},
        "responses": {"200": _json("one answer for every entity and propensity", "Answer"), **_refusals()},
    }


def _stored(entities: list[str]) -> dict[str, Any]:
    return {
        "operationId": "stored",
        "summary": "The last stored scores of an entity, with their reasons as they were served",
        "parameters": [
            _parameter("entity", "path", {"type": "string", "enum": entities}, entities[0] if entities else "lead"),
            _parameter("id", "path", {"type": "string", "minLength": 1}, "1001"),
        ],
        "responses": {
            "200": _json("its scores", "Stored"),
            **_refusals(401, 403, 422, 429, 503),
            "404": _problem("none is stored"),
        },
    }


def _hook(office: Office) -> dict[str, Any]:
    sources = list(office.hooks)
    schema: dict[str, Any] = {"type": "string", **({"enum": sources} if sources else {})}
    return {
        "operationId": "hook",
        "summary": "A CRM's own webhook: accepted at once, scored and written back after the answer",
        "security": [],
        "parameters": [
            _parameter("source", "path", schema, sources[0] if sources else "odoo"),
            _parameter("token", "path", {"type": "string"}, "fs_..."),
        ],
        "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
        "responses": {
            "202": _json("accepted", "Accepted"),
            **_refusals(400, 401, 403, 413, 422, 429, 503),
            "404": _problem("no such source"),
        },
    }


def _admin(summary: str, name: str, media_type: str) -> dict[str, Any]:
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer, **_refusals(401, 403, 429, 503)}}


def _body(model: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": REFERENCE.format(model=model)}, "examples": {"one": {"value": shown}}}
    return {"required": True, "content": {"application/json": content}}


def _json(description: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model=model)}}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): _problem(REFUSALS[status]) for status in statuses or REFUSALS}


def _parameter(name: str, place: str, schema: Mapping[str, Any], shown: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema, "example": shown}


def example(form: Form, desk: Desk | None) -> dict[str, Any]:
    """A request that can be answered."""
    given = {a.names[0]: _typical(desk, a) for a in form.attributes[:SHOWN_IN_EXAMPLE]}
    return {"records": [{"attributes": given}]} if form.entity == "lead" else {"ids": ["1001", "1002"]}


def _typical(desk: Desk | None, attribute: Attribute) -> float | str | None:
    features = desk.scorer.model.contract.features if desk else ()
    column = next((column for column in features if column.name == attribute.feature.name), None)
    if column is None:
        return None
    return column.categories[0] if column.categories else column.typical.median
