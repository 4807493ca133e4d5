"""What the service counts and times, in Prometheus' form. Several workers add up, through files in PROMETHEUS_MULTIPROC_DIR.

A gauge tells what the worker said that spoke last, for one that has ended would otherwise be heard for ever.

Labels are names of propensities, versions, stages and routes, so their number is bounded; nothing here tells of a single entity.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import ValueClass

from serving.desk import Desk
from serving.lineup import Desks
from serving.score import Score

SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
HOURS = (1, 6, 12, 24, 36, 48, 72, 168, 720)
POINTS_PER_BIN = 10


class Metrics:
    """Every metric of one process."""

    def __init__(self) -> None:
        _forget_the_dead()
        self.registry = own = CollectorRegistry()
        self._lock, self._lost = Lock(), Tally[str]()
        self._seated: set[tuple[str, str, str]] = set()
        self.requests = Counter("foresell_requests", "requests answered", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "foresell_request_seconds", "from the first byte to the answer", ["route"], buckets=SECONDS, registry=own
        )
        self.stages = Histogram(
            "foresell_stage_seconds", "time by stage: validate, fetch, predict, reasons, change, encode", ["stage"],
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.answers = Counter(
            "foresell_answers", "answers by outcome: scored, ineligible, unknown, holdout, suppressed, degraded, refused",
            ["propensity", "outcome"], registry=own,
        )  # fmt: skip
        self.features = Counter("foresell_features", "feature values that scores were made from", ["propensity"], registry=own)
        self.missing = Counter("foresell_missing_features", "of these, missing", ["propensity"], registry=own)
        self.unseen = Counter(
            "foresell_unseen_features", "of these, of a category the model never learned", ["propensity"], registry=own
        )
        self.scores = Counter(
            "foresell_scores", "scores by value: 1-10, 11-20, ... 91-100", ["propensity", "points"], registry=own
        )
        self.age = Histogram(
            "foresell_feature_age_hours", "age of the features of a score", ["propensity"], buckets=HOURS, registry=own
        )
        self.version = Gauge(
            "foresell_model",
            "1 for the version that answers",
            ["propensity", "version", "role"],
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self.up = Gauge(
            "foresell_dependency_up", "1 while it answers: online_store, ledger, registry, keys (their file)", ["dependency"],
            registry=own, multiprocess_mode="livemostrecent",
        )  # fmt: skip
        self.waiting = Gauge(
            "foresell_waiting",
            "work that waits: recorder, inbox, outbox",
            ["queue"],
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self.lost = Counter("foresell_lost", "what could not be kept: recorder, shadow, log", ["what"], registry=own)

    def timed(self, stages: Mapping[str, float]) -> None:
        """The seconds of each stage of a request."""
        for stage, seconds in stages.items():
            self.stages.labels(stage).observe(seconds)

    def answered(self, propensity: str, answers: Sequence[Score], features: int) -> None:
        """What became of a request's entities.

        Args:
            propensity: which question.
            answers: one for each entity.
            features: how many features its model has.
        """
        scored = [score for score in answers if score.score is not None and not score.degraded]
        for outcome, number in Tally(map(_outcome, answers)).items():
            self.answers.labels(propensity, outcome).inc(number)
        if not scored:
            return
        self.features.labels(propensity).inc(features * len(scored))
        self.missing.labels(propensity).inc(sum([len(score.missing) for score in scored]))
        self.unseen.labels(propensity).inc(sum([len(score.unseen) for score in scored]))
        for points, number in Tally([score.score for score in scored]).items():
            self.scores.labels(propensity, _bin(points or 1)).inc(number)
        self._aged(propensity, scored[-1])

    def _aged(self, propensity: str, score: Score) -> None:
        if score.feature_as_of is not None:
            self.age.labels(propensity).observe((score.scored_at - score.feature_as_of).total_seconds() / 3600)

    def seated(self, desks: Desks) -> None:
        """Which versions answer and wait now."""
        now = {(name, version, role) for name, desk in desks.items() if isinstance(desk, Desk) for role, version in _seats(desk)}
        for labels in self._seated | now:
            self.version.labels(*labels).set(labels in now)
        self._seated |= now

    def lost_in_all(self, what: str, total: int) -> None:
        """How much this process has lost since it began."""
        with self._lock:
            self.lost.labels(what).inc(total - self._lost[what])
            self._lost[what] = total

    def text(self) -> bytes:
        """Everything in Prometheus' text form, of all workers."""
        if ValueClass.__name__ == "MutexValue":
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)


def _forget_the_dead() -> None:
    """Let go of what a worker said of the present before it was killed; what it counted stays counted."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob("gauge_live*.db") if folder else ():
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, folder)


def _outcome(score: Score) -> str:
    if score.degraded:
        return "degraded"
    if score.policy is not None:
        return score.policy
    if score.score is not None:
        return "scored"
    return "unknown" if score.feature_as_of is None else "ineligible"


def _bin(points: int) -> str:
    last = -(-points // POINTS_PER_BIN) * POINTS_PER_BIN
    return f"{last - POINTS_PER_BIN + 1}-{last}"


def _seats(desk: Desk) -> Iterable[tuple[str, str]]:
    yield "champion", desk.scorer.version
    if desk.challenger is not None:
        yield "challenger", desk.challenger.version
