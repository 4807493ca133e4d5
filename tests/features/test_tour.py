"""`foresell init` writes a foresell.toml that shows every setting, and refuses what could not work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from features.errors import CallError, WorkspaceError
from features.settings import Settings, Workspace
from features.tour import init
from foresell import main
from tests.features.export_files import CUSTOMERS


def _export(folder: Path, name: str = "customers.csv") -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_text(CUSTOMERS)
    return folder


def test_the_tour_is_the_settings(tmp_path: Path) -> None:
    path = init(tmp_path / "w", "canonical", _export(tmp_path / "export"))
    assert Workspace.open(tmp_path / "w").settings == Settings.model_validate(tomllib.loads(path.read_text()))
    assert Workspace.open(tmp_path / "w").source == tmp_path / "export"


def test_the_tour_shows_every_setting_and_each_can_be_switched_on(tmp_path: Path) -> None:
    text = init(tmp_path / "w", "canonical", _export(tmp_path / "export")).read_text()
    switched_on = tomllib.loads(re.sub(r"^# (?=\[|\w+ += )", "", text, flags=re.MULTILINE))
    assert Settings.model_validate(switched_on)
    assert set(switched_on) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(switched_on[name]) == set(field.annotation.model_fields)


def test_an_export_inside_the_workspace_is_written_down_relative_to_it(tmp_path: Path) -> None:
    init(tmp_path, "canonical", _export(tmp_path / "export"))
    assert Workspace.open(tmp_path).settings.source == "export"


def test_a_workspace_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "foresell.toml").write_text("# mine\n")
    with pytest.raises(WorkspaceError, match="a workspace already"):
        init(tmp_path, "canonical", _export(tmp_path / "export"))
    assert (tmp_path / "foresell.toml").read_text() == "# mine\n"


def test_an_export_that_the_adapter_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"rename customer_s\.csv to customers"):
        init(tmp_path / "w", "canonical", _export(tmp_path / "export", "customer_s.csv"))
    with pytest.raises(CallError, match="no such folder"):
        init(tmp_path / "w", "canonical", tmp_path / "nowhere")
    assert not (tmp_path / "w").exists()


def test_the_commands_from_the_first_to_the_tables(tmp_path: Path) -> None:
    folder, workspace = _export(tmp_path / "export"), str(tmp_path / "w")
    begun = CliRunner().invoke(main, ["init", "--from", str(folder), "--workspace", workspace])
    assert begun.exit_code == 0, begun.output
    done = CliRunner().invoke(main, ["ingest", "--workspace", workspace])
    assert done.exit_code == 0 and "customers: 3 rows" in done.stderr
    again = CliRunner().invoke(main, ["ingest", "--workspace", workspace, "--json"])
    assert '"previous_rows": 3' in again.stdout and "customers: 3 rows, 3 last time" in again.stderr


@pytest.mark.parametrize(
    ("content", "code"), [(CUSTOMERS, 0), ("customer_id\nc1\n", 1), (None, 1)], ids=["done", "the work failed", "no export"]
)
def test_exit_codes_of_ingest(tmp_path: Path, content: str | None, code: int) -> None:
    folder = _export(tmp_path / "export")
    init(tmp_path / "w", "canonical", folder)
    (folder / "customers.csv").unlink() if content is None else (folder / "customers.csv").write_text(content)
    done = CliRunner().invoke(main, ["ingest", "--workspace", str(tmp_path / "w")])
    assert done.exit_code == code
    assert "Traceback" not in done.output


def test_a_wrong_call_exits_with_2(tmp_path: Path) -> None:
    folder, workspace = str(_export(tmp_path / "export")), str(tmp_path / "w")
    wrong = CliRunner().invoke(main, ["init", "--adapter", "olst", "--from", folder, "--workspace", workspace])
    assert (wrong.exit_code, "write `olist`" in wrong.stderr) == (2, True)
    assert CliRunner().invoke(main, ["ingest", "--workspace", workspace]).exit_code == 2


def test_a_workspace_whose_export_is_to_be_pulled_needs_none_yet(tmp_path: Path) -> None:
    path = init(tmp_path / "w", "odoo", None)
    text = path.read_text(encoding="utf-8")
    block = text[text.index("# [pull.odoo]") :].partition("\n\n")[0]
    path.write_text(text.replace(block, block.replace("# ", "")), encoding="utf-8")
    settings = Workspace.open(tmp_path / "w").settings
    assert settings.adapter == "odoo" and settings.pull["odoo"].of == "odoo"
    assert "source" not in settings.model_fields_set
