"""Endurance: one service under load for minutes while versions change, its registry goes away, and its store is killed.

Two workers answer customers with 60 features from a Redis of its own. Every answer is compared with what both versions' models
say, computed here beforehand. A third of the way the tracking server is killed for a sixth of the time; at two thirds Redis is,
for a twelfth, and starts again from its own file. Versions change every few seconds, but while the registry is away.

    .venv/bin/python -m benchmarks.endurance --minutes 10
    .venv/bin/python -m benchmarks.endurance --minutes 1 --json FILE
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import psutil

from benchmarks.endurance_callers import Callers
from benchmarks.endurance_outages import REGISTRY_AWAY, Outages
from benchmarks.endurance_tally import KINDS, Said, Tally
from benchmarks.fitted import PASSED
from benchmarks.servers import redis, tracking
from benchmarks.serving_contenders import ours, running
from benchmarks.serving_world import NAME, World, fit, make_world
from features.settings import SETTINGS_FILE, Workspace
from training import registry
from training.registry import Signature

ENTITIES, TREES, WORKERS = 5_000, 200, 2
LOOK_EVERY = 5.0  # seconds between two looks at the workers' memory
Memory = list[tuple[float, str, list[float]]]  # seconds, the phase, each worker's own megabytes


def measure(minutes: float, connections: int, every: float) -> dict[str, Any]:
    """One run.

    Args:
        minutes: of load.
        connections: callers at once.
        every: seconds between two changes of version.

    Returns:
        `phases`: by phase the number of answers of each kind, and the latency in milliseconds; `promotions`; `memory`: the
        workers' own megabytes at the start, after each tenth and at the end; `exit`: the service's exit code; `samples` of
        what was wrong.

    Raises:
        RuntimeError: the service does not start.
    """
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as name, redis(Path(name), keeps=True) as store:
        folder = Path(name)
        world = make_world(folder / "workspace", store.address, ENTITIES, TREES, now)
        said = _second_version(world)
        with tracking(folder, registry.store_uri(world.workspace)) as server:
            outages, tally, memory, moves = Outages(store, server), Tally(), Memory(), list[int]()
            world = _tracked(world, server.address)
            with running([ours(world, WORKERS)], folder) as (service,):
                if service.process is None or service.trouble:
                    raise RuntimeError(f"{service.trouble}: {service.log.read_text()}")
                callers = Callers(service, world.ids, said, outages, tally)
                threads = [Thread(target=callers.call, args=(seed,)) for seed in range(connections)]
                threads.append(Thread(target=_change_versions, args=(world.workspace, outages, every, moves)))
                threads.append(Thread(target=_watch, args=(psutil.Process(service.process.pid), outages, memory)))
                for thread in threads:
                    thread.start()
                outages.play(60 * minutes)
                for thread in threads:
                    thread.join()
        mistakes = service.log.read_text().count("Traceback")
    told = {"phases": tally.told(), "memory": _tenths(memory), "samples": tally.samples}
    return {**told, "promotions": len(moves), "exit": service.process.returncode, "tracebacks": mistakes}


def _second_version(world: World) -> Said:
    """Register another version; what each of the two says of everybody."""
    contract = world.model.contract
    other = fit(dict(contract.propensity), list(contract.features), world.rows, TREES // 2)
    registry.register(world.workspace, other, PASSED)
    models = {"1": world.model, "2": other}
    return {name: dict(zip(world.ids, model.probability(world.rows).tolist(), strict=True)) for name, model in models.items()}


def _tracked(world: World, address: str) -> World:
    """The world with a tracking server."""
    root = world.workspace.root
    with (root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write(f'[mlflow]\ntracking_uri = "{address}"\n')
    return replace(world, workspace=Workspace.open(root))


def _change_versions(workspace: Workspace, outages: Outages, seconds: float, moves: list[int]) -> None:
    """Promote one and the other in turn, and note each time."""
    while not outages.ended.wait(seconds):
        if outages.phase != REGISTRY_AWAY:
            with suppress(Exception):  # the registry may go away meanwhile
                version = 1 if len(moves) % 2 else 2
                registry.promote(workspace, NAME, Signature("endurance", datetime.now(UTC)), str(version))
                moves.append(version)


def _watch(parent: psutil.Process, outages: Outages, memory: Memory) -> None:
    """Note the workers' memory now and every few seconds."""
    began = time.monotonic()
    while True:
        with suppress(psutil.Error):  # one has just ended
            workers = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]
            megabytes = [one.memory_full_info().uss / 2**20 for one in workers]
            memory.append((time.monotonic() - began, outages.phase, megabytes))
        if outages.ended.wait(LOOK_EVERY):
            return


def _tenths(memory: Memory) -> list[Sequence[Any]]:
    step = max(1, len(memory) // 10)
    return [[round(at), phase, *(round(one, 1) for one in each)] for at, phase, each in [*memory[::step], *memory[-1:]]]


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| phase | " + " | ".join(KINDS) + " | p50 ms | p99 ms | longest ms |", "| --- |" + " ---: |" * (len(KINDS) + 3)]
    for phase, found in result["phases"].items():
        numbers = " | ".join(f"{found.get(kind, 0):,}" for kind in KINDS)
        lines.append(f"| {phase} | {numbers} | {found['p50_ms']} | {found['p99_ms']} | {found['max_ms']} |")
    memory = "; ".join(f"{at} s: {' and '.join(f'{one:.0f}' for one in each)}" for at, _, *each in result["memory"])
    return "\n".join([*lines, "", f"{result['promotions']} changes of version. Workers' own memory in MB: {memory}."])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two changes of version")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    asked = parser.parse_args()
    result = measure(asked.minutes, asked.connections, asked.every)
    print(table(result))
    print("\n".join(result["samples"]))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
