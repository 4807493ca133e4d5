"""The batch: every eligible entity scored at one as_of, one partition for each propensity that has a champion.

It is for the record, so it does not look at the clock: `scored_at` is the as_of, and running it again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features import quality, store
from features.ahead import ahead
from features.catalog import Catalog
from features.cohort import eligibility
from features.console import Tick
from features.disk import broken
from features.engine import Name
from features.errors import ForesellError, LostRowsError, PropensityError, RegistryError, StoreError
from features.propensity import load, propensity_files
from features.settings import Workspace
from features.snapshot import build, to_build
from features.stream import chunks
from features.views import views
from serving import latest, spark
from serving.columns import ColumnScorer
from serving.earlier import Inputs, alone, maker
from serving.last_scores import LastScores
from serving.ledger import Ledger
from serving.objection import told_since
from serving.partition import PART, Receipt, folder, publish
from serving.renewal import Renewal, Renewed
from serving.scorer import scorer_of
from training.registry import Named, Registered, champion, standing
from training.registry import load as load_version

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
    wanted = list(dict.fromkeys(names)) or list(with_champion(workspace))
    quality.require(workspace)
    with progress("snapshot", to_build(workspace, [as_of])) as tick:
        build(workspace, [as_of], tick, engine=engine)
    receipts: list[Receipt] = []
    failures: dict[str, ForesellError] = applied(workspace, engine)
    for name in wanted:
        try:
            receipt, failure = score_propensity(workspace, _answering(workspace, name), as_of, progress, engine=engine)
            receipts.append(receipt)
            if failure is not None:
                failures[name] = failure
            latest.publish(workspace, name)
        except ForesellError as error:
            failures[name] = error
        except OSError as problem:
            failures[name] = broken(f"scores of {name}", problem)
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


def with_champion(workspace: Workspace) -> dict[str, Named]:
    """The propensities that have a champion, by name, and which version it is.

    Raises:
        RegistryError: there is none, or the registry does not answer.
    """
    found = standing(workspace, sorted(propensity_files(workspace.root, workspace.settings)))
    champions = {name: one.champion for name, one in found.items() if one.champion}
    if not champions:
        raise RegistryError(
            f"workspace {workspace.root}",
            expected="at least one propensity with a champion",
            received="none",
            repair="run `foresell train --all`, then `foresell promote NAME` for those that passed their gates",
        )
    return champions


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
        SnapshotError, StoreError, FeatureError: the features cannot be had; or the ledger does not answer, where entities may
            object, so that nobody can tell who has.
        ContractError: the features are others than the champion was trained on.
        EngineError: Spark gave up.
    """
    with alone(workspace, registered.model.propensity.name):
        is_newest = as_of >= Catalog.load(workspace).midnight  # an older night changes nobody's last score, and nobody acts on it
        told = told_since(workspace, registered.model.propensity.entity, as_of) if is_newest else {}
        objections = {one: score.why or "" for one, score in told.items()}
        if engine == "spark":
            return spark.score_propensity(workspace, registered, as_of, progress, late, objections), None
        return _score_propensity(workspace, registered, as_of, progress, late, objections, is_newest)


def _score_propensity(
    workspace: Workspace, registered: Registered, as_of: datetime, progress: Progress, late: Sequence[str],
    objections: Mapping[str, str], is_newest: bool,
) -> tuple[Receipt, ForesellError | None]:  # fmt: skip
    catalog, question = Catalog.load(workspace), registered.model.propensity
    scorer = _scorer(workspace, catalog, registered, objections)
    counts = eligibility(workspace, question, as_of)
    facts = {
        "propensity": question.name, "as_of": as_of.isoformat(), "model_version": registered.version,
        "catalog_version": catalog.version, "known": counts.known, "ineligible": counts.obstacles,
        "late": list(late), "reasons": scorer.with_reasons,
    }  # fmt: skip
    target, rows = folder(workspace, question.name, as_of), chunks(workspace, question, as_of, scorer.scorer.columns)
    inputs = Inputs(workspace, question.name, maker(workspace, catalog, scorer))
    with (
        progress(question.name, counts.eligible) as tick,
        _last_scores(workspace, scorer, as_of) if is_newest else nullcontext() as last,
        inputs.writing() as digests,
    ):
        earlier = inputs.take(as_of if is_newest else None)
        if last is not None:
            if earlier and not last.are_of(earlier.sha256):
                earlier = None  # the ledger keeps more than a partition does: all of it is to be made
            last.begin()
        renewal = Renewal(scorer, as_of, earlier, digests)
        with closing(ahead(rows)) as read, closing(ahead(map(renewal.of, read))) as renewed:
            receipt = publish(target, _batches(question.name, renewed, counts.eligible, tick, last), facts)
        if last is not None:
            last.replace_others()
            last.end(receipt.sha256)
        failure = last.failure if last else None
        if failure is None:  # what the ledger did not take must be made anew
            inputs.put(digests, as_of, receipt.sha256)
    return receipt, failure and _not_stored(failure, target)


def _scorer(workspace: Workspace, catalog: Catalog, registered: Registered, objections: Mapping[str, str]) -> ColumnScorer:
    one = scorer_of(workspace, views(workspace, catalog), registered)
    return ColumnScorer(one, workspace.settings.nightly.reasons, objections)


@contextmanager
def _last_scores(workspace: Workspace, scorer: ColumnScorer, as_of: datetime) -> Iterator[LastScores]:
    with closing(Ledger.open(workspace)) as ledger:
        yield LastScores(workspace, ledger, scorer, as_of)


def _not_stored(failure: ForesellError, target: Path) -> ForesellError:
    return StoreError(
        failure.where,
        expected=f"the last scores stored, for trends and for GET /v1/scores; the scores themselves are in {target / PART}",
        received=failure.received,
        repair=f"{failure.repair}; then run `foresell score` again",
    )


def _batches(
    name: str, renewed: Iterator[Renewed], eligible: int, tick: Tick, last: LastScores | None
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    rows = 0
    for scores, fresh, made in renewed:
        _require_everybody(scores)
        if last is not None:
            last.keep(scores["entity_id"], fresh, made)
        yield scores
        rows += len(scores)
        tick(len(scores))
    if rows != eligible:
        raise _lost(name, f"{eligible:,} eligible entities with features", f"{rows:,}")


def _require_everybody(scores: pa.RecordBatch) -> None:
    """Everybody in the cohort is eligible by the same conditions in Python as in SQL; whom policy withholds is, too."""
    lost = scores.filter(pc.invert(scores["eligible"])).slice(0, 1).to_pylist()
    if lost:
        (one,) = lost
        raise _lost(one["propensity"], "a score for everybody in the cohort", f"none for {one['entity_id']}: {one['why']}")


def _lost(name: str, expected: str, received: str) -> LostRowsError:
    repair = "the snapshot changed while it was read; run `foresell score` again"
    return LostRowsError(f"batch of {name}", expected=expected, received=received, repair=repair)
