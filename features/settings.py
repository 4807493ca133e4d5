"""A workspace: a folder with `foresell.toml`, and where everything in it lies."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import CallError, ForesellError, WorkspaceError
from features.tables import Type

SETTINGS_FILE = "foresell.toml"
Model = TypeVar("Model", bound=BaseModel)
REPOSITORY = Path(__file__).resolve().parent.parent


class Strict(BaseModel):
    """Settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Attribute(Strict):
    """An extra column of an entity table that becomes a feature.

    `fixed = true` promises that the value never changes once the row is known. Without that promise only values from
    `attribute_history` are used, as they were at each as_of.
    """

    type: Type = "category"
    fixed: bool = False
    meaning: str = ""
    unit: str = ""
    high: str = ""
    low: str = ""


class External(Strict):
    """A feature table computed elsewhere: Parquet with an entity id, the instant each row became known, and feature columns."""

    entity: Literal["lead", "customer"]
    path: str
    id: str
    timestamp: str
    columns: dict[str, Attribute]


class IngestSettings(Strict):
    """How exports are read."""

    duplicates: Literal["reject", "merge"] = "reject"
    timezone: str = "UTC"
    decimal: Literal[".", ","] = "."
    day_first: bool | None = None


class StoreSettings(Strict):
    """Where the online store is: `sqlite`, or a Redis address such as `redis://127.0.0.1:6379`."""

    online: str = "sqlite"


class MlflowSettings(Strict):
    """An MLflow tracking server; empty means the workspace's own `mlruns/`."""

    tracking_uri: str = ""


class DuckdbSettings(Strict):
    """Limits of the engine that builds snapshots; null means DuckDB's own defaults."""

    memory_limit: str | None = None
    threads: int | None = None


class Settings(Strict):
    """`foresell.toml`."""

    adapter: str = "canonical"
    source: str = "export"
    now: str | None = None
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings)
    duckdb: DuckdbSettings = Field(default_factory=DuckdbSettings)
    attributes: dict[str, dict[str, Attribute]] = Field(default_factory=dict)
    external: dict[str, External] = Field(default_factory=dict)


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
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

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
