"""Scores of a person in partitions and in `latest/`: their rows go, and each receipt tells of the file that is there then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq

from features.catalog import write_atomically
from features.forgetting import rows
from features.forgetting.person import Person
from features.forgetting.place import Place
from features.settings import Workspace
from serving.partition import RECEIPT, Receipt, Tally, digest, joint, parts

STAGED = ".receipt.forgetting"  # how many are known without the person, while their rows are taken out


def forget(workspace: Workspace, person: Person, entities: Mapping[str, str], *, remove: bool) -> list[Place]:
    """Count, or take out, the person's scores of every as_of.

    Args:
        workspace: with scores or without.
        person: who.
        entities: whose each propensity is.
        remove: whether they are taken out; what a night remembers of how a changed partition was made goes with them.
    """
    folders = [*workspace.scores.glob("propensity=*/as_of=*"), *workspace.latest.glob("propensity=*")]
    found = []
    for folder in sorted(folders):
        (name,) = (one.partition("=")[2] for one in folder.parts if one.startswith("propensity="))
        of = entities.get(name, rows.EITHER)
        columns = {rows.ENTITY_ID: of}
        count = sum(rows.count(path, person, columns) for path in parts(folder))
        found.append(Place("scores", str(folder.relative_to(workspace.root)), count))
        if remove and (count or (folder / STAGED).is_file()):
            shutil.rmtree(workspace.root / "data" / "scored" / name, ignore_errors=True)
            _without(folder, person, columns, count)
    return [place for place in found if place.rows]


def _without(folder: Path, person: Person, columns: rows.Columns, count: int) -> None:
    """May be killed anywhere: who finds the staged count goes on with it."""
    staged, receipt = folder / STAGED, _receipt(folder / RECEIPT)
    if receipt and not staged.is_file():
        write_atomically(staged, json.dumps(receipt.known - count).encode())
    for path in parts(folder):
        rows.leave_out(path, person, columns)
    if receipt:
        known, tally = int(staged.read_text(encoding="utf-8")), _counted(folder)
        now = replace(receipt, **tally.facts(), known=known, sha256=joint([digest(path) for path in parts(folder)]))
        write_atomically(folder / RECEIPT, (json.dumps(asdict(now), indent=1) + "\n").encode())
    staged.unlink(missing_ok=True)


def _receipt(path: Path) -> Receipt | None:
    """The receipt of a partition; None where there is none, so that nobody takes the partition for whole."""
    return Receipt(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _counted(folder: Path) -> Tally:
    tally = Tally()
    for path in parts(folder):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                tally.add(batch)
    return tally
