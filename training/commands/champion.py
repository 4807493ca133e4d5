"""`foresell promote`: which version serves."""

from __future__ import annotations

import click

from features.console import emit, json_option, step, workspace_option
from features.settings import Workspace

version_option = click.option("--version", default=None, help="This version; without it, the newest.")


@click.command()
@click.argument("propensity")
@version_option
@workspace_option
@json_option
def promote(propensity: str, version: str | None, workspace: Workspace, as_json: bool) -> None:
    """Let a version serve, if it passed every gate; without --version the newest.

    A service that is running keeps its version until it is started again.

    \b
    Example:
      foresell promote churn --workspace W
      foresell promote churn --version 3 --workspace W
    """
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    before = registry.champion_version(workspace, propensity)
    promoted = registry.promote(workspace, propensity, version)
    replaced = f", in place of version {before}" if before not in (None, promoted) else ""
    step(f"{propensity}: version {promoted} serves{replaced}; a running `foresell serve` takes it up when it is started again")
    if as_json:
        emit({"propensity": propensity, "champion": promoted, "before": before})
