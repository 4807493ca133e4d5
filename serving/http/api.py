"""The HTTP face: routes for scores, for stored scores, for webhooks and for those who look after the service. BentoML mounts it
(serving.service); the description is in serving.http.openapi.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Route

from features.errors import CallError, ForesellError, StoreError
from features.propensity import TAKEN
from serving.action import Told
from serving.answer import Answer, Call
from serving.flaw import Flaw
from serving.hooks import call as hooks
from serving.http import actions, problem
from serving.http.gate import Gate
from serving.http.keys import Key, Scope
from serving.http.openapi import described, page
from serving.http.problem import near
from serving.http.request import Asked, Form, Wrong
from serving.http.size import LimitedSize, whole
from serving.http.tracing import Traces
from serving.http.witness import NOTES, Notes, Witness
from serving.metrics import Metrics
from serving.office import Office
from serving.reader import Ask

FEW = 8  # entities; more are answered in a thread, so that a large request does not hold up a small one
JSON = "application/json"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


class Api:
    """The routes over an office. `open` gives it one, before the first request."""

    def __init__(self) -> None:
        self.app = Starlette(
            routes=[Route("/", lambda request: RedirectResponse("docs")), Route("/docs", lambda request: page())],
            middleware=[
                Middleware(Witness, metrics=lambda: self.metrics, clock=now, traces=lambda: self.traces),
                Middleware(LimitedSize),
            ],
        )
        self.paths: list[str] = []
        self.traces: Traces | None = None
        problem.tell_problems(self.app, lambda: self.paths)

    def open(self, office: Office, gate: Gate, metrics: Metrics, traces: Traces | None = None) -> None:
        """Begin to answer: a route for each propensity of the workspace, and those for all of them."""
        self.office, self.gate, self.metrics, self.traces = office, gate, metrics, traces
        self.forms = {
            entity: Form(entity, reader.attributes, f"{entity.title()}Request") for entity, reader in office.readers.items()
        }
        self.several = {
            entity: Form(entity, reader.attributes, f"{entity.title()}Scores", _names_of(office, entity))
            for entity, reader in office.readers.items()
            if _names_of(office, entity)
        }
        document = described(office, self.forms, self.several, now())
        routes = [
            Route("/docs.json", lambda request: JSONResponse(document)),
            *(Route(f"/v1/{name}", self._scores_of(name), methods=["POST"]) for name in office.lineup.desks if name not in TAKEN),
            Route("/v1/scores", self._several_scores, methods=["POST"]),
            Route("/v1/scores/{entity}/{entity_id:path}", self._stored, methods=["GET"]),
            Route("/v1/actions", self._actions, methods=["POST"]),
            Route("/v1/hooks/{source}/{token}", self._hook, methods=["POST"]),
            Route("/v1/status", self._status, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/v1/{path:path}", self._elsewhere, methods=METHODS),
        ]
        self.app.router.routes.extend(routes)
        self.paths = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]

    def _scores_of(self, name: str) -> Callable[[Request], Any]:
        """The handler of one propensity."""

        async def scores(request: Request) -> Response:
            notes = self._admitted(request, f"/v1/{name}", "score")
            form = self.forms[self.office.desk(name).entity]
            asked = form.read(await _body(request))
            return await self._answered(notes, [name], asked)

        return scores

    async def _several_scores(self, request: Request) -> Response:
        """Several propensities of the same entities: what is known of them is read once."""
        notes = self._admitted(request, "/v1/scores", "score")
        body = await _body(request)
        names = _names(body)
        unknown = [name for name in names if name not in self.office.lineup.desks]
        entities = {self.office.desk(name).entity for name in names if not unknown}
        if len(entities) != 1:
            raise _one_kind(self.office.entities, names, unknown)
        asked = self.several[entities.pop()].read(body)
        return await self._answered(notes, list(dict.fromkeys(asked.propensities)), asked)

    async def _answered(self, notes: Notes, names: Sequence[str], asked: Asked) -> Response:
        asks = [one for one in asked.entities if isinstance(one, Ask)]
        notes.entities = len(asked.entities)
        notes.lap("validate")
        call = Call(notes.request_id, notes.caller, "http")
        if len(asks) * len(names) <= FEW and self.office.is_well:
            parts = self.office.answer(names, asks, now(), call, notes.lap)
        else:
            parts = await run_in_threadpool(self.office.answer, names, asks, now(), call, notes.lap)
        for name, part in zip(names, parts, strict=True):
            self.metrics.answered(name, [answer.score for answer in part], self.office.features(name))
            notes.versions.update((name, answer.score.model_version) for answer in part[:1])
        documents = [_documents(name, asked, part) for name, part in zip(names, parts, strict=True)]
        body = b'{"scores":[' + b",".join(one for several in zip(*documents, strict=True) for one in several) + b"]}"
        notes.lap("encode")
        return Response(body, media_type=JSON)

    async def _stored(self, request: Request) -> Response:
        """The last stored score of an entity for each propensity, exactly as it was served."""
        notes = self._admitted(request, "/v1/scores/{entity}/{id}", "score")
        entity, entity_id = request.path_params["entity"], request.path_params["entity_id"]
        if entity not in self.office.readers:
            raise _no_entity(entity, list(self.office.readers))
        notes.entities = 1
        stored = await run_in_threadpool(
            self.office.stored, entity, entity_id, now(), Call(notes.request_id, notes.caller, "read")
        )
        if not stored:
            flaw = Flaw(
                where=f"/v1/scores/{entity}/{entity_id}",
                expected=f"a {entity} that has been scored",
                received="one that has not",
                repair="ask for a score first: POST its id to /v1/PROPENSITY, or wait for the nightly batch",
            )
            return problem.problem(HTTPStatus.NOT_FOUND, "No score is stored", [flaw])
        return Response(b'{"scores":[' + b",".join(one.document for one in stored) + b"]}", media_type=JSON)

    async def _actions(self, request: Request) -> Response:
        """What a CRM did: answered once it is kept, so that what is not answered can be told again."""
        notes = self._admitted(request, "/v1/actions", "score")
        told = actions.read(await _body(request))
        notes.entities = len(told)
        notes.lap("validate")
        right = {f"body.actions[{i}]": one for i, one in enumerate(told) if isinstance(one, Told)}
        call = Call(notes.request_id, notes.caller, "http")
        try:
            found = await run_in_threadpool(self.office.log, list(right.values()), list(right), now(), call)
        except StoreError as failure:
            return problem.told(failure, "No action can be kept now")
        return JSONResponse(actions.answered(told, found))

    async def _hook(self, request: Request) -> Response:
        """What a CRM's webhook brings: kept, then accepted; scored and written back after the answer."""
        source = request.path_params["source"]
        notes = self._admitted(request, "/v1/hooks/{source}/{token}", "hook", request.path_params["token"])
        if source not in self.office.hooks:
            return _no_hook(source, sorted(self.office.hooks))
        body = await whole(request)
        unpacked = await run_in_threadpool(
            self.office.receive, source, notes.request_id, notes.caller, _call(request, body), now()
        )
        notes.entities = len(unpacked.received)
        if unpacked.answer_body is not None:
            return Response(unpacked.answer_body, media_type=unpacked.answer_media_type)
        told = {"id": notes.request_id, "accepted": len(unpacked.received), "flaws": [one.model_dump() for one in unpacked.flaws]}
        return JSONResponse(told, HTTPStatus.ACCEPTED)

    async def _status(self, request: Request) -> Response:
        self._admitted(request, "/v1/status", "admin")
        return JSONResponse(await run_in_threadpool(self.office.status, self.gate.failure))

    async def _metrics(self, request: Request) -> Response:
        self._admitted(request, "/metrics", "admin")
        await run_in_threadpool(self.office.measure, self.metrics)
        self.metrics.up.labels("keys").set(self.gate.failure is None)
        await run_in_threadpool(self.office.measure_queues, self.metrics)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _elsewhere(self, request: Request) -> Response:
        """What is said at a path that there is not, or to a method that the path does not answer."""
        path, names = request.path_params["path"], sorted(self.office.lineup.desks)
        partly = [route for route in self.app.router.routes if route.matches(request.scope)[0] is Match.PARTIAL]
        if partly:
            return _wrong_method([route for route in partly if isinstance(route, Route)], request.method)
        flaw = Flaw(
            where=problem.shown_path(f"/v1/{path}"),
            expected="one of " + ", ".join(f"/v1/{name}" for name in (*names, "scores", "actions")),
            received=problem.shown_path(f"/v1/{path}"),
            repair=near(path, names) or "a new propensity file brings its route when the service starts again",
        )
        return problem.problem(HTTPStatus.NOT_FOUND, "There is no such propensity", [flaw])

    def _admitted(self, request: Request, route: str, scope: Scope, secret: str | None = None) -> Notes:
        """Note where a request goes and who makes it.

        Raises:
            Refused: it may not be made.
        """
        notes: Notes = request.scope[NOTES]
        notes.route = route
        key: Key = self.gate.admit(secret or _secret(request), scope, time.monotonic(), now())
        notes.caller = key.id
        return notes


async def _body(request: Request) -> bytes:
    """The body, once it is certain that it is meant as JSON.

    Raises:
        BadRequest: it is not marked as JSON.
    """
    media_type = request.headers.get("content-type", "")
    if "json" not in media_type:
        raise problem.not_marked(media_type)
    return await whole(request)


def _secret(request: Request) -> str | None:
    """The key's secret: `Authorization: Bearer ...`, or `X-API-Key`."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")


def _documents(name: str, asked: Asked, answers: Sequence[Answer]) -> list[bytes]:
    """One document for each entity of the request: its answer, or what is wrong with what was said of it."""
    found = iter(answers)
    return [_wrong(name, one) if isinstance(one, Wrong) else next(found).document for one in asked.entities]


def _wrong(name: str, wrong: Wrong) -> bytes:
    told = problem.document(HTTPStatus.UNPROCESSABLE_ENTITY, "The record is wrong", wrong.flaws)
    return json.dumps({"entity_id": wrong.entity_id, "propensity": name, "problem": told.model_dump(mode="json")}).encode()


def _call(request: Request, body: bytes) -> hooks.Call:
    return hooks.Call(request.method, str(request.url), request.headers, body)


def _no_hook(source: str, known: Sequence[str]) -> Response:
    flaw = Flaw(
        where=f"/v1/hooks/{source}"[:200],
        expected=f"one of {', '.join(known)}" if known else "a source that [hooks] in foresell.toml describes; there is none",
        received=source[:100],
        repair=near(source, known) or "describe it in [hooks.SOURCE]; docs/reference.md has the keys",
    )
    return problem.problem(HTTPStatus.NOT_FOUND, "There is no such source", [flaw])


def _names(body: bytes) -> list[str]:
    """The propensities that a body names, before it is known what else it may say."""
    with suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, Mapping) and isinstance(found.get("propensities"), list):
            return [name for name in found["propensities"] if isinstance(name, str)]
    return []


def _wrong_method(routes: Sequence[Route], method: str) -> Response:
    """Told with the path's pattern, not the path: a webhook's holds a key."""
    allowed = sorted({one for route in routes for one in route.methods or ()})
    repair = "the page /docs shows every path with an example"
    flaw = Flaw(where=routes[0].path, expected=" or ".join(allowed), received=method, repair=repair)
    headers = {"Allow": ", ".join(allowed)}
    return problem.problem(HTTPStatus.METHOD_NOT_ALLOWED, "The method is wrong", [flaw], headers)


def _names_of(office: Office, entity: str) -> list[str]:
    return [name for name, its in office.entities.items() if its == entity]


def _one_kind(entities: Mapping[str, str], names: Sequence[str], unknown: Sequence[str]) -> CallError:
    of = {entity: [name for name, its in entities.items() if its == entity] for entity in dict.fromkeys(entities.values())}
    expected = ", or ".join(f"some of {', '.join(mine)}" for mine in of.values())
    repair = near(unknown[0], list(entities)) if unknown else ""
    return CallError(
        "body.propensities",
        expected=f"propensities of one kind of entity: {expected}",
        received=", ".join(names)[:200] or "none",
        repair=repair
        or 'send for example {"propensities": ["churn"], "ids": ["1001"]}; ask about leads and customers separately',
    )


def _no_entity(entity: str, known: Sequence[str]) -> ForesellError:
    expected = " or ".join(known)
    return CallError("path", expected=expected, received=entity[:100], repair="/v1/scores/lead/ID or /v1/scores/customer/ID")


def now() -> datetime:
    """The instant at which something is answered; everywhere behind the HTTP face it is an argument."""
    return datetime.now(UTC)
