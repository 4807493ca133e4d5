"""The nightly batch: rows a second beside LightGBM's own prediction, peak memory at two sizes, and what a second night costs.

    .venv/bin/python -m benchmarks.batch                         1,000,000 customers x 3 propensities: half an hour, 30 GB of disk
    .venv/bin/python -m benchmarks.batch --entities 50000 --trees 100 --propensities 1

Customers with 60 features (benchmarks.serving_world), models of up to 31 leaves and depth 6. Everything is measured in this one
run, each measurement in a process of its own, whose peak memory is told: imports and the model are in it.

`Booster.predict` is LightGBM's bare prediction, of the same rows as a matrix in memory, on every processor. `pred_contrib` is the
same job as ours, but contributions are asked of LightGBM: of fewer customers, for a row costs it the same among any number. A
job goes from the snapshot to the Parquet file with its receipt, for every propensity; `and last scores` keeps in the ledger, too,
what trends are told by. A night is: snapshot, online store (SQLite), scores and last scores of every propensity, the latest
scores, and write-back of them to files. The second one is the same night run again after late data: one customer in 50 has other
values.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.fitted import PASSED, column
from benchmarks.serving_world import QUESTION, fit, ingest
from features import propensity, snapshot, store
from features.catalog import Catalog
from features.console import messages
from features.settings import SETTINGS_FILE, Workspace
from features.stream import chunks
from features.views import feature_map, views
from serving import batch, latest
from serving.connectors.write_back import write_back
from training import registry
from training.contract import encode
from training.trees import Trees

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
NAMES = ("churn", "lapse", "growth")
FITTED_ROWS = 20_000
SMALLER = 4  # times smaller is the world in which peak memory is compared
SETTINGS = """adapter = "canonical"
[store]
project = "benchmark"
[mlflow]
tracking_uri = "{models}"
[nightly]
reasons = {reasons}
[write_back.crm]
to = "files"
path = "crm"
entity = "customer"
"""


@dataclass(frozen=True)
class Spent:
    """What a measurement took: by the clock, in its process on all processors, and the peak memory of its process."""

    rows: int
    seconds: float
    processor_seconds: float
    peak_mb: float

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds


def make_world(root: Path, entities: int, names: Sequence[str], models: Path | None = None) -> Workspace:
    """Customers and their snapshot; the models of another world where one is named.

    Args:
        root: a folder that is not there yet.
        entities: how many customers.
        names: the propensities.
        models: the other world's folder.
    """
    (root / "propensities").mkdir(parents=True)
    for name in names:
        (root / "propensities" / f"{name}.toml").write_text(QUESTION, encoding="utf-8")
    workspace = _set(root, models or root)
    ingest(workspace, entities, AS_OF)
    snapshot.build(workspace, [AS_OF])
    return workspace


def crown(workspace: Workspace, names: Sequence[str], trees: int) -> None:
    """Fit a model to some of the customers, and make it the champion of every propensity."""
    features = list(feature_map(views(workspace, Catalog.load(workspace)), "customer"))
    frame = snapshot.read(workspace, "customer", [AS_OF], features)[:FITTED_ROWS]
    columns = [column(frame[name]) for name in features]
    for name in names:
        question = propensity.load(workspace, name).model_dump(mode="json")
        registry.register(workspace, fit(question, columns, encode(frame, columns), trees), PASSED)
        registry.promote(workspace, name, registry.Signature("benchmark", AS_OF))


def predict(root: Path, name: str) -> Spent:
    """LightGBM's own prediction of everybody, in memory already."""
    workspace = Workspace.open(root)
    model = registry.champion(workspace, name).model
    assert isinstance(model.predictor, Trees)
    rows = chunks(workspace, model.propensity, AS_OF, model.columns)
    matrix = np.concatenate([model.matrix(chunk.select(model.columns).to_pandas()) for chunk in rows])
    with _measured(len(matrix)) as spent:
        model.predictor.booster.predict(matrix)
    return spent[0]


def job(root: Path, names: Sequence[str], is_kept: bool = True, is_slow: bool = False) -> Spent:
    """From the snapshot to Parquet, for every propensity.

    Args:
        root: the workspace.
        names: the propensities.
        is_kept: whether the ledger keeps the last scores, too.
        is_slow: whether LightGBM is asked for contributions.
    """
    workspace = Workspace.open(root)
    told = AS_OF if is_kept else AS_OF + timedelta(days=1)  # of a night before the last one no last scores are kept
    replace(Catalog.load(workspace), observed_until=f"{told:%Y-%m-%d}").save(workspace)
    registered = [registry.champion(workspace, name) for name in names]
    with patch.object(Trees, "_tables", None) if is_slow else nullcontext():
        for one in registered:
            one.model.foreseen(np.zeros((1, len(one.model.columns))))  # compiled, as every night but the first finds it
        with _measured(0) as spent:
            rows = sum(batch.score_propensity(workspace, one, AS_OF, _quiet)[0].rows for one in registered)
    return replace(spent[0], rows=rows)


def night(root: Path, names: Sequence[str], entities: int, turn: int) -> tuple[Spent, dict[str, float]]:
    """Everything that is done in a night, and the seconds of each step."""
    workspace, steps = Workspace.open(root), dict[str, float]()
    ingest(workspace, entities, AS_OF, turn)

    def step(name: str, work: Callable[[], Any]) -> None:
        began = time.monotonic()
        work()
        steps[name] = time.monotonic() - began

    with _measured(entities) as spent:
        step("snapshot", lambda: snapshot.build(workspace, [AS_OF]))
        step("online store", lambda: (store.apply(workspace), store.materialize(workspace, AS_OF)))
        step("scores", lambda: _score(workspace, names))
        step("latest", lambda: [latest.publish(workspace, name) for name in names])
        step("write-back", lambda: write_back(workspace, "crm", None, AS_OF))
    return spent[0], steps


def run(folder: Path, entities: int, names: Sequence[str], trees: int, slow_rows: int) -> str:
    """Every measurement, as Markdown."""
    large, small, slow = folder / "large", folder / "small", folder / "slow"
    _alone(crown, _alone(make_world, large, entities, names), names, trees)
    _alone(make_world, small, max(1, entities // SMALLER), names, large)
    _alone(make_world, slow, slow_rows, names[:1], large)
    bare, contributions = _alone(predict, large, names[0]), _alone(job, slow, names[:1], False, True)
    lines = [("`Booster.predict`, in memory", bare), ("the job with `pred_contrib`", contributions)]
    for told, reasons in (("with reasons", True), ("without reasons", False)):
        _set(large, large, reasons)
        lines.append((told, _alone(job, _clean(large), names, False)))
        lines.append((f"{told}, and last scores", _alone(job, _clean(large), names)))
    _set(large, large)
    lines.append((f"with reasons, and last scores: {SMALLER} times fewer customers", _alone(job, small, names)))
    shutil.rmtree(_clean(large) / "data" / "snapshots")
    first, second = (_alone(night, large, names, entities, turn) for turn in (0, 1))
    heading = f"{entities:,} customers, {len(names)} propensities, {trees} trees; {os.cpu_count()} processors"
    return "\n".join([heading, "", *_jobs(lines, bare, contributions), "", *_nights(*first, *second)])


def _jobs(lines: Sequence[tuple[str, Spent]], bare: Spent, contributions: Spent) -> Iterator[str]:
    yield "| | rows | seconds | rows a second | times `Booster.predict` | times `pred_contrib` | peak MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, one in lines:
        times = f"{one.per_second / bare.per_second:.2f} | {one.per_second / contributions.per_second:.1f}"
        yield f"| {name} | {one.rows:,} | {one.seconds:,.1f} | {one.per_second:,.0f} | {times} | {one.peak_mb:,.0f} |"


def _nights(first: Spent, steps: dict[str, float], second: Spent, again: dict[str, float]) -> Iterator[str]:
    yield "| | first night, s | again after late data, 2 % changed, s | share |"
    yield "| --- | --- | --- | --- |"
    pairs = [*((name, steps[name], again[name]) for name in steps), ("all", first.seconds, second.seconds)]
    for name, one, two in [*pairs, ("all, processor seconds", first.processor_seconds, second.processor_seconds)]:
        yield f"| {name} | {one:,.1f} | {two:,.1f} | {two / one:.2f} |"
    yield f"| peak MB | {first.peak_mb:,.0f} | {second.peak_mb:,.0f} | |"


def _score(workspace: Workspace, names: Sequence[str]) -> None:
    for name in names:
        batch.score_propensity(workspace, registry.champion(workspace, name), AS_OF, _quiet)


def _clean(root: Path) -> Path:
    """A workspace in which nothing was scored yet."""
    for path in (root / "scores", root / "data" / "scored", root / "data" / "serving"):
        shutil.rmtree(path, ignore_errors=True)
    return root


def _set(root: Path, models: Path, reasons: bool = True) -> Workspace:
    uri = "" if models == root else f"sqlite:///{models}/mlruns/mlflow.db"
    (root / SETTINGS_FILE).write_text(SETTINGS.format(models=uri, reasons=str(reasons).lower()), encoding="utf-8")
    return Workspace.open(root)


@contextmanager
def _measured(rows: int) -> Iterator[list[Spent]]:
    spent: list[Spent] = []
    began, used = time.monotonic(), time.process_time()
    yield spent
    spent.append(Spent(rows, time.monotonic() - began, time.process_time() - used, _peak()))


def _peak() -> float:
    """The peak memory of this process in MB; unlike `getrusage`, without what the parent took before."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Work in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def _quiet(what: str, total: int) -> Any:
    return nullcontext(lambda units: None)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--propensities", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--slow-rows", type=int, default=5_000, help="how many customers `pred_contrib` is given")
    parser.add_argument("--folder", type=Path, help="where the workspaces are made, and left; default: a folder that is removed")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    try:
        with messages().status("measuring"):
            told = run(folder, asked.entities, NAMES[: asked.propensities], asked.trees, asked.slow_rows)
        print(told)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
