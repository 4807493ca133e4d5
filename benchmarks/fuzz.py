"""Malformed bodies against a running service: what it answers, what it costs in memory, and whether it still answers well.

    .venv/bin/python -m benchmarks.fuzz                     10,000 bodies for a shop that is made for the occasion
    .venv/bin/python -m benchmarks.fuzz --bodies 1500

Every answer must be scores or a problem document (RFC 9457), never a 5xx; ends with 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.malformed import Sent, malformed
from tests.serving.running import Running, running
from tests.serving.shop import open_shop

PROBLEM = "application/problem+json"
VALID: Mapping[str, list[dict[str, Any]]] = {
    "/v1/churn": [{"ids": ["C0001", "nobody"]}, {"ids": ["C0002"] * 30}],
    "/v1/lead-conversion": [
        {"ids": ["L0001"], "records": [{"attributes": {"lead_origin": "web", "lead_budget": 10_000.0}}]},
        {"records": [{"id": f"new-{i}", "attributes": {"origin": "fair", "budget": None}} for i in range(20)]},
        {"records": [{"id": "L0007", "attributes": {}}]},
    ],
    "/v1/scores": [
        {"propensities": ["churn"], "ids": ["C0001", "C0003"]},
        {"propensities": ["lead-conversion"], "ids": ["L0001"], "records": [{"attributes": {"budget": 1.5}}]},
    ],
}  # fmt: skip
SLICE = 1024
MEGABYTE = 1024 * 1024


@dataclass
class Result:
    """What came of some bodies: answers by status, memory before and after in bytes, and each answer that is neither scores nor
    a problem document, with the mutation that brought it about.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    before: int = 0
    after: int = 0


def fuzz(service: Running, client: httpx.Client, bodies: int, seed: int = 1) -> Result:
    """Send so many malformed bodies to a service. What it holds after a tenth of them, when its caches are full, is `before`."""
    result = Result()
    for number, (path, sent) in enumerate(_requests(bodies, seed)):
        if number == bodies // 10:
            result.before = service.resident()
        response = _answer(client, path, sent)
        result.statuses[response.status_code] += 1
        fault = _fault(response)
        if fault:
            result.faults.append(f"{path}, {sent.what}, {sent.body[:200]!r}: {fault}")
    result.after = service.resident()
    return result


def _requests(bodies: int, seed: int) -> Iterator[tuple[str, Sent]]:
    streams = [(path, malformed(valid, bodies, seed + i)) for i, (path, valid) in enumerate(VALID.items())]
    for number in range(bodies):
        path, stream = streams[number % len(streams)]
        yield path, next(stream)


def _answer(client: httpx.Client, path: str, sent: Sent) -> httpx.Response:
    content: bytes | Iterable[bytes] = _sliced(sent.body) if sent.chunked else sent.body
    headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.headers.items() if value]
    return client.post(path, content=content, headers=headers)


def _sliced(body: bytes) -> Iterator[bytes]:
    return (body[start : start + SLICE * 64] for start in range(0, len(body), SLICE * 64))


def _fault(response: httpx.Response) -> str | None:
    """What is wrong with an answer."""
    if response.status_code == httpx.codes.OK:
        return None if all(_is_whole(one) for one in response.json()["scores"]) else response.text[:300]
    is_problem = response.headers.get("content-type") == PROBLEM and _is_problem(response.json(), response.status_code)
    return None if 400 <= response.status_code < 500 and is_problem else f"{response.status_code} {response.text[:300]}"


def _is_whole(one: Mapping[str, Any]) -> bool:
    return _is_problem(one["problem"], 422) if "problem" in one else "model_version" in one


def _is_problem(document: Mapping[str, Any], status: int) -> bool:
    flaws: Sequence[Mapping[str, Any]] = document["flaws"]
    return document["status"] == status and bool(flaws) and all(all(flaw.values()) for flaw in flaws)


def main() -> int:
    """Make a shop, serve it, fuzz it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = open_shop(Path(folder))
        with running(shop, Path(folder) / "log") as service, service.client() as client:
            result = fuzz(service, client, options.bodies, options.seed)
            answers = client.post("/v1/churn", json={"ids": ["C0001"]}).status_code
    told = {
        "bodies": options.bodies, "statuses": dict(sorted(result.statuses.items())), "faults": len(result.faults),
        "megabytes after a tenth": round(result.before / MEGABYTE, 1), "megabytes at the end": round(result.after / MEGABYTE, 1),
        "a good request afterwards": answers,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    print("\n".join(result.faults[:20]))
    return 1 if result.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
