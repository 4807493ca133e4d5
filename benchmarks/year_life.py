"""A life: one workspace through the weeks of a year, by real nights, a real service, and one way of training anew.

What a week did is kept in `weeks/NN.json`; a life that was killed goes on with the first week that is not there.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.year_service import Service, running
from benchmarks.year_world import World, settings
from features import propensity
from features.catalog import write_atomically
from features.errors import ForesellError
from features.finding import read_health
from features.settings import Workspace
from foresell import main as foresell
from serving.nightly import job
from serving.partition import PART, folder
from training import registry
from training.train import train

NEVER, BLIND, MONITORED = "never", "blind", "foresell"
STRATEGIES = (NEVER, BLIND, MONITORED)
ASKED = 40  # entities of each propensity that the service is asked about in a week
OPENS, TRAINS = timedelta(hours=9), timedelta(hours=20)  # when the service is asked, and when models are trained, on a Monday
MORE = '[serving]\nkeys = "off"\n[monitor]\nleast_rows = 300\n'
QUESTIONS = {
    "lead-conversion": """question = "Will this open lead be won within 28 days?"
entity = "lead"
horizon = "28d"
every = "28d"
eligible = ["lead_is_open = 1", "lead_age_days <= 90"]

[outcome]
table = "leads"
at = "converted_at"

[features]
lead_profile = ["*"]
lead_engagement = ["*"]
lead_attributes = ["*"]

[value]
amount = 1500
cost = 40
success = 0.3

[gates]
min_positives = 30
min_auc = 0.6
lift_at_10pct = 1.2
max_calibration_error = 0.05
""",
    "churn": """question = "Will this paying customer cancel within 28 days?"
entity = "customer"
horizon = "28d"
every = "28d"
eligible = ["subscriptions_active_count >= 1", "subscriptions_tenure_days >= 30"]

[outcome]
table = "subscriptions"
at = "ended_at"
where = ["end_reason != 'migrated'"]

[features]
customer_profile = ["*"]
customer_attributes = ["*"]
customer_subscriptions = ["*"]
customer_usage = ["*"]
customer_engagement = ["*"]
customer_cases = ["*"]
customer_surveys = ["*"]

[value]
column = "subscriptions_mrr_now"
times = 12
cost = 3
success = 0.3

[gates]
min_positives = 30
min_auc = 0.6
lift_at_10pct = 1.5
max_calibration_error = 0.05
""",
}


@dataclass
class Week:
    """What one week did.

    Attributes:
        week, as_of: which.
        versions: that served in it, by propensity.
        asked: answers of the service.
        failed: what failed, by step, in words.
        findings: what `foresell monitor` left as the health of each propensity.
        trained: a sentence for each training, refusal, promotion or rollback.
        seconds: of each step.
    """

    week: int
    as_of: str
    versions: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the seconds of a block, and keep the error that ends it as what failed."""
        began = time.monotonic()
        try:
            yield
        except (ForesellError, OSError) as error:
            self.failed[step] = str(error)
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - began, 2)


@dataclass(frozen=True)
class Life:
    """One workspace, the world it is in, and how it is trained anew."""

    root: Path
    world: World
    strategy: str
    seed: int

    @property
    def weeks(self) -> Path:
        return self.root / "weeks"

    def live(self, until: int) -> None:
        """Every week that is still to come, up to and with one."""
        done = len(list(self.weeks.glob("*.json")))
        if done > until:
            return
        if not done:
            self._begin()
        with running(self.root, self.world.as_of(done)) as service:
            for number in range(done, until + 1):
                week = self._week(number, service)
                write_atomically(self.weeks / f"{number:02d}.json", json.dumps(asdict(week), indent=1).encode())

    def _begin(self) -> None:
        """A workspace with a champion of each propensity, as of week 0."""
        self.weeks.mkdir(parents=True, exist_ok=True)
        workspace = self._workspace(0)
        workspace.own_propensities.mkdir(exist_ok=True)
        for name, text in QUESTIONS.items():
            (workspace.own_propensities / f"{name}.toml").write_text(text, encoding="utf-8")
        command("ingest", workspace)
        command("check", workspace)
        for name in QUESTIONS:
            if registry.champion_version(workspace, name) is None:
                crown(workspace, name, self.world.as_of(0), "the first")
        command("snapshot", workspace)

    def _workspace(self, week: int) -> Workspace:
        """The workspace with the export of a week."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.world.export(self.root / "export", week)
        settings(self.root, self.world.as_of(week), MORE)
        return Workspace.open(self.root)

    def _week(self, number: int, service: Service) -> Week:
        at = self.world.as_of(number)
        week = Week(number, at.isoformat())
        with week.timed("export"):
            workspace = self._workspace(number)
        with week.timed("night"):
            night = job.run(workspace, at, at, quiet, lambda ended: None)
            week.failed |= {name: str(error) for name, error in night.failures.items()}
        with week.timed("service"):
            self._ask(workspace, week, service, at)
        with week.timed("monitor"):
            week.findings = self._findings(workspace, at, looked="monitor" in _done(night))
        with week.timed("train"):
            week.trained = AFTER[self.strategy](workspace, at + TRAINS)
        return week

    def _ask(self, workspace: Workspace, week: Week, service: Service, at: datetime) -> None:
        """Ask the service about some of those whom the night scored."""
        dice = np.random.default_rng([self.seed, week.week])
        for name in QUESTIONS:
            week.versions[name] = registry.champion_version(workspace, name) or ""
            path = folder(workspace, name, at) / PART
            if path.is_file():
                rows = pq.read_table(path, columns=["entity_id"], partitioning=None, filters=[("eligible", "=", True)])
                ids = rows["entity_id"].to_pylist()
                some = dice.choice(ids, min(ASKED, len(ids)), replace=False).tolist()
                week.asked += service.ask_of(name, some, at + OPENS, week.versions[name])

    def _findings(self, workspace: Workspace, at: datetime, looked: bool) -> list[dict[str, Any]]:
        """What `foresell monitor` found, which is a night's last step; a night that ended before has it run now."""
        if not looked:
            command("monitor", workspace, "--as-of", at.isoformat(), "--json")
        healths = [read_health(workspace, name) for name in QUESTIONS]
        fresh = [health for health in healths if health and health.as_of == at]
        return [found.model_dump(mode="json") for health in fresh for found in health.findings]


def _done(night: job.Night) -> set[str]:
    """The steps that a night has done."""
    return {ended.step for ended in night.steps if ended.status != "failed"}


def _nothing(workspace: Workspace, at: datetime) -> list[str]:
    return []


def _blindly(workspace: Workspace, at: datetime) -> list[str]:
    """Train everything and let it serve, whatever its gates say."""
    return [crown(workspace, name, at, "blindly") for name in QUESTIONS]


def _asking(workspace: Workspace, at: datetime) -> list[str]:
    """What `foresell retrain` did."""
    said = command("retrain", workspace, "--as-of", at.isoformat(), "--json")
    done = [f"{one['propensity']}: {one['outcome']}: {' '.join(one['sentences'])}" for one in said["retrained"]]
    return done + [f"{name}: not trained: {error['received']}" for name, error in said["failed"].items()]


AFTER: dict[str, Callable[[Workspace, datetime], list[str]]] = {NEVER: _nothing, BLIND: _blindly, MONITORED: _asking}


def crown(workspace: Workspace, name: str, at: datetime, reason: str) -> str:
    """Train one propensity and promote it, past its gates if need be; what was done, or why it was not."""
    try:
        trained = train(workspace, propensity.load(workspace, name), at, quiet)
        registry.promote(workspace, name, registry.Signature("year", at), trained.version, reason)
    except ForesellError as error:
        return f"{name}: not trained: {error}"
    auc = trained.test["auc"].value
    return f"{name}: version {trained.version}, {trained.candidate}, AUC {auc:.3f}, {trained.verdict.word}"


def command(name: str, workspace: Workspace, *options: str) -> dict[str, Any]:
    """Run a command of `foresell` in this process; the document it prints with `--json`."""
    with redirect_stdout(io.StringIO()) as said:
        foresell([name, "--workspace", str(workspace.root), *options], standalone_mode=False)
    return json.loads(said.getvalue()) if "--json" in options else {}


def quiet(what: str, total: int) -> Any:
    return nullcontext(lambda units: None)


def read(root: Path) -> list[Week]:
    """The weeks that a life has behind it."""
    return [Week(**json.loads(path.read_bytes())) for path in sorted((root / "weeks").glob("*.json"))]


def order(strategies: Sequence[str]) -> list[str]:
    """The strategies that take longest first, so that processes end together."""
    return sorted(strategies, key=(BLIND, MONITORED, NEVER).index)
