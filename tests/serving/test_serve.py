"""`foresell serve`: what it takes from the settings, what it says before it serves, and how it starts without MLflow."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from features.errors import RegistryError
from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.answer import Call
from serving.http.address import free_port, listening, url
from serving.office import Office
from serving.reader import Ask
from tests.serving.running import running, until
from tests.serving.shop import NOW
from training import registry


def serve(workspace: Workspace, *words: str) -> Result:
    return CliRunner().invoke(main, ["serve", "--workspace", str(workspace.root), *words])


def with_settings(workspace: Workspace, text: str) -> Workspace:
    path = workspace.root / SETTINGS_FILE
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    return Workspace.open(workspace.root)


def test_the_host_of_the_settings_counts_for_the_loopback_rule(own: Workspace) -> None:
    open_to_all = with_settings(own, '[serving]\nkeys = "off"\nhost = "0.0.0.0"\n')
    result = serve(open_to_all)
    assert result.exit_code == 2 and "loopback" in result.stderr and "0.0.0.0" in result.stderr


@pytest.mark.parametrize("given", [(), ("--port",)], ids=["of the settings", "as an option"])
def test_the_port_is_that_of_the_settings_unless_it_is_given(own: Workspace, given: Sequence[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        settled = with_settings(own, f'[serving]\nkeys = "off"\nport = {free_port("127.0.0.1") if given else taken}\n')
        result = serve(settled, *(word for option in given for word in (option, str(taken))))
    assert result.exit_code == 1 and f"port {taken} of 127.0.0.1" in result.stderr


def test_it_says_that_nobody_gets_in_before_a_key_was_made(filled: Workspace) -> None:
    with running(filled, log(filled)) as service, service.client() as at:
        told = service.told()
        assert at.post("/v1/churn", json={"ids": ["C0001"]}).status_code == 401
        command = told.partition("nobody gets in yet: ")[2].splitlines()[0]
        made = CliRunner().invoke(main, [*command.split()[1:], "--json"])
        secret = json.loads(made.stdout)["secret"]
        headers = {"Authorization": f"Bearer {secret}"}
        until(lambda: at.post("/v1/churn", json={"ids": ["C0001"]}, headers=headers).status_code == 200)
    assert secret not in log(filled).read_text()


@pytest.mark.usefixtures("impatient")
def test_it_starts_without_mlflow_once_it_has_served_with_it(filled: Workspace) -> None:
    settled = with_settings(filled, '[serving]\nkeys = "off"\n')
    office = Office(settled)
    ((answer,),) = office.answer(["churn"], [Ask("C0001")], NOW, Call("1", None, "http"))
    before = json.loads(answer.document)
    office.stop()
    without = _without_mlflow(settled)
    with pytest.raises(RegistryError):
        registry.champion(without, "churn")
    with running(without, log(filled)) as service:
        (after,) = service.ask("churn", ids=["C0001"])
        assert service.post("upsell", ids=["C0001"]).status_code == 503
    same = ("score", "probability", "reasons", "model_version", "feature_as_of")
    assert [after[name] for name in same] == [before[name] for name in same] and before["score"] is not None
    assert "the versions that served last will" in log(filled).read_text()


@pytest.mark.usefixtures("impatient")
def test_without_mlflow_and_without_a_copy_it_says_what_is_missing(own: Workspace) -> None:
    result = serve(_without_mlflow(with_settings(own, '[serving]\nkeys = "off"\n')))
    assert result.exit_code == 1 and "tracking_uri" in result.stderr and "Traceback" not in result.output


def test_a_process_knows_where_it_listens() -> None:
    before = listening()
    with socket.socket() as deaf, socket.create_server(("127.0.0.3", 0)):
        deaf.bind(("127.0.0.4", 0))
        assert listening() - before == {"127.0.0.3"}
    assert listening() == before


def test_a_process_knows_where_a_socket_listens_that_it_was_given() -> None:
    code = "from serving.http.address import listening; print(sorted(listening()))"
    with socket.create_server(("127.0.0.5", 0)) as opened:
        told = subprocess.run(
            [sys.executable, "-c", code], pass_fds=[opened.fileno()], capture_output=True, text=True, check=True
        )
    assert told.stdout.strip() == "['127.0.0.5']"


def log(workspace: Workspace) -> Path:
    return workspace.root / "log"


def _without_mlflow(workspace: Workspace) -> Workspace:
    """The same workspace, with a tracking server that does not listen."""
    path = workspace.root / SETTINGS_FILE
    away = f'tracking_uri = "{url("127.0.0.1", free_port("127.0.0.1"))}"'
    lines = [away if line.startswith("tracking_uri") else line for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Workspace.open(workspace.root)
