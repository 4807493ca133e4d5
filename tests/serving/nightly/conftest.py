"""A shop that has an export, so that a night has all its steps, and what a night leaves, to be compared with another's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.settings import SETTINGS_FILE, Workspace
from training import registry

SETTINGS = """
adapter = "canonical"
source = "export"
now = "2018-05-15"
[attributes.leads]
origin = { fixed = true, meaning = "origin" }
budget = { type = "number", fixed = true }
[store]
project = "night"
[mlflow]
"""
Nights = Callable[..., Workspace]


@pytest.fixture(scope="session")
def nights(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Makes workspaces in which no night has run yet; the models are the shop's."""
    export = tmp_path_factory.mktemp("export")
    for path in (shop.tables / "world").glob("*.parquet"):
        pd.read_parquet(path).drop(columns="known_until").to_parquet(export / path.name, index=False)

    def make(root: Path, nightly: str = "", **settings: Any) -> Workspace:
        shutil.copytree(export, root / "export")
        text = f'{SETTINGS}tracking_uri = "{registry.store_uri(shop)}"\n[nightly]\n{nightly}\n'
        for old, new in settings.items():
            text = text.replace(f"[{old}]\n", f"[{old}]\n{new}\n")
        (root / SETTINGS_FILE).write_text(text, encoding="utf-8")
        return Workspace.open(root)

    return make


@pytest.fixture
def workspace(nights: Nights, tmp_path: Path) -> Workspace:
    return nights(tmp_path / "night")
