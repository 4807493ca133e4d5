"""The face of the command line: options every command shares, progress, machine-readable output, errors and exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from features.at_work import at_work
from features.errors import ForesellError
from features.settings import Workspace, parse_instant

Tick = Callable[[int], None]
COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Watch = Callable[[str, int], AbstractContextManager[Tick]]


class WorkspaceFolder(click.ParamType):
    """`--workspace DIR`, opened."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Workspace:
        return value if isinstance(value, Workspace) else Workspace.open(Path(value))


class Instant(click.ParamType):
    """An as_of in UTC, such as 2018-05-15."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        return value if isinstance(value, datetime) else parse_instant(value)


def _begun(ctx: click.Context, param: click.Parameter, workspace: Workspace) -> Workspace:
    ctx.with_resource(at_work(workspace))
    return workspace


_folder = partial(
    click.option, "--workspace", type=WorkspaceFolder(), default=".", envvar="FORESELL_WORKSPACE", show_default=True,
    help="The folder with foresell.toml.",
)  # fmt: skip
workspace_option = _folder()
work_option = _folder(callback=_begun)  # of commands that write what they have read: none works while a person is forgotten
engine_option = click.option(
    "--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True,
    help="DuckDB on this machine, or Spark on the cluster of [spark].",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


class Group(click.Group):
    """A command group whose commands end with exit code 0 (done), 1 (the work failed) or 2 (the call was wrong)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ForesellError as error:
            fail(error)
            ctx.exit(error.exit_code)


def fail(error: ForesellError) -> None:
    """Tell a person what went wrong and how to mend it; on standard error, without a traceback."""
    console = messages()
    console.print(f"[bold red]{type(error).__name__}[/]: {_plain(error.where)}", highlight=False)
    for label, text in (("expected", error.expected), ("received", error.received), ("to mend ", error.repair)):
        console.print(f"  [bold]{label}[/]  {_plain(text)}", highlight=False, soft_wrap=True)


def messages() -> Console:
    """Where words for people go: standard error, so that standard output stays for results."""
    return Console(stderr=True)


def results() -> Console:
    """Where results go: standard output."""
    return Console()


def emit(document: Mapping[str, Any]) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, default=str))


def step(text: str) -> None:
    """One line that says what was done, with counts."""
    messages().print(f"[green]✓[/] {_plain(text)}", highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """One line about what somebody should know, though it stopped nothing."""
    messages().print(f"· {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Tick]:
    """A progress bar on standard error; the function it yields moves the bar by that many units."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda units: bar.advance(task, units)


def silence_telemetry() -> None:
    """Switch off what dependencies would send home; every door calls it before it opens its library.

    OpenTelemetry stays on where the environment names a collector: traces go there, and nowhere else (serving.http.tracing).
    """
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("FEAST_USAGE", "False")
    if not any(variable in os.environ for variable in COLLECTOR):
        os.environ.setdefault("OTEL_SDK_DISABLED", "true")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
