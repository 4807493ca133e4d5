"""`foresell serve`."""

from __future__ import annotations

import click

from features.console import step, workspace_option
from features.settings import Workspace


@click.command()
@workspace_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen at.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that answer side by side.")
def serve(workspace: Workspace, host: str, port: int, workers: int) -> None:
    """Answer the CRM over HTTP: POST /v1/PROPENSITY, one route for each propensity file, until Ctrl-C.

    With API keys off (`keys = "off"` in [serving]) it listens on the loopback only.

    \b
    Example:
      foresell serve --workspace W --port 3000
      curl -s localhost:3000/v1/churn -H 'Content-Type: application/json' -d '{"ids": ["C0001"]}'
    """
    from serving.address import require_free, require_loopback, url
    from serving.batch import with_champion

    if workspace.settings.serving.keys == "off":
        require_loopback(host)
    names = with_champion(workspace)
    require_free(host, port)
    step(f"starting to serve {', '.join(names)}; the API page will be {url(host, port)}/docs; Ctrl-C stops it")
    from serving.service import run

    run(workspace, host, port, workers)
