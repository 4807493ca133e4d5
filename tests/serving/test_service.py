"""The service, started as a user starts it and asked over HTTP."""

from __future__ import annotations

import json
import re
import time
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort
from features.settings import Workspace
from features.views import feature_map, views
from serving.answer import written
from serving.http.size import MOST_BYTES
from serving.scorer import Scorer, records
from tests.serving.shop import LEADS, NOW
from training.registry import champion


@pytest.fixture(scope="module")
def client(service: str) -> Any:
    with httpx.Client(base_url=service, timeout=60) as opened:
        yield opened


def ask(client: httpx.Client, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = client.post(f"/v1/{name}", json=body)
    assert response.status_code == 200, response.text
    scores: list[dict[str, Any]] = response.json()["scores"]
    return scores


def expected(shop: Workspace, name: str) -> list[dict[str, Any]]:
    """The scores of a cohort made from Feast's historical join, as JSON."""
    registered = champion(shop, name)
    entity = registered.model.propensity.entity
    scorer = Scorer(registered.model, registered.version, feature_map(views(shop, Catalog.load(shop)), entity))
    frame = store.historical(shop, entity, cohort(shop, registered.model.propensity, [NOW]), scorer.columns)
    return [json.loads(written(score)) for score in scorer.score(records(frame), NOW)]


def timeless(score: dict[str, Any]) -> dict[str, Any]:
    """A score without what depends on when it was asked for."""
    return {key: value for key, value in score.items() if key not in ("scored_at", "stale", "trend", "change")}


@pytest.mark.parametrize("name", ["churn", "lead-conversion"])
def test_online_scores_equal_historical_ones_to_the_bit(client: httpx.Client, shop: Workspace, name: str) -> None:
    want = expected(shop, name)
    assert len(want) > 50
    for size in (len(want), 7, 1):
        asked = want[: 3 * size]
        got = [
            score
            for start in range(0, len(asked), size)
            for score in ask(client, name, {"ids": [one["entity_id"] for one in asked[start : start + size]]})
        ]
        assert all(score["scored_at"] > "2018-05-15" and score["stale"] for score in got)
        assert [timeless(score) for score in got] == [timeless(one) for one in asked]


def test_unknown_and_ineligible_entities_get_an_answer_that_says_so(client: httpx.Client, shop: Workspace) -> None:
    rows = snapshot.read(shop, "customer", [NOW], ["subscriptions_active_count"])
    gone = rows.loc[rows["subscriptions_active_count"] == 0, "entity_id"].iloc[0]
    there = rows.loc[rows["subscriptions_active_count"] == 1, "entity_id"].iloc[0]
    answers = ask(client, "churn", {"ids": ["nobody", gone, there, gone]})
    assert [answer["entity_id"] for answer in answers] == ["nobody", gone, there, gone]
    unknown, ineligible = answers[0], answers[1]
    assert unknown["why"] == "no customer of this id is in the online store" and unknown["feature_as_of"] is None
    assert "subscriptions_active_count >= 1" in ineligible["why"] and ineligible["feature_as_of"] == "2018-05-15T00:00:00Z"
    for answer in (unknown, ineligible):
        assert not answer["eligible"] and answer["score"] is None and answer["reasons"] == []


def test_a_lead_the_store_has_never_seen_is_scored_from_its_form(client: httpx.Client) -> None:
    body = {
        "records": [{"attributes": {"origin": "web", "budget": 25_000}}, {"id": "new-7", "attributes": {"lead_origin": "tv"}}]
    }
    nameless, named = ask(client, "lead-conversion", body)
    assert nameless["entity_id"] is None and named["entity_id"] == "new-7"
    assert nameless["eligible"] and 1 <= nameless["score"] <= 100
    assert "lead_budget" not in nameless["missing"] and "lead_budget" in named["missing"]
    assert "interactions_count_30d" not in named["missing"] and "interactions_days_since_last" in named["missing"]
    assert named["unseen"] == ["lead_origin"] and nameless["unseen"] == []
    assert nameless["feature_as_of"] == nameless["scored_at"]


def test_request_attributes_go_over_stored_ones(client: httpx.Client, shop: Workspace) -> None:
    rows = snapshot.read(shop, "lead", [NOW], ["lead_origin", "lead_budget", "lead_is_open", "lead_age_days"])
    stored = rows[(rows["lead_origin"] == "web") & (rows["lead_is_open"] == 1) & (rows["lead_age_days"] < 90)].iloc[0]
    plain, same, other = ask(
        client,
        "lead-conversion",
        {
            "ids": [stored["entity_id"]],
            "records": [
                {"id": stored["entity_id"], "attributes": {"origin": "web"}},
                {"id": stored["entity_id"], "attributes": {"origin": None, "budget": None}},
            ],
        },
    )
    assert same["probability"] == plain["probability"] and same["reasons"] == plain["reasons"]
    assert set(other["missing"]) >= {"lead_origin", "lead_budget"} and other["feature_as_of"] == "2018-05-15T00:00:00Z"


BAD = {
    "not JSON": (b"{ids: [1]}", 400, "body"),
    "cut off": (b'{"ids": ["a"', 400, "body"),
    "not text": (b"\xff\xfe\x00", 400, None),
    "empty": (b"", 400, "body"),
    "a list": (b"[]", 422, "body"),
    "nobody": (b"{}", 422, "body"),
    "empty ids": (b'{"ids": []}', 422, "body"),
    "too many ids": (json.dumps({"ids": ["a"] * 1001}).encode(), 422, "body.ids"),
    "a number as id": (b'{"ids": [7]}', 422, "body.ids[0]"),
    "an empty id": (b'{"ids": [""]}', 422, "body.ids[0]"),
    "a very long id": (json.dumps({"ids": ["a" * 100_000]}).encode(), 422, "body.ids[0]"),
    "half a character": (b'{"ids": ["\\ud800"]}', 400, "body"),
    "NUL": (b'{"ids": ["\\u0000"]}', 422, "body.ids[0]"),
    "text as ids": (b'{"ids": "a"}', 422, "body.ids"),
    "null": (b'{"ids": null}', 422, "body.ids"),
    "an unknown field": (b'{"id": ["a"]}', 422, "body"),
    "deep": (b"[" * 100_000, 400, None),
}
BAD_LEADS = {
    "too many together": (json.dumps({"ids": ["a"], "records": [{"attributes": {}}] * 1000}).encode(), 422, "body"),
    "unknown attribute": (b'{"records": [{"attributes": {"orgin": "web"}}]}', 422, "body.records[0].attributes"),
    "text for a number": (b'{"records": [{"attributes": {"budget": "much"}}]}', 422, "body.records[0].attributes.budget"),
    "a number for text": (b'{"records": [{"attributes": {"origin": 7}}]}', 422, "body.records[0].attributes.origin"),
    "NaN": (b'{"records": [{"attributes": {"budget": NaN}}]}', 422, "body.records[0].attributes.budget"),
    "infinity": (b'{"records": [{"attributes": {"budget": 1e999}}]}', 422, "body.records[0].attributes.budget"),
    "a huge number": (b'{"records": [{"attributes": {"budget": ' + b"9" * 400 + b"}}]}", 422, None),
    "no attributes": (b'{"records": [{"id": "a"}]}', 422, "body.records[0].attributes"),
}


@pytest.mark.parametrize(("body", "status", "where"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_told_what_is_wrong(client: httpx.Client, body: bytes, status: int, where: str | None) -> None:
    require_problem(client.post("/v1/churn", content=body, headers={"Content-Type": "application/json"}), status, where)


@pytest.mark.parametrize(("body", "status", "where"), BAD_LEADS.values(), ids=BAD_LEADS.keys())
def test_a_bad_request_about_leads_is_told_what_is_wrong(
    client: httpx.Client, body: bytes, status: int, where: str | None
) -> None:
    require_problem(client.post("/v1/lead-conversion", content=body, headers={"Content-Type": "application/json"}), status, where)


def require_problem(response: httpx.Response, status: int, where: str | None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status and problem["flaws"] and len(response.content) < 8_000
    for flaw in problem["flaws"]:
        assert flaw["where"] and flaw["expected"] and flaw["received"] and flaw["repair"]
    if where is not None:
        assert problem["flaws"][0]["where"].startswith(where), problem
    return problem


def test_a_misspelt_attribute_is_told_the_near_miss(client: httpx.Client) -> None:
    body = {"records": [{"attributes": {"lead_orign": "web"}}]}
    problem = require_problem(client.post("/v1/lead-conversion", json=body), 422, "body.records[0].attributes")
    assert "lead_origin" in problem["flaws"][0]["expected"] and problem["flaws"][0]["repair"] == "did you mean `lead_origin`?"


def test_a_body_that_is_not_marked_as_json_is_refused(client: httpx.Client) -> None:
    response = client.post("/v1/churn", content=b'{"ids": ["a"]}', headers={"Content-Type": "text/plain"})
    require_problem(response, 415, "header Content-Type")


def test_a_propensity_without_a_champion_says_to_train_and_promote(client: httpx.Client) -> None:
    problem = require_problem(client.post("/v1/upsell", json={"ids": ["a"]}), 503, "propensity 'upsell'")
    assert "foresell train upsell" in problem["detail"] and "foresell promote upsell" in problem["detail"]


def test_an_unknown_propensity_is_told_the_near_miss(client: httpx.Client) -> None:
    problem = require_problem(client.post("/v1/chrun", json={"ids": ["a"]}), 404, "/v1/chrun")
    assert problem["flaws"][0]["repair"] == "did you mean `churn`?"


def test_another_method_is_told_to_post(client: httpx.Client) -> None:
    response = client.get("/v1/churn")
    require_problem(response, 405, "/v1/churn")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/docs.json", "/nope", "/v1/nope", "/v1/churn", "/metrics"])
def test_every_answer_has_an_id(client: httpx.Client, path: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", client.get(path).headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("POST", "/v2/churn", 404), ("POST", "/docs", 405)]
)
def test_a_path_or_method_that_is_none_is_told_those_there_are(client: httpx.Client, method: str, path: str, status: int) -> None:
    problem = require_problem(client.request(method, path, json={"ids": ["a"]}), status, path)
    assert problem["title"] == HTTPStatus(status).phrase and "JSON" not in problem["detail"]
    assert "POST /v1/churn" in problem["flaws"][0]["expected"] and "GET /docs" in problem["flaws"][0]["expected"]


@pytest.mark.parametrize("streamed", [False, True], ids=["announced", "streamed"])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, streamed: bool) -> None:
    body = b'{"ids": ["' + b"a" * MOST_BYTES + b'"]}'
    chunks = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/churn", content=chunks if streamed else body, headers=headers)
    problem = require_problem(response, 413, "body")
    assert f"{MOST_BYTES:,} bytes" in problem["detail"]
    largest = b'{"ids": ["nobody"]}'.ljust(MOST_BYTES)
    assert client.post("/v1/churn", content=largest, headers=headers).status_code == 200


def test_a_thousand_entities_are_answered_in_order(client: httpx.Client) -> None:
    ids = [f"L{i % LEADS:04d}" for i in range(1000)]
    assert [answer["entity_id"] for answer in ask(client, "lead-conversion", {"ids": ids})] == ids


def test_the_page_that_shows_the_api_needs_nothing_from_outside(client: httpx.Client) -> None:
    page = client.get("/", follow_redirects=True)
    assert page.url.path == "/docs" and page.status_code == 200
    assert not re.findall(r"https?://", page.text)
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(f"/{path}").status_code == 200, path


def test_the_api_is_described_with_types_and_examples(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    assert set(document["paths"]) == {
        "/v1/churn", "/v1/lead-conversion", "/v1/upsell", "/v1/scores", "/v1/scores/{entity}/{id}", "/v1/actions",
        "/v1/hooks/{source}/{token}", "/v1/status", "/metrics",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    assert set(schemas["LeadAttributes"]["properties"]) == {"lead_origin", "lead_budget"}
    assert set(schemas["Score"]["properties"]) >= {"entity_id", "score", "reasons", "missing", "unseen", "model_version"}
    for methods in document["paths"].values():
        for operation in methods.values():
            problem = operation["responses"]["503"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"} and "Flaw" in schemas
    for path in ("/v1/churn", "/v1/lead-conversion", "/v1/scores"):
        for example in document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
            known = {**example["value"]}
            if "upsell" in known.get("propensities", ()):
                known["propensities"] = ["churn"]  # the shop's upsell has no champion
            assert client.post(path, json=known).status_code == 200


def test_probes_and_metrics_answer(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    ask(client, "churn", {"ids": ["C0001"]})
    lines = client.get("/metrics").text.splitlines()
    assert any(line.startswith('foresell_requests_total{route="/v1/churn",status="200"}') for line in lines)
    assert any(line.startswith("foresell_stage_seconds_bucket") for line in lines)
    assert 'foresell_model{propensity="churn",role="champion",version="1"} 1.0' in lines
    assert 'foresell_dependency_up{dependency="online_store"} 1.0' in lines


def test_one_bad_record_of_many_does_not_lose_the_others(client: httpx.Client) -> None:
    ids: list[Any] = [f"C{number:04d}" for number in range(400)] * 2 + ["nobody"] * 199
    whole = ask(client, "churn", {"ids": ids})
    answers = ask(client, "churn", {"ids": [*ids[:500], {"id": 7}, *ids[500:]]})
    assert answers[500]["problem"]["status"] == 422 and answers[500]["problem"]["flaws"][0]["where"] == "body.ids[500]"
    assert [timeless(answer) for answer in (*answers[:500], *answers[501:])] == [timeless(one) for one in whole]


def test_several_bad_records_are_each_told_what_is_wrong(client: httpx.Client) -> None:
    records = [
        {"id": "a", "attributes": {"budget": "much"}},
        {"attributes": {"origin": "web"}},
        {"id": "c", "attributes": {"lead_orgin": "x"}},
    ]
    first, second, third = ask(client, "lead-conversion", {"records": records})
    assert first["entity_id"] == "a" and first["problem"]["flaws"][0]["where"] == "body.records[0].attributes.budget"
    assert second["score"] is not None
    assert third["problem"]["flaws"][0]["repair"] == "did you mean `lead_origin`?"


def test_several_propensities_are_answered_at_once(client: httpx.Client) -> None:
    body = {"propensities": ["churn", "upsell"], "ids": ["C0001"]}
    require_problem(client.post("/v1/scores", json=body), 503, "propensity 'upsell'")
    twice = ask(client, "scores", {"propensities": ["churn"], "ids": ["C0001", "C0002"]})
    alone = ask(client, "churn", {"ids": ["C0001", "C0002"]})
    assert [timeless(answer) for answer in twice] == [timeless(answer) for answer in alone]


@pytest.mark.parametrize("names", [[], ["churn", "lead-conversion"], ["chrun"], [7], "churn"])
def test_propensities_of_one_kind_of_entity_are_asked_for(client: httpx.Client, names: Any) -> None:
    response = client.post("/v1/scores", json={"propensities": names, "ids": ["C0001"]})
    assert require_problem(response, 422, "body.propensities")["flaws"][0]["expected"].startswith("propensities of one kind")


def test_half_a_character_is_told_back_in_words(client: httpx.Client) -> None:
    body = b'{"propensities": ["\\ud800"], "ids": ["C0001"]}'
    response = client.post("/v1/scores", content=body, headers={"Content-Type": "application/json"})
    assert require_problem(response, 422, "body.propensities")["flaws"][0]["received"] == "\\ud800"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PUT", "/v1/scores", "POST"), ("DELETE", "/v1/scores/lead/1", "GET, HEAD"), ("OPTIONS", "/v1/status", "GET, HEAD"),
     ("GET", "/v1/hooks/odoo/a-secret", "POST")],
)  # fmt: skip
def test_a_method_that_a_path_does_not_answer_is_told_which_it_does(
    client: httpx.Client, method: str, path: str, allow: str
) -> None:
    response = client.request(method, path)
    problem = require_problem(response, 405, None)
    assert response.headers["allow"] == allow and "a-secret" not in response.text
    assert problem["type"].startswith("urn:foresell:problem:")


def test_the_last_score_is_read_back_as_it_was_served(client: httpx.Client) -> None:
    (served,) = ask(client, "churn", {"ids": ["C0003"]})
    for _ in range(50):
        response = client.get("/v1/scores/customer/C0003")
        if response.status_code == 200 and response.json()["scores"] == [served]:
            break
        time.sleep(0.1)
    assert response.json()["scores"] == [served]
    require_problem(client.get("/v1/scores/customer/nobody"), 404, "/v1/scores/customer/nobody")
    require_problem(client.get("/v1/scores/vehicle/1"), 422, "path")


def test_many_callers_at_once_get_what_one_gets(client: httpx.Client, shop: Workspace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    ids = cohort(shop, champion(shop, "churn").model.propensity, [NOW])["entity_id"].tolist()[:40]
    alone = {one["entity_id"]: one["probability"] for one in ask(client, "churn", {"ids": ids})}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda entity_id: ask(client, "churn", {"ids": [entity_id]})[0], ids * 3))
    assert all(one["probability"] == alone[one["entity_id"]] for one in together)
