"""What was measured of serving: cells, the stages of a request, who was missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

STAGES = ("validate", "fetch", "predict", "reasons", "change", "encode")
WHOLE = "whole"  # from the first byte of the request to the last of the answer, as the request log has it


@dataclass(frozen=True)
class Cell:
    """One question to one contender: how many entities in a request, over how many connections."""

    name: str
    workers: int
    entities: int
    connections: int


@dataclass(frozen=True)
class Figures:
    """The medians of a cell: requests a second, milliseconds as a caller saw them, the processor's milliseconds per request of
    all processes of the contender; and how many requests there were in all, and how many of them had no 2xx answer."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu_ms: float
    wrong: int


@dataclass(frozen=True)
class Stages:
    """Milliseconds by stage, as the request log has them."""

    p50: Mapping[str, float]
    p99: Mapping[str, float]

    @classmethod
    def median(cls, found: Sequence[Stages]) -> Stages:
        """The median of several measurements."""
        return cls(
            *({stage: median(getattr(one, q)[stage] for one in found) for stage in getattr(found[0], q)} for q in ("p50", "p99"))
        )


@dataclass(frozen=True)
class Result:
    """Every cell; the stages of ours by number of entities; who is missing and why."""

    cells: Mapping[Cell, Figures]
    stages: Mapping[int, Stages]
    missing: Mapping[str, str]

    def document(self) -> str:
        """Everything, as JSON."""
        cells = [{**asdict(cell), **asdict(figures)} for cell, figures in self.cells.items()]
        stages = {str(entities): asdict(found) for entities, found in self.stages.items()}
        return json.dumps({"cells": cells, "stages": stages, "missing": dict(self.missing)}, indent=1)


def read_stages(log: Path, begins: int) -> Stages:
    """The stages of the requests that a request log tells of, from a byte on."""
    with log.open("rb") as file:
        file.seek(begins)
        lines = [json.loads(line) for line in file if line.startswith(b"{")]
    taken = {stage: [line["stages"].get(stage, 0.0) for line in lines] for stage in STAGES}
    taken[WHOLE] = [line["ms"] for line in lines]
    q50, q99 = ({stage: float(np.percentile(times or [np.nan], q)) for stage, times in taken.items()} for q in (50, 99))
    return Stages(q50, q99)
