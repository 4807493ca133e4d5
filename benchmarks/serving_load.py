"""The load: one generator for every contender, wrk where it is installed, else a small client of our own."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

SCRIPT = """
local requests, turn = {}, 0
function init(args)
  for body in io.lines(args[1]) do requests[#requests + 1] = wrk.format("POST", nil, nil, body) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "wrong": %d}\\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""
LATE = 10.0  # seconds after which an answer is no answer


@dataclass(frozen=True)
class Load:
    """One measurement: requests a second, median and 99th percentile in milliseconds, and answers that were no 2xx or none."""

    requests: int
    per_second: float
    p50: float
    p99: float
    wrong: int


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def load(address: str, headers: Mapping[str, str], bodies: Sequence[str], connections: int, seconds: float) -> Load:
    """Post bodies in turn over connections that are kept open, each with one request at a time."""
    if has_wrk():
        return _wrk(address, headers, bodies, connections, seconds)
    return asyncio.run(_own(address, headers, bodies, connections, seconds))


def _wrk(address: str, headers: Mapping[str, str], bodies: Sequence[str], connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        script, lines = Path(folder) / "post.lua", Path(folder) / "bodies"
        script.write_text(SCRIPT)
        lines.write_text("\n".join(bodies))
        options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", f"{LATE:.0f}s", *options]
        run = subprocess.run([*command, "-s", str(script), address, "--", str(lines)], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.strip().splitlines()[-1])
    return Load(found["requests"], found["requests"] / found["seconds"], found["p50"], found["p99"], found["wrong"])


async def _own(address: str, headers: Mapping[str, str], bodies: Sequence[str], connections: int, seconds: float) -> Load:
    taken: list[float] = []
    wrong: list[str] = []
    turns = cycle(_packed(address, headers, body) for body in random.Random(1).sample(bodies, len(bodies)))
    parts, ends = urlsplit(address), time.monotonic() + seconds

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while time.monotonic() < ends:
            began = time.perf_counter()
            writer.write(next(turns))
            status = await asyncio.wait_for(_answered(reader), LATE)
            taken.append(1000 * (time.perf_counter() - began))
            wrong.extend([] if status.startswith("2") else [status])
        writer.close()

    began = time.monotonic()
    done = await asyncio.gather(*(caller() for _ in range(connections)), return_exceptions=True)
    wrong.extend(str(one) for one in done if isinstance(one, BaseException))
    p50, p99 = np.percentile(taken or [np.nan], [50, 99]).tolist()
    return Load(len(taken), len(taken) / (time.monotonic() - began), p50, p99, len(wrong))


def _packed(address: str, headers: Mapping[str, str], body: str) -> bytes:
    parts, data = urlsplit(address), body.encode()
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + data


async def _answered(reader: asyncio.StreamReader) -> str:
    """Read one answer to its end; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
    await reader.readexactly(int(fields["content-length"]))
    return head.split(" ", 2)[1]
