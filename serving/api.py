"""The HTTP face: one typed route for each propensity, and the page that shows them. BentoML mounts it (serving.service)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, TypeAdapter

from features.errors import ForesellError
from serving.desk import Desk
from serving.problem import MEDIA_TYPE, Flaw, Problem, near, problem, tell_problems
from serving.request import asks, example, request_model
from serving.scorer import Score
from serving.size import LimitedSize

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class Answer(BaseModel):
    """One score, or a sentence why there is none, for every entity asked about, in the order of the request."""

    scores: list[Score]


_ANSWER = TypeAdapter(Answer)


def application() -> FastAPI:
    """The application before its propensities are opened."""
    summary = "Who will buy, who will leave, who will grow: scores with reasons."
    app = FastAPI(title="Foresell", version="1", summary=summary, docs_url=None, redoc_url=None, openapi_url=None)
    tell_problems(app, app)
    app.add_middleware(LimitedSize)
    app.add_api_route("/", lambda: RedirectResponse("docs"), include_in_schema=False)
    app.add_api_route("/docs", _page, include_in_schema=False)
    app.add_api_route("/docs.json", lambda: JSONResponse(_described(app)), include_in_schema=False)
    return app


def open_routes(app: FastAPI, desks: Mapping[str, Desk | ForesellError]) -> None:
    """Add a route for each propensity, and a clear answer for every other path below `/v1`."""
    told: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 413, 415, 422, 503)}
    for name, desk in desks.items():
        app.add_api_route(
            f"/v1/{name}",
            _closed(desk) if isinstance(desk, ForesellError) else _open(desk),
            methods=["POST"],
            name=name,
            summary="Has no champion yet" if isinstance(desk, ForesellError) else desk.scorer.propensity.question,
            response_model=Answer,
            responses={503: told[503]} if isinstance(desk, ForesellError) else told,
        )

    def elsewhere(request: Request, path: str) -> Response:
        return _elsewhere(request.method, path, sorted(desks))

    app.add_api_route("/v1/{path:path}", elsewhere, methods=METHODS, include_in_schema=False)


def _open(desk: Desk) -> Callable[..., Response]:
    """The handler of a propensity that has a champion; synchronous, so that a large request does not hold up a small one."""

    def score(request: Any) -> Response:
        scores = desk.answer(asks(request), datetime.now(UTC))
        return Response(_ANSWER.dump_json(Answer.model_construct(scores=scores)), media_type="application/json")

    score.__annotations__["request"] = Annotated[request_model(desk), Body(examples=[example(desk)])]
    return score


def _closed(error: ForesellError) -> Callable[..., Response]:
    """The handler of a propensity that nobody can answer for: the reason, whatever was asked."""
    return lambda: problem(HTTPStatus.SERVICE_UNAVAILABLE, "This propensity cannot be answered yet", [Flaw.of(error)])


def _elsewhere(method: str, path: str, names: Sequence[str]) -> Response:
    """What is said at a path that is no propensity, or to a method that is not POST."""
    if path in names:
        flaw = Flaw(where=f"/v1/{path}", expected="POST", received=method, repair="send the ids as a JSON body with POST")
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, "The method is wrong", [flaw], {"Allow": "POST"})
    flaw = Flaw(
        where=f"/v1/{path}",
        expected="one of " + ", ".join(f"/v1/{name}" for name in names),
        received=f"/v1/{path}",
        repair=near(path, names) or "a new propensity file brings its route when the service starts again",
    )
    return problem(HTTPStatus.NOT_FOUND, "There is no such propensity", [flaw])


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; FastAPI does not know that problems have a media type of their own."""
    document = copy.deepcopy(app.openapi())
    for path in document["paths"].values():
        for status, response in path["post"]["responses"].items():
            if int(status) >= HTTPStatus.BAD_REQUEST:
                response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return document


def _page() -> HTMLResponse:
    """The API page; BentoML serves the scripts from its own files, so that it works on a closed machine."""
    return get_swagger_ui_html(
        openapi_url="docs.json",
        title="Foresell: the API",
        swagger_js_url="static_content/swagger-ui-bundle.js",
        swagger_css_url="static_content/swagger-ui.css",
        swagger_favicon_url="static_content/favicon-light-32x32.png",
    )
