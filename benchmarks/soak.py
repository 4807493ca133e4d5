"""A soak: many ordinary requests to one service, and whether its memory and its latency at the end are those of the beginning.

    .venv/bin/python -m benchmarks.soak                     100,000 requests to a shop that is made for the occasion
    .venv/bin/python -m benchmarks.soak --requests 5000

Of a hundred requests 80 ask about 1 to 5 ids, 10 about attributes, 7 read a stored score back, 3 are webhooks. Ends with 1 if an
answer is not what it should be.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from features.settings import SETTINGS_FILE, Workspace
from tests.serving.running import Running, running
from tests.serving.shop import CUSTOMERS, LEADS, open_shop

PARTS = 10
MEGABYTE = 1024 * 1024
HOOK = '[hooks.crm]\nentity = "lead"\n'
Seconds = list[float]


def soak(service: Running, client: httpx.Client, requests: int, seed: int = 1) -> dict[str, Any]:
    """Send so many requests, one after the other.

    Returns:
        `statuses`, and for each tenth `megabytes` at its end, and the milliseconds `p50` and `p99` of its requests for scores.
    """
    chance, statuses = random.Random(seed), Counter[str]()
    parts: list[dict[str, float]] = []
    for _ in range(PARTS):
        spent = _part(client, chance, requests // PARTS, statuses)
        p50, p99 = (round(float(np.quantile(spent, share)) * 1000, 2) for share in (0.5, 0.99))
        parts.append({"megabytes": round(service.resident() / MEGABYTE, 1), "p50": p50, "p99": p99})
        print(json.dumps(parts[-1]), flush=True)
    return {"statuses": dict(sorted(statuses.items())), "first tenth": parts[0], "last tenth": parts[-1]}


def _part(client: httpx.Client, chance: random.Random, requests: int, statuses: Counter[str]) -> Seconds:
    spent: Seconds = []
    for _ in range(requests):
        method, path, body = _request(chance)
        began = time.perf_counter()
        response = client.request(method, path, json=body)
        if "ids" in (body or {}):
            spent.append(time.perf_counter() - began)
        statuses[f"{method} {path.rpartition('/')[0] if method == 'GET' else path} {response.status_code}"] += 1
    return spent


def _request(chance: random.Random) -> tuple[str, str, dict[str, Any] | None]:
    dice = chance.randrange(100)
    if dice < 40:
        return "POST", "/v1/churn", {"ids": _ids(chance, "C", CUSTOMERS)}
    if dice < 80:
        return "POST", "/v1/lead-conversion", {"ids": _ids(chance, "L", LEADS)}
    attributes = {"origin": chance.choice(("web", "fair", None, "elsewhere")), "budget": chance.choice((None, 1.5, 40_000.0))}
    if dice < 90:
        return "POST", "/v1/lead-conversion", {"records": [{"attributes": attributes}]}
    if dice < 97:
        return "GET", f"/v1/scores/lead/{_ids(chance, 'L', LEADS)[0]}", None
    return "POST", "/v1/hooks/crm/any", {"id": _ids(chance, "L", LEADS)[0], **attributes}


def _ids(chance: random.Random, letter: str, number: int) -> list[str]:
    return [f"{letter}{chance.randrange(number):04d}" for _ in range(chance.randint(1, 5))]


def _unexpected(statuses: Sequence[str]) -> list[str]:
    good = {"POST": ("200", "202"), "GET": ("200", "404")}  # 404: not yet scored
    return [status for status in statuses if status[-3:] not in good[status.split()[0]]]


def main() -> int:
    """Make a shop, serve it, soak it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = open_shop(Path(folder)).root
        with (root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
            settings.write(HOOK)
        workspace = Workspace.open(root)
        with running(workspace, root / "log") as service, service.client() as client:
            told = soak(service, client, options.requests)
    print(json.dumps(told, indent=2))
    return 1 if _unexpected(list(told["statuses"])) else 0


if __name__ == "__main__":
    raise SystemExit(main())
