"""Law 8: the documentation is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from features.operation import NightlySettings
from features.propensity import Choice, Gates, Grades, Outcome, Phrases, Propensity, Tuning, Value
from features.settings import (
    Attribute,
    DuckdbSettings,
    External,
    IngestSettings,
    MlflowSettings,
    Settings,
    StoreSettings,
)
from features.sources.settings import AnySource, SqlTable
from features.target import Kinds

ROOT = Path(__file__).resolve().parent.parent
BUILD = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
assert BUILD and BUILD.loader
build = importlib.util.module_from_spec(BUILD)
BUILD.loader.exec_module(build)

MODELS = (
    Settings, IngestSettings, NightlySettings, StoreSettings, MlflowSettings, DuckdbSettings, Attribute, External,
    Propensity, Outcome, Value, Choice, Tuning, Gates, Grades, Phrases, *get_args(Kinds),
    *get_args(get_args(AnySource)[0]), SqlTable,
)  # fmt: skip


@pytest.mark.parametrize("page", sorted(build.pages()))
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == build.pages()[page], "run `make docs`"


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_described(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_command_has_help_and_an_example() -> None:
    for path, command in build._walk(build.main, "foresell"):
        assert command.help, path
        assert "Example" in command.help and path in command.help, path
        assert all(getattr(option, "help", "") for option in command.params if option.param_type_name == "option"), path
