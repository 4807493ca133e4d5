"""The description of the API, held to the service by two strangers: schemathesis, and a client that is generated from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.serving.contract.conftest import Counter
from tests.serving.running import until

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
CONFIG = """
[checks]
not_a_server_error.enabled = false
negative_data_rejection.enabled = false
[[operations]]
include-operation-id = "hook"
parameters = { source = "odoo", token = "SECRET" }
[[operations]]
include-operation-id = "actions"
checks.positive_data_acceptance.enabled = false  # what was done tomorrow is refused, which no schema can say
"""


def hold_to_schema(address: str, folder: Path, phases: str, secret: str = "none") -> None:
    """Have schemathesis ask and judge; what it finds is in the failure."""
    (folder / "schemathesis.toml").write_text(CONFIG.replace("SECRET", secret), encoding="utf-8")
    command = [
        str(BIN / "schemathesis"), "--config-file", str(folder / "schemathesis.toml"), "run", f"{address}/docs.json",
        "--url", address,
        "--phases", phases, "--max-examples", "30", "--seed", "1", "--no-shrink", "--continue-on-failure",
        "--header", f"Authorization: Bearer {secret}",
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "tests.serving.contract.checks", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **hooks}, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr


def test_without_keys_the_service_is_what_its_description_says(service: str, tmp_path: Path) -> None:
    assert httpx.get(f"{service}/docs.json").json()["security"] == []
    hold_to_schema(service, tmp_path, "examples,coverage")


def test_with_keys_the_service_is_what_its_description_says(counter: Counter, tmp_path: Path) -> None:
    hold_to_schema(counter.running.address, tmp_path, "examples,coverage,fuzzing", counter.secrets["all"])


def test_every_operation_and_every_property_is_described_and_shown(counter: Counter) -> None:
    document = httpx.get(f"{counter.running.address}/docs.json").json()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 9
    for operation in operations:
        assert operation["summary"] and operation["tags"]
        contents = [response["content"] for status, response in operation["responses"].items() if status.startswith("2")]
        assert all(content.get("example") for media_types in contents for content in media_types.values()), operation
        body = operation.get("requestBody", {"content": {}})["content"].values()
        assert all(example["value"] for content in body for example in content["examples"].values())
    for name, schema in document["components"]["schemas"].items():
        assert "Attributes:" not in schema.get("description", ""), name
        for field, of in schema.get("properties", {}).items():
            assert of.get("description"), f"{name}.{field}"
    shown: Any = document["paths"]["/v1/churn"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert shown["scores"][0]["score"] and shown["scores"][0]["reasons"]


README = """
from foresell_client import AuthenticatedClient, models
from foresell_client.api.scores import churn

client = AuthenticatedClient("http://127.0.0.1:3000", token="fs_...")
answer = churn.sync(client=client, body=models.CustomerRequest(ids=["C0001"]))
print([(score.entity_id, score.score, score.grade) for score in answer.scores])
"""
CLIENT = """
from foresell_client import AuthenticatedClient
from foresell_client.api.scores import {operation}
from foresell_client.models import {model}

client = AuthenticatedClient("{address}", token="{secret}")
answer = {operation}.sync(client=client, body={model}.from_dict({body!r}))
"""
SCORES = """
print([(one.entity_id, one.score, one.grade and one.grade.value) for one in answer.scores[:2]])
print(answer.to_dict())
"""


def generated(address: str, folder: Path) -> None:
    """Have `openapi-python-client` write a client; it must understand everything."""
    command = [str(BIN / "openapi-python-client"), "generate", "--url", f"{address}/docs.json", "--meta", "none"]
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(
        [*command, "--output-path", "foresell_client"], cwd=folder, env={**os.environ, **path}, capture_output=True, text=True
    )
    assert ended.returncode == 0 and "WARNING" not in ended.stdout + ended.stderr, ended.stdout + ended.stderr


def test_a_generated_client_asks_in_three_lines_and_reads_every_kind_of_answer(counter: Counter, tmp_path: Path) -> None:
    address, secret = counter.running.address, counter.secrets["score"]
    generated(address, tmp_path)

    def ask(operation: str, model: str, body: Any, shown: str = SCORES) -> list[str]:
        return _ran(CLIENT.format(operation=operation, model=model, address=address, secret=secret, body=body) + shown, tmp_path)

    assert _ran(README.replace("http://127.0.0.1:3000", address).replace("fs_...", secret), tmp_path)[0].startswith("[('C0001', ")
    with counter.client() as client:
        leads = client.post("/v1/lead-conversion", json={"ids": [f"L{i:04d}" for i in range(20)]}).json()["scores"]
        who = next(lead["entity_id"] for lead in leads if lead["score"])
        until(lambda: client.get(f"/v1/scores/lead/{who}").status_code == 200)
    newcomers = [{"attributes": {"lead_origin": "web"}}, {"attributes": {"lead_budget": "much"}}]
    body = {"ids": [who, "nobody"], "records": [*newcomers, {"id": who, "attributes": {"lead_budget": 1.0}}]}
    with counter.client() as client:
        want = client.post("/v1/lead-conversion", json=body).json()["scores"][0]
    told = ask("lead_conversion", "LeadRequest", body)
    assert told[0] == str([(who, want["score"], want["grade"]), ("nobody", None, None)])
    assert "'from': " in told[1] and "'problem': " in told[1]
    assert ask("scores", "LeadScores", {"propensities": ["lead-conversion"], "ids": ["L0002"]})[0].startswith("[('L0002', ")
    (refused,) = ask("lead_conversion", "LeadRequest", {"ids": []}, "print(answer)")
    assert refused.startswith("Problem(type_='urn:foresell:problem:the-request-is-wrong'")


def _ran(program: str, folder: Path) -> list[str]:
    """The lines that a Python program prints."""
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()
