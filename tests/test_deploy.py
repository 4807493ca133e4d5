"""What is given to those who deploy, the profile, the container files and the dashboard, agrees with itself and with the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from features.settings import SETTINGS_FILE, Settings, Workspace
from foresell import main
from serving.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "docs" / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)")
METRIC = re.compile(r"\bforesell_\w+")


@pytest.fixture
def profile(tmp_path: Path) -> Workspace:
    (tmp_path / SETTINGS_FILE).write_bytes((DEPLOY / "production.toml").read_bytes())
    return Workspace.open(tmp_path)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def instructions() -> list[list[str]]:
    """The Containerfile's, continued lines joined."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def of_kind(kind: str) -> list[str]:
    return [rest for word, rest in instructions() if word == kind]


def test_the_image_copies_what_is_there_and_every_room() -> None:
    sources = [source for rest in of_kind("COPY") for source in rest.split()[:-1]]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {"features", "training", "serving", "foresell.py", "pyproject.toml", "requirements.lock"} <= set(sources)


def test_the_image_runs_a_command_that_there_is(profile: Workspace, services: dict[str, Any]) -> None:
    program, command = json.loads(of_kind("CMD")[0])
    assert program == "foresell" and command in main.commands
    assert of_kind("EXPOSE") == [str(profile.settings.serving.port)]
    assert services["mlflow"]["command"][:2] == ["mlflow", "server"]
    folder = dict(pair.split("=") for pair in shlex.split(of_kind("ENV")[0]))["FORESELL_WORKSPACE"]
    assert services["foresell"]["volumes"][0].endswith(f":{folder}") and of_kind("VOLUME") == [folder]


def test_compose_builds_from_the_file_that_is_there(services: dict[str, Any]) -> None:
    builds = [service["build"] for service in services.values() if "build" in service]
    assert builds and all((ROOT / build["context"] / build["dockerfile"]).is_file() for build in builds)


def test_compose_offers_every_host_port_and_database_of_the_profile(profile: Workspace, services: dict[str, Any]) -> None:
    settings = profile.settings
    addresses = (settings.store.online, settings.store.registry, settings.mlflow.tracking_uri, settings.serving.ledger)
    hosts = {re.sub(r".*[@/]", "", address.rpartition(":")[0]) for address in addresses}
    assert hosts == {"redis", "postgres", "mlflow"} and hosts < set(services) and set(services["foresell"]["depends_on"]) == hosts
    assert f"--port={settings.mlflow.tracking_uri.rpartition(':')[2]}" in services["mlflow"]["command"]
    assert services["foresell"]["ports"] == [f"127.0.0.1:{settings.serving.port}:{settings.serving.port}"]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    made = set(re.findall(r"create database (\w+);", compose["configs"]["databases"]["content"]))
    wanted = {address.rpartition("/")[2] for address in (settings.store.registry, settings.serving.ledger)}
    assert wanted | {"mlflow"} == made | {services["postgres"]["environment"]["POSTGRES_USER"]}


def test_compose_hands_on_every_secret_of_the_profile(services: dict[str, Any]) -> None:
    wanted = set(VARIABLE.findall((DEPLOY / "production.toml").read_text(encoding="utf-8")))
    assert wanted and wanted == set(services["foresell"]["environment"])
    assert all(value == f"${{{name}:?}}" for name, value in services["foresell"]["environment"].items())


def test_the_profile_is_meant_for_others_and_wants_keys(profile: Workspace) -> None:
    serving = profile.settings.serving
    assert (serving.host, serving.keys) == ("0.0.0.0", "required") and serving.workers > 1


def shown() -> set[str]:
    """Every metric in the dashboard's expressions."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    assert dashboard["title"] and dashboard["schemaVersion"] and len({panel["id"] for panel in dashboard["panels"]}) > 8
    return {name for panel in dashboard["panels"] for one in panel["targets"] for name in METRIC.findall(one["expr"])}


def told() -> set[str]:
    """Every sample that the service tells once it has answered, but the times at which counting began."""
    metrics = Metrics()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            metric.labels(*metric._labelnames)
    samples = {line.partition("{")[0].partition(" ")[0] for line in metrics.text().decode().splitlines() if line[0] != "#"}
    return {name for name in samples if not name.endswith("_created")}


def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    assert shown() - told() == set()


def test_the_dashboard_shows_every_metric() -> None:
    bare = re.compile(r"_(bucket|sum|count)$")
    assert {bare.sub("", name) for name in told()} - {bare.sub("", name) for name in shown()} == set()


def test_the_cron_line_runs_a_command_that_there_is() -> None:
    lines = (DEPLOY / "nightly.cron").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if re.match(r"[\d*]", line)]
    *times, user, command = line.split(maxsplit=6)
    assert re.fullmatch(r"\d+ \d+ \* \* \*", " ".join(times[:5])) and user and "%" not in line  # a % would end the command
    ran = re.search(r"/foresell (\w+) (--.*) >", command)
    assert ran and ran[1] in main.commands
    assert set(re.findall(r"--[\w-]+", ran[2])) <= {name for option in main.commands[ran[1]].params for name in option.opts}


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    own = {"/opt/foresell/.venv/bin/foresell": sys.executable, "User=foresell": "User=root"}
    for name in ("foresell-nightly.service", "foresell-nightly.timer"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        for theirs, here in own.items():
            text = text.replace(theirs, here)
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run([analyze, "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (calendar,) = re.findall(r"^OnCalendar=(.+)$", (DEPLOY / "foresell-nightly.timer").read_text(encoding="utf-8"), re.MULTILINE)
    there = {**os.environ, "TZ": "UTC"}
    told = subprocess.run([analyze, "calendar", calendar], env=there, capture_output=True, text=True, check=True).stdout
    assert re.search(r"Next elapse: .*02:15:00 UTC", told)


def test_the_cron_job_runs_the_image_on_the_workspace() -> None:
    job = yaml.safe_load((DEPLOY / "nightly-cronjob.yaml").read_text(encoding="utf-8"))
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    program, command, *options = container["command"]
    assert (job["kind"], job["spec"]["concurrencyPolicy"], program) == ("CronJob", "Forbid", "foresell")
    assert set(options) <= {name for option in main.commands[command].params for name in option.opts}
    folder = dict(pair.split("=") for pair in shlex.split(of_kind("ENV")[0]))["FORESELL_WORKSPACE"]
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == folder and [volume["name"] for volume in pod["volumes"]] == [mount["name"]]
    assert any("--uid 1000 " in rest for rest in of_kind("RUN")) and pod["securityContext"]["runAsUser"] == 1000
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"] and rule["onExitCodes"]["values"] == [2]


def test_operations_names_only_files_commands_and_settings_that_there_are() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links and [link for link in links if "://" not in link and not (ROOT / "docs" / link).exists()] == []
    named = set(re.findall(r"^(?:\$ )?foresell ([a-z-]+)|`foresell ([a-z-]+)", text, re.MULTILINE))
    assert {one or other for one, other in named} - set(main.commands) == set()
    keys = re.findall(r"`\[(\w+)\] (\w+)`", text)
    assert keys and [key for table, key in keys if key not in type(getattr(Settings(), table)).model_fields] == []
