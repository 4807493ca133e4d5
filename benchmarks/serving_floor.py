"""The floor: the least that answers the same question. A packed record from Redis, LightGBM, exact TreeSHAP, the top five, JSON.

No key, no check of the request, no ledger, no log, no words, no metrics. Everything runs in the event loop's own thread, which
for a caller on the loopback is the fastest way there is. uvicorn (uvloop, httptools) runs it: `benchmarks.serving_floor:app`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response
from redis import Redis

from features import storage, wire
from features.record import HEADER_SIZE, Layout, header
from features.settings import Workspace
from training.contract import Contract
from training.model import CONTRACT_FILE
from training.trees import Trees

WORKSPACE, MODEL = "FLOOR_WORKSPACE", "FLOOR_MODEL"
ENTITY, TOP = "customer", 5


class Floor:
    """What the handler needs, open."""

    def __init__(self, workspace: Workspace, model: Path) -> None:
        contract = Contract.model_validate_json((model / CONTRACT_FILE).read_bytes())
        self.trees = Trees((model / "model.txt").read_text())
        self.calibration, self.names = contract.calibration, [column.name for column in contract.features]
        self.redis, self.project = Redis(**storage.redis_options(workspace)), storage.project(workspace)
        self.field = wire.redis_field(ENTITY)
        self.layout = self._layout(workspace)
        self.numbers = [(place, self.names.index(name)) for place, name in enumerate(self.layout.numbers) if name in self.names]
        codes = {
            column.name: {value: float(code) for code, value in enumerate(column.categories)} for column in contract.features
        }
        self.categories = [(self.names.index(name), codes[name]) for name in self.layout.categories]
        self.contributions_of(np.full((1, len(self.names)), np.nan))

    def _layout(self, workspace: Workspace) -> Layout:
        (file,) = (workspace.store / "layouts").glob("*.json")
        return Layout.from_json(file.read_text(encoding="utf-8"))

    def contributions_of(self, row: np.ndarray) -> np.ndarray:
        """What each feature adds."""
        return self.trees.explained(row).contributions[0, :-1]

    def row(self, data: bytes) -> np.ndarray:
        """A record as the model's row."""
        layout = self.layout
        count = len(layout.numbers)
        row = np.empty((1, len(self.names)))
        found = np.frombuffer(data, "<f8", count, HEADER_SIZE)
        row[0, [column for _, column in self.numbers]] = found[[place for place, _ in self.numbers]]
        lengths = layout.fixed.unpack_from(data, HEADER_SIZE)[count:]
        text, start = data[HEADER_SIZE + layout.fixed.size :].decode(), 0
        for (column, codes), length in zip(self.categories, lengths, strict=True):
            row[0, column] = np.nan if length < 0 else codes.get(text[start : start + length], float(len(codes)))
            start += max(length, 0)
        return row

    def answer(self, entity_id: str) -> dict[str, Any]:
        """Probability and reasons of one entity."""
        value = self.redis.hget(wire.redis_key(self.project, ENTITY, entity_id), self.field)
        data = wire.unwrapped(value)
        assert data is not None
        row = self.row(data)
        probability = self.calibration.probability(self.trees.raw(row))[0]
        added = self.contributions_of(row)
        top = np.argsort(-np.abs(added))[:TOP].tolist()
        reasons = [{"feature": self.names[i], "contribution": added[i]} for i in top]
        return {"entity_id": entity_id, "as_of": str(header(data)[1]), "probability": probability, "reasons": reasons}


def app() -> FastAPI:
    """The application; each worker makes one."""
    floor = Floor(Workspace.open(Path(os.environ[WORKSPACE])), Path(os.environ[MODEL]))
    api = FastAPI(openapi_url=None)

    @api.post("/score")
    async def score(request: Request) -> Response:
        ids = json.loads(await request.body())["ids"]
        return Response(json.dumps({"scores": [floor.answer(one) for one in ids]}), media_type="application/json")

    return api
