"""`foresell rebuild`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from features.console import emit, json_option, progress, results, step, workspace_option
from features.settings import Workspace
from training.commands.champion import version_option

if TYPE_CHECKING:
    from training.rebuild import Rebuilt


@click.command()
@click.argument("propensity")
@version_option
@workspace_option
@json_option
@click.pass_context
def rebuild(ctx: click.Context, propensity: str, version: str | None, workspace: Workspace, as_json: bool) -> None:
    """Train a version again from what it was made from, and prove it equal to the last bit or say what moved.

    Its dates, its propensity and its seeds are the recorded ones, the tables those of the workspace. Nothing is registered. Exit
    code 1 where the model, its contract or a single probability is another.

    \b
    Example:
      foresell rebuild churn --workspace W
      foresell rebuild churn --version 3 --workspace W --json
    """
    from features.propensity import file_of
    from training.rebuild import rebuild as rebuild_version

    file_of(workspace, propensity)
    rebuilt = rebuild_version(workspace, propensity, version, progress)
    if as_json:
        emit({"equal": rebuilt.equal, **asdict(rebuilt)})
    else:
        _print(rebuilt)
    ctx.exit(0 if rebuilt.equal else 1)


def _print(rebuilt: Rebuilt) -> None:
    named = f"{rebuilt.propensity} version {rebuilt.version}"
    console = results()
    if rebuilt.equal:
        step(f"{named}: rebuilt; the model, its contract and {rebuilt.rows:,} probabilities are equal to the last bit")
    else:
        console.print(f"[red]{named} is not what it was[/]: {'; '.join(_differences(rebuilt))}", highlight=False, soft_wrap=True)
        if not rebuilt.moved:
            console.print("nothing that was recorded has moved", highlight=False)
    for sentence in rebuilt.moved:
        console.print(f"  moved  {sentence}", highlight=False, soft_wrap=True, markup=False)


def _differences(rebuilt: Rebuilt) -> list[str]:
    rows = f"of {rebuilt.rows:,} probabilities"
    counted = (
        f"{rebuilt.different:,} {rows} are others, by at most {rebuilt.largest:.2g}" if rebuilt.different is not None else ""
    )
    return [
        *([f"other text in {', '.join(rebuilt.files)}"] if rebuilt.files else []),
        *([f"another contract in {', '.join(rebuilt.contract)}"] if rebuilt.contract else []),
        counted or f"the registered model lacks columns to give any {rows}",
    ]
