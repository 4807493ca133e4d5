"""What the standard `feast` command reads: the declarations of the workspace whose feature_store.yaml is in force.

cd features/repo
feast apply                                                    # the repository as workspace
feast -f ../../WORKSPACE/data/store/feature_store.yaml apply   # any other; `foresell snapshot` writes that file
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from features.repo.schema import objects
from features.settings import Workspace
from features.storage import FEAST_YAML, workspace_of


def _workspace() -> Workspace:
    context = click.get_current_context(silent=True)
    in_force = Path(context.obj["FS_YAML_FILE"]) if context else Path(__file__).with_name(FEAST_YAML)
    workspace, wanted = workspace_of(in_force), os.environ.get("FORESELL_WORKSPACE")
    if wanted and Path(wanted).resolve() != workspace.root:
        sys.exit(
            f"FORESELL_WORKSPACE is {wanted}; tell Feast so too: feast -f {Path(wanted) / 'data' / 'store' / FEAST_YAML} ..."
        )
    workspace.store.mkdir(parents=True, exist_ok=True)  # SQLite makes a file, but not its folder
    return workspace


globals().update({f"declared_{number}": declared for number, declared in enumerate(objects(_workspace()))})
