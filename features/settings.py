"""A workspace: a folder with `foresell.toml`, and where everything in it lies."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from features.errors import CallError, ForesellError, WorkspaceError
from features.hook import Hook
from features.monitoring import MonitorSettings, RetrainSettings
from features.operation import NightlySettings, PolicySettings, ServingSettings
from features.sources.settings import AnySource
from features.strict import Strict
from features.tables import Type
from features.target import AnyTarget

SETTINGS_FILE = "foresell.toml"
Model = TypeVar("Model", bound=BaseModel)
REPOSITORY = Path(__file__).resolve().parent.parent


class Attribute(Strict):
    """An extra column of an entity table that becomes a feature.

    `fixed = true` promises that the value never changes once the row is known. Without that promise only values from
    `attribute_history` are used, as they were at each as_of.
    """

    type: Type = Field(default="category", description="`category`, `number`, `money`, `integer`, `flag`, `timestamp` or `id`")
    fixed: bool = Field(default=False, description="the value never changes once the row is known")
    meaning: str = Field(default="", description="what it is, in words")
    unit: str = Field(default="", description="the unit of a number")
    high: str = Field(default="", description="what a rep would say when the value is high")
    low: str = Field(default="", description="what a rep would say when the value is low")


class External(Strict):
    """A feature table computed elsewhere: Parquet with an entity id, the instant each row became known, and feature columns."""

    entity: Literal["lead", "customer"] = Field(description="whose features they are")
    path: str = Field(description="a Parquet file or glob, relative to the workspace")
    id: str = Field(description="the column with the entity's id")
    timestamp: str = Field(description="the column with the instant at which the row became known, UTC")
    columns: dict[str, Attribute] = Field(description="the feature columns, each described like an attribute")


class IngestSettings(Strict):
    """How exports are read."""

    duplicates: Literal["reject", "merge"] = Field(
        default="reject", description="rows with one key and one `known_at`: stop, or merge"
    )
    timezone: str = Field(default="UTC", description="the zone of times that carry none, such as `Europe/Berlin`")
    decimal: Literal[".", ","] = Field(default=".", description="the decimal sign of numbers in text files")
    day_first: bool | None = Field(
        default=None, description="whether 03/04/2026 is the third of April; unset means such a date is an error"
    )


class StoreSettings(Strict):
    """Where the online store is: `sqlite`, a Redis, or a Redis Cluster."""

    online: str = Field(
        default="sqlite",
        description="`sqlite`, a Redis address such as `redis://127.0.0.1:6379`, or that of a Redis Cluster, "
        "`redis+cluster://a:6379,b:6379`, with one node or more",
    )
    project: str = Field(
        default="", description="the name of this workspace in a shared online store; empty derives one from the folder's path"
    )
    registry: str = Field(
        default="sqlite",
        description="where Feast keeps what is declared: `sqlite`, or `postgresql://user:${PASSWORD}@host/database`",
    )


class MlflowSettings(Strict):
    """An MLflow tracking server; empty means the workspace's own `mlruns/`."""

    tracking_uri: str = Field(default="", description="a tracking server; empty means the workspace's `mlruns/`")


class DuckdbSettings(Strict):
    """Limits of the engine that builds snapshots; null means DuckDB's own defaults."""

    memory_limit: str | None = Field(default=None, description="such as `8GB`; beyond it DuckDB spills to `data/spill`")
    threads: int | None = Field(default=None, description="how many threads; unset means every core")


class SparkSettings(Strict):
    """The cluster that `--engine spark` works on."""

    master: str = Field(
        default="local[*]",
        description="where Spark runs: `local[*]`, `yarn`, `k8s://https://HOST:443`; empty where `spark-submit` says",
    )
    packages: tuple[str, ...] = Field(
        default=(), description="Maven packages that Spark loads, such as `org.apache.hadoop:hadoop-aws:3.4.2` for `s3a://`"
    )
    conf: dict[Annotated[str, Field(pattern=r"^spark\.")], str] = Field(
        default_factory=dict,
        description='`"spark.executor.memory" = "8g"`; goes over what Foresell sets; `${NAME}` is an environment variable',
    )
    store: str = Field(
        default="",
        description="where Spark keeps tables, snapshots and scores, such as `s3a://BUCKET/foresell`; "
        "empty: the workspace, which every executor must see",
    )
    rows_per_file: int = Field(
        default=1_000_000,
        ge=1,
        description="about how many rows a file of a snapshot, and exactly how many at most one of scores, has",
    )


class TrainSettings(Strict):
    """How much `foresell train --engine spark` brings to the one machine that learns."""

    max_rows: int = Field(
        default=5_000_000,
        ge=1_000,
        description="`--engine spark` brings at most about so many rows: every row of the rarer outcome while they are no more "
        "than half, and a share of the others",
    )


class Settings(Strict):
    """`foresell.toml`."""

    adapter: str = Field(default="canonical", description="a shipped adapter, or the path of a folder with one")
    source: str = Field(default="export", description="the folder of the CRM export, relative to the workspace")
    now: str | None = Field(
        default=None, description="the instant up to which the export tells; unset: the adapter's, or that of the ingest"
    )
    protected: tuple[str, ...] = Field(
        default=(),
        description="snapshot columns by which reports judge fairness; no feature, unless a propensity file lists them by name",
    )
    ingest: IngestSettings = Field(default_factory=IngestSettings, description="how exports are read")
    store: StoreSettings = Field(default_factory=StoreSettings, description="the online store")
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings, description="where runs and models are kept")
    duckdb: DuckdbSettings = Field(default_factory=DuckdbSettings, description="the engine that builds snapshots")
    spark: SparkSettings = Field(default_factory=SparkSettings, description="the cluster of `--engine spark`")
    train: TrainSettings = Field(default_factory=TrainSettings, description="how many rows `train --engine spark` learns from")
    attributes: dict[str, dict[str, Attribute]] = Field(
        default_factory=dict, description="`[attributes.TABLE.COLUMN]`: extra columns of an entity table that become features"
    )
    external: dict[str, External] = Field(
        default_factory=dict, description="`[external.NAME]`: feature tables computed elsewhere"
    )
    serving: ServingSettings = Field(default_factory=ServingSettings, description="how the service answers")
    policy: PolicySettings = Field(
        default_factory=PolicySettings, description="who gets no score, and who is to be acted on anyway"
    )
    nightly: NightlySettings = Field(default_factory=NightlySettings, description="late data, and how long scores are kept")
    monitor: MonitorSettings = Field(default_factory=MonitorSettings, description="what is worth an alarm, and who is told")
    retrain: RetrainSettings = Field(default_factory=RetrainSettings, description="when models are trained again by themselves")
    pull: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], AnySource] = Field(
        default_factory=dict, description="`[pull.NAME]`: where records are pulled from, into the export"
    )
    hooks: dict[str, Hook] = Field(default_factory=dict, description="`[hooks.SOURCE]`: how the webhooks of a CRM are read")
    write_back: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], AnyTarget] = Field(
        default_factory=dict, description="`[write_back.NAME]`: where the scores of a night are written to"
    )


@dataclass(frozen=True)
class Workspace:
    """A workspace on disk. Opening one creates nothing."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Read `root/foresell.toml`.

        Raises:
            WorkspaceError: there is no such file, it is not TOML, or a key is unknown or has a wrong value.
        """
        path = root / SETTINGS_FILE
        if not path.is_file():
            raise WorkspaceError(
                f"workspace {root}",
                expected=f"a folder with {SETTINGS_FILE}",
                received="no such file" if root.is_dir() else "no such folder",
                repair="`foresell init --adapter NAME --from EXPORT_FOLDER --workspace DIR` makes one",
            )
        return cls(root.resolve(), read_toml(path, Settings, WorkspaceError))

    @property
    def source(self) -> Path:
        """The folder of the CRM export."""
        return (self.root / self.settings.source).resolve()

    @property
    def tables(self) -> Path:
        return self.root / "data" / "tables"

    @property
    def snapshots(self) -> Path:
        return self.root / "data" / "snapshots"

    @property
    def store(self) -> Path:
        return self.root / "data" / "store"

    @property
    def quality(self) -> Path:
        return self.root / "data" / "quality"

    @property
    def serving(self) -> Path:
        """What the service keeps: its ledger, copies of champions, digests of keys."""
        return self.root / "data" / "serving"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def latest(self) -> Path:
        """The newest scores of each propensity."""
        return self.root / "latest"

    @property
    def nightly(self) -> Path:
        """The receipts of the nights, and the lock."""
        return self.root / "data" / "nightly"

    @property
    def monitor(self) -> Path:
        """The pages and documents of monitoring, for people and pagers."""
        return self.root / "monitor"

    @property
    def watch(self) -> Path:
        """What monitoring keeps for itself: matured outcomes, references, alarms that are open, the health of propensities."""
        return self.root / "data" / "monitor"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def tuning(self) -> Path:
        return self.root / "data" / "tuning"

    @property
    def mlruns(self) -> Path:
        return self.root / "mlruns"

    @property
    def own_propensities(self) -> Path:
        return self.root / "propensities"

    @property
    def own_features(self) -> Path | None:
        """The workspace's own feature declarations; the repository's `features/` is the package itself, not those."""
        folder = self.root / "features"
        return None if folder == REPOSITORY / "features" else folder


def read_toml(path: Path, model: type[Model], error: type[ForesellError]) -> Model:
    """Read a TOML file into a settings model; what is wrong is raised as `error`, naming the key."""
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error(
            str(path),
            expected="a TOML file",
            received=str(problem),
            repair="mend the line it names; strings need quotes",
        ) from None
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise error(
            f"{path}, key `{key}`",
            expected="one of the documented keys" if first["type"] == "extra_forbidden" else first["msg"],
            received=_short(first.get("input")),
            repair="docs/reference.md lists every key; mend or remove this one",
        ) from None


def parse_instant(text: str) -> datetime:
    """An as_of in UTC: `2018-05-15` is its first microsecond; a time without a zone is taken as UTC.

    Raises:
        CallError: the text is not an ISO date or time.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CallError(
            f"instant {text!r}",
            expected="an ISO date or time such as 2018-05-15 or 2018-05-15T06:00:00",
            received=repr(text),
            repair="write the year first, then month and day",
        ) from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
