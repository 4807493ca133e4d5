"""The demo: the very commands a user would type, from the sample CRM to scores over HTTP, each printed before it runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.markup import escape

from features.catalog import Catalog, write_atomically
from features.console import progress, results, step
from features.errors import ForesellError, WorkspaceError
from features.sample import make
from features.settings import SETTINGS_FILE, Workspace
from serving.batch import with_champion
from serving.http.address import free_port, url
from serving.http.keys import id_of
from serving.partition import PART, folder
from training import registry

HOST = "127.0.0.1"
TOP = 10
SHOWN_REASONS = 3  # all five are in the file
SECONDS_TO_START = 180
TITLES = {
    "lead-conversion": "The ten best leads",
    "churn": "The ten customers most at risk",
    "upsell": "The ten best upsells",
}
_NOW = re.compile(r"^#? ?now = .*$", re.MULTILINE)


@dataclass(frozen=True)
class Demo:
    """One run: the command line's root, so that a command does exactly what it does when typed, and the folder to work in."""

    root: click.Command
    folder: Path

    def run(self, now: datetime, customers: int) -> None:
        """Go the whole way.

        Args:
            now: the day of the sample CRM's export; the demo itself takes place at its first instant.
            customers: how many customers the sample CRM has.

        Raises:
            WorkspaceError: the folder is a workspace with another adapter, which the demo must not touch.
            ForesellError: the service does not start or does not answer.
            click.exceptions.Exit: a command failed; it has said why.
        """
        _require_ours(self.folder)
        self._begin(now.replace(hour=0, minute=0, second=0, microsecond=0), customers)
        for command in ("ingest", "check", "snapshot"):
            self._type(command)
        self._type("train", "--all")
        workspace = Workspace.open(self.folder)
        for name in _promotable(workspace):
            self._type("promote", name)
        self._type("score")
        champions = with_champion(workspace)
        best = {name: _best(workspace, name) for name in TITLES if name in champions}
        self._serve(workspace, best)
        for name, scores in best.items():
            _print_best(TITLES[name], scores)
        self._say_where(workspace)

    def _begin(self, now: datetime, customers: int) -> None:
        """Make the export, and the workspace unless it is there."""
        export = self.folder / "data" / "export"
        with progress("sample CRM", customers) as tick:
            sample = make(export, now=now, customers=customers, tick=tick)
        step(f"sample CRM: {sum(sample.rows.values()):,} rows in {len(sample.rows)} files, as exported on {now:%Y-%m-%d}")
        settings = self.folder / SETTINGS_FILE
        if not settings.is_file():
            self._type("init", "--adapter", "sample", "--from", str(export))
        dated = _NOW.sub(f'now = "{now:%Y-%m-%d}"', settings.read_text(encoding="utf-8"), count=1)
        write_atomically(settings, dated.encode())

    def _type(self, *words: str) -> None:
        """Print a command as one would type it, and run it."""
        line = [*words, "--workspace", str(self.folder)]
        _print_typed("foresell", *line)
        self._run(line)

    def _run(self, line: Sequence[str]) -> None:
        code = self.root.main(list(line), prog_name="foresell", standalone_mode=False)
        if code:
            raise click.exceptions.Exit(int(code))

    def _serve(self, workspace: Workspace, best: Mapping[str, pd.DataFrame]) -> None:
        """Make a key, start the service, ask it about the first of every list, stop it; the key opens nothing afterwards."""
        secret = self._key()
        port = free_port(HOST)
        line = ["serve", "--workspace", str(self.folder), "--port", str(port)]
        _print_typed("foresell", *line)
        with _service(line, workspace.root / "data" / "serve.log", port):
            for name, scores in best.items():
                if len(scores):
                    _ask(url(HOST, port), name, scores.iloc[0], secret)
        step("service stopped")
        self._type("key", "revoke", str(id_of(secret)))

    def _key(self) -> str:
        """The secret of a new key; of what `foresell key create` prints only its beginning is shown."""
        line = ["key", "create", "--name", "demo", "--scope", "score", "--workspace", str(self.folder)]
        _print_typed("foresell", *line)
        with redirect_stdout(StringIO()) as printed:
            self._run(line)
        secret = printed.getvalue().strip()
        results().print(_hidden(secret), highlight=False)
        return secret

    def _say_where(self, workspace: Workspace) -> None:
        own = shlex.quote(str(self.folder))
        places = {
            "scores": str(workspace.scores),
            "reports": f"foresell report churn --open --workspace {own}",
            "MLflow UI": f"mlflow ui --workers 1 --backend-store-uri {registry.store_uri(workspace)}",
            "data docs": str(workspace.quality / "docs" / "index.html"),
            "an API key": f"foresell key create --name crm --scope score --workspace {own}",
            "API page": f"foresell serve --workspace {own}, then {url(HOST, 3000)}/docs",
            "true probabilities": str(workspace.root / "data" / "truth"),
        }
        results().print()
        for what, where in places.items():
            results().print(f"[bold]{what:<20}[/]{where}", highlight=False, soft_wrap=True)


def _require_ours(target: Path) -> None:
    if not (target / SETTINGS_FILE).is_file():
        return
    adapter = Workspace.open(target).settings.adapter
    if adapter != "sample":
        raise WorkspaceError(
            f"workspace {target}",
            expected="a new folder, or the workspace of an earlier demo",
            received=f"a workspace with the adapter {adapter!r}",
            repair="`foresell demo --workspace demo` leaves it alone",
        )


def _promotable(workspace: Workspace) -> Iterator[str]:
    """The propensities whose newest version passed its gates; of the others it is said why not."""
    for name in TITLES:
        if registry.newest_version(workspace, name) is None:
            continue
        document, _ = registry.report(workspace, name)
        failed = [gate["sentence"] for gate in document["gates"] if not gate["passed"]]
        if failed:
            step(f"{name} is not promoted: {' '.join(failed)}")
        else:
            yield name


def _best(workspace: Workspace, name: str) -> pd.DataFrame:
    """The ten highest scores of tonight's partition, with their reasons as stored."""
    scores = pd.read_parquet(folder(workspace, name, Catalog.load(workspace).now) / PART)
    return scores.sort_values(["probability", "entity_id"], ascending=[False, True]).head(TOP)


@contextmanager
def _service(line: Sequence[str], log: Path, port: int) -> Iterator[None]:
    """The service, running; its own words go into a file."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "foresell", *line], stdout=file, stderr=subprocess.STDOUT)
    try:
        _await_ready(process, f"{url(HOST, port)}/readyz", log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    with progress("starting the service", SECONDS_TO_START) as tick:
        for _ in range(SECONDS_TO_START):
            if process.poll() is not None or _answers(address):
                break
            time.sleep(1)
            tick(1)
    if process.poll() is not None or not _answers(address):
        raise ForesellError(
            "foresell serve",
            expected=f"an answer at {address} within {SECONDS_TO_START} seconds",
            received=log.read_text(encoding="utf-8", errors="replace")[-500:].strip() or "none",
            repair=f"start it yourself and see what it says; the whole log is {log}",
        )


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _ask(service: str, name: str, stored: pd.Series, secret: str) -> None:
    """Ask about one entity over HTTP, as a CRM would, and compare with the file."""
    body = json.dumps({"ids": [stored["entity_id"]]})
    address = f"{service}/v1/{name}"
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    shown = " ".join(f'-H "{header}: {value}"' for header, value in headers.items()).replace(secret, _hidden(secret))
    results().print(f"\n[bold]$ curl -s {address} {shown} -d '{body}'[/]", highlight=False, soft_wrap=True)
    request = urllib.request.Request(address, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)["scores"][0]
    results().print_json(data=answer)
    if answer["probability"] != stored["probability"]:
        raise ForesellError(
            f"{name} of {stored['entity_id']}",
            expected=f"the probability of tonight's file, {stored['probability']}",
            received=str(answer["probability"]),
            repair="run `foresell snapshot` to put tonight's features into the online store, then ask again",
        )


def _print_typed(*words: str) -> None:
    results().print(f"\n[bold]$ {escape(shlex.join(words))}[/]", highlight=False, soft_wrap=True)


def _hidden(secret: str) -> str:
    """The beginning of a key's secret, by which it can be told from others and which opens nothing."""
    return f"fs_{id_of(secret)}_..."


def _print_best(title: str, scores: pd.DataFrame) -> None:
    """A list as a rep would read it: who, how likely, what it is worth, and the strongest reasons."""
    console = results()
    console.print(f"\n[bold]{title}[/]")
    for place, row in enumerate(scores.to_dict("records"), start=1):
        worth = "" if pd.isna(row["expected_value"]) else f", worth {row['expected_value']:,.0f}"
        chance = f"score {row['score']} ({row['grade']}), probability {row['probability']:.0%}"
        console.print(f"{place:>2}. {row['entity_id']:<10} {chance}{worth}", highlight=False)
        for reason in row["reasons"][:SHOWN_REASONS]:
            mark = "[green]▲[/]" if reason["direction"] == "raises" else "[red]▼[/]"
            console.print(f"      {mark} {escape(reason['text'])}", highlight=False, soft_wrap=True)
