"""`foresell serve`."""

from __future__ import annotations

import click

from features.console import note, step, workspace_option
from features.settings import Workspace


@click.command()
@workspace_option
@click.option("--host", help="The address to listen at.  [default: `host` in [serving], 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen at.  [default: `port` in [serving], 3000]")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes that answer side by side.  [default: `workers` in [serving], 1]"
)
def serve(workspace: Workspace, host: str | None, port: int | None, workers: int | None) -> None:
    """Answer the CRM over HTTP: POST /v1/PROPENSITY, one route for each propensity file, until Ctrl-C.

    Callers need an API key, which `foresell key create` makes. With keys off (`keys = "off"` in [serving]) it listens on the
    loopback only. While MLflow cannot be reached it starts with the versions that served last.

    \b
    Example:
      foresell key create --name crm --scope score --workspace W
      foresell serve --workspace W --port 3000
      curl -s localhost:3000/v1/churn -H 'Authorization: Bearer fs_...' -H 'Content-Type: application/json' \\
           -d '{"ids": ["C0001"]}'
    """
    from serving.http.address import require_free, require_loopback, url

    settings = workspace.settings.serving
    host, port = host or settings.host, port or settings.port
    if settings.keys == "off":
        require_loopback(host)
    names = _to_serve(workspace)
    require_free(host, port)
    _tell_of_keys(workspace)
    step(f"starting to serve {', '.join(names)}; the API page will be {url(host, port)}/docs; Ctrl-C stops it")
    from serving.service import run

    run(workspace, host, port, workers or settings.workers)


def _to_serve(workspace: Workspace) -> list[str]:
    """The propensities with a champion, or those that have served here, where MLflow cannot say.

    Raises:
        RegistryError: there is none.
    """
    from features.errors import RegistryError
    from features.propensity import propensity_files
    from serving.batch import with_champion
    from serving.copies import last_champion
    from training.registry import standing

    names = sorted(propensity_files(workspace.root, workspace.settings))
    try:
        standing(workspace, names)
    except RegistryError as problem:
        found = [name for name in names if last_champion(workspace, name)]
        if not found:
            raise
        note(f"{problem.where} does not answer; the versions that served last will")
        return found
    return list(with_champion(workspace))


def _tell_of_keys(workspace: Workspace) -> None:
    from serving.http import keys

    if workspace.settings.serving.keys == "required" and not keys.load(workspace):
        note(f"no API key was ever made, so nobody gets in yet: {COMMAND} --workspace {workspace.root}")


COMMAND = "foresell key create --name crm --scope score"
