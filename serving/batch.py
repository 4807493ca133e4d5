"""The batch: every eligible entity scored at one as_of, one partition for each propensity that has a champion.

It is for the record, so it does not look at the clock: `scored_at` is the as_of, and running it again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from features import quality, store
from features.catalog import Catalog
from features.cohort import cohort, eligibility
from features.console import Tick
from features.engine import Name
from features.errors import ForesellError, LostRowsError, PropensityError, RegistryError, StoreError
from features.propensity import load, propensity_files
from features.settings import Workspace
from features.snapshot import build, to_build
from features.views import views
from serving import latest, spark
from serving.last_scores import LastScores
from serving.ledger import Ledger
from serving.partition import PART, Receipt, folder, publish
from serving.score import Score
from serving.scorer import Scorer, records, scorer_of
from training.registry import Registered, champion, champion_version
from training.registry import load as load_version

ROWS_PER_BATCH = 5_000
Progress = Callable[[str, int], AbstractContextManager[Tick]]


@dataclass(frozen=True)
class Night:
    """What a run did: a receipt for each propensity that was scored, an error for each that was not or whose file is wrong.

    A propensity has both when its partition is there and its last scores could not be stored.
    """

    as_of: datetime
    receipts: tuple[Receipt, ...]
    failures: dict[str, ForesellError]


def run(workspace: Workspace, as_of: datetime, names: Sequence[str], progress: Progress, engine: Name = "duckdb") -> Night:
    """Score propensities at an as_of; one that fails does not stop the others.

    Args:
        workspace: with ingested tables and at least one champion.
        as_of: features were known before this instant.
        names: the propensities; empty means every one that has a champion.
        progress: opens a progress bar, as `features.console.progress` does.
        engine: where the work is done; Spark stores no last scores.

    Raises:
        PropensityError: there is no propensity of that name.
        QualityError: the tables hold errors that scores must not be built on.
        RegistryError: no propensity has a champion.
    """
    _require_known(workspace, names)
    wanted = list(dict.fromkeys(names)) or with_champion(workspace)
    quality.require(workspace)
    with progress("snapshot", to_build(workspace, [as_of])) as tick:
        build(workspace, [as_of], tick, engine=engine)
    receipts: list[Receipt] = []
    failures: dict[str, ForesellError] = applied(workspace, engine)
    for name in wanted:
        try:
            receipt, failure = score_propensity(workspace, _answering(workspace, name), as_of, progress, engine=engine)
        except ForesellError as error:
            failures[name] = error
            continue
        receipts.append(receipt)
        if failure is not None:
            failures[name] = failure
    for receipt in receipts:
        latest.publish(workspace, receipt.propensity)
    return Night(as_of, tuple(receipts), failures)


def _answering(workspace: Workspace, name: str) -> Registered:
    """The version that answers: the pinned one, as over HTTP, else the champion."""
    pinned = workspace.settings.serving.pin.get(name)
    return load_version(workspace, name, pinned) if pinned else champion(workspace, name)


def applied(workspace: Workspace, engine: Name = "duckdb") -> dict[str, ForesellError]:
    """Tell Feast what is declared. A file that was edited badly stops no champion, but it is told of, by name.

    What Feast lacks then, `store.historical` names.
    """
    if engine == "spark":
        spark.apply(workspace)
        return _wrong_files(workspace)
    try:
        store.apply(workspace)
    except PropensityError:
        return _wrong_files(workspace)
    return {}


def _wrong_files(workspace: Workspace) -> dict[str, ForesellError]:
    wrong: dict[str, ForesellError] = {}
    for name in propensity_files(workspace.root, workspace.settings):
        try:
            load(workspace, name)
        except PropensityError as error:
            wrong[name] = error
    return wrong


def _require_known(workspace: Workspace, names: Sequence[str]) -> None:
    known = propensity_files(workspace.root, workspace.settings)
    for name in names:
        if name not in known:
            load(workspace, name)  # raises, and names those there are


def with_champion(workspace: Workspace) -> list[str]:
    """The propensities that have a champion, by name.

    Raises:
        RegistryError: there is none.
    """
    names = [name for name in sorted(propensity_files(workspace.root, workspace.settings)) if champion_version(workspace, name)]
    if not names:
        raise RegistryError(
            f"workspace {workspace.root}",
            expected="at least one propensity with a champion",
            received="none",
            repair="run `foresell train --all`, then `foresell promote NAME` for those that passed their gates",
        )
    return names


def score_propensity(
    workspace: Workspace,
    registered: Registered,
    as_of: datetime,
    progress: Progress,
    late: Sequence[str] = (),
    engine: Name = "duckdb",
) -> tuple[Receipt, ForesellError | None]:
    """Score one propensity's cohort, publish its partition and store the last scores.

    Args:
        workspace: with snapshots of the as_of, and declarations of which Feast was told.
        registered: the version that answers.
        as_of: features were known before this instant.
        progress: opens a progress bar.
        late: a sentence for each source that was late or missing, for the receipt.
        engine: where the work is done; Spark stores no last scores.

    Returns:
        The receipt, and why the last scores could not be stored; the partition does not depend on it.

    Raises:
        LostRowsError: somebody eligible has no score.
        SnapshotError, StoreError, FeatureError: the features cannot be had.
        ContractError: the features are others than the champion was trained on.
        EngineError: Spark gave up.
    """
    if engine == "spark":
        return spark.score_propensity(workspace, registered, as_of, progress, late), None
    catalog, question = Catalog.load(workspace), registered.model.propensity
    scorer = scorer_of(workspace, views(workspace, catalog), registered)
    counts = eligibility(workspace, question, as_of)
    spine = cohort(workspace, question, [as_of])
    frame = store.historical(workspace, question.entity, spine, scorer.columns)
    _require_as_many(question.name, len(frame), counts.eligible)
    facts = {
        "propensity": question.name, "as_of": as_of.isoformat(), "model_version": registered.version,
        "catalog_version": catalog.version, "known": counts.known, "ineligible": counts.obstacles,
        "late": list(late),
    }  # fmt: skip
    target = folder(workspace, question.name, as_of)
    with progress(question.name, len(frame)) as tick:
        if as_of < catalog.midnight:  # an older night changes nobody's last score
            return publish(target, _batches(scorer, frame, as_of, tick, None), facts), None
        with closing(Ledger.open(workspace)) as ledger:
            last = LastScores(ledger, as_of)
            receipt = publish(target, _batches(scorer, frame, as_of, tick, last), facts)
            last.replace_others(workspace, scorer, spine)
    return receipt, last.failure and _not_stored(last.failure, target)


def _not_stored(failure: ForesellError, target: Path) -> ForesellError:
    return StoreError(
        failure.where,
        expected=f"the last scores stored, for trends and for GET /v1/scores; the scores themselves are in {target / PART}",
        received=failure.received,
        repair=f"{failure.repair}; then run `foresell score` again",
    )


def _require_as_many(name: str, rows: int, eligible: int) -> None:
    if rows != eligible:
        raise _lost(name, f"{eligible:,} eligible entities with features", f"{rows:,}")


def _batches(scorer: Scorer, frame: pd.DataFrame, as_of: datetime, tick: Tick, last: LastScores | None) -> Iterator[list[Score]]:
    for start in range(0, len(frame), ROWS_PER_BATCH):
        rows = records(frame.iloc[start : start + ROWS_PER_BATCH])
        scored = scorer.scored(rows, as_of)
        _require_everybody(scored.scores)
        if last is not None:
            last.keep(scorer, rows, scored)
        yield scored.scores
        tick(len(rows))


def _require_everybody(scores: Sequence[Score]) -> None:
    """Everybody in the cohort is eligible by the same conditions in Python as in SQL; whom policy withholds is, too."""
    lost = next((score for score in scores if not score.eligible), None)
    if lost is not None:
        raise _lost(lost.propensity, "a score for everybody in the cohort", f"none for {lost.entity_id}: {lost.why}")


def _lost(name: str, expected: str, received: str) -> LostRowsError:
    repair = "the snapshot changed while it was read; run `foresell score` again"
    return LostRowsError(f"batch of {name}", expected=expected, received=received, repair=repair)
