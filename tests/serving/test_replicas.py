"""Two instances behind nginx, with the documented settings: either may be killed under load, and nobody who asks notices."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import HOST, Server, redis_cluster
from features.settings import REPOSITORY, Workspace
from serving.http.address import free_port, url
from tests.conftest import NGINX
from tests.servers import POSTGRES, database
from tests.serving.running import SERVE, Load, copied, is_ready, probabilities, until, wrong

pytestmark = [pytest.mark.slow, pytest.mark.nginx, pytest.mark.postgres, pytest.mark.redis]
CONFIGURATION = REPOSITORY / "docs" / "deploy" / "nginx.conf"
AROUND = """
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {inner}
}}
"""


@pytest.fixture
def workspace(shop: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The shop, with its records in a Redis Cluster and its ledger in PostgreSQL."""
    with redis_cluster(tmp_path / "redis") as nodes, database("replicas") as name:
        address = "redis+cluster://" + ",".join(node.address.removeprefix("redis://") for node in nodes)
        yield copied(shop, tmp_path / "workspace", serving=f'ledger = "{POSTGRES}/{name}"', online=address)


def instance(workspace: Workspace, folder: Path) -> Server:
    """One more service of a workspace; what it prints is in the folder."""
    folder.mkdir()
    port = free_port(HOST)
    address = url(HOST, port)
    command = [*SERVE, "--workspace", str(workspace.root), "--port", str(port)]
    return Server(command, folder, address, lambda: is_ready(address))


def nginx(folder: Path, instances: Sequence[Server]) -> Server:
    """A real nginx with the documented settings, but for addresses and the certificate's place."""
    folder.mkdir()
    certificate, key, port = folder / "certificate.pem", folder / "key.pem", free_port(HOST)
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={HOST}"]
    extra = ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *extra], check=True, capture_output=True)
    text = CONFIGURATION.read_text(encoding="utf-8")
    for there, here in {
        "10.0.0.11:3000": instances[0].address.removeprefix("http://"),
        "10.0.0.12:3000": instances[1].address.removeprefix("http://"),
        "listen 443": f"listen {HOST}:{port}",
        "/etc/nginx/tls/foresell.pem": str(certificate), "/etc/nginx/tls/foresell.key": str(key),
    }.items():  # fmt: skip
        assert there in text
        text = text.replace(there, here)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, inner=text), encoding="utf-8")
    own = "user root;" if os.getuid() == 0 else ""  # nobody else reads what a test of root's writes
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", f"daemon off; {own}"]
    return Server(command, folder, f"https://{HOST}:{port}", lambda: _listens(port))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def answered(folder: Path) -> int:
    """How many requests an instance has answered, as its log tells."""
    return len(re.findall(r'^\{"at"', (folder / "servers.log").read_text(encoding="utf-8"), re.MULTILINE))


def test_either_of_two_instances_may_be_killed_and_nobody_who_asks_notices(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nginx" / "certificate.pem"))
    said = probabilities(workspace, "churn", ["1"])
    with ExitStack() as stack:
        folders = [tmp_path / "first", tmp_path / "second"]
        instances = [stack.enter_context(instance(workspace, folder)) for folder in folders]
        proxy = stack.enter_context(nginx(tmp_path / "nginx", instances))
        with Load(proxy.address, sorted(said["1"]), callers=6, pause=0.01) as load:
            for gone, other in ((0, 1), (1, 0)):
                until(lambda: min(map(answered, folders)) > 100)
                instances[gone].kill()
                before = answered(folders[other])
                until(lambda other=other, before=before: answered(folders[other]) > before + 200)
                at_its_end = answered(folders[gone])
                instances[gone].start()
                until(lambda gone=gone, at_its_end=at_its_end: answered(folders[gone]) > at_its_end + 50)
        until(lambda: stored(instances[0]) == stored(instances[1]) != {})
    assert load.lost == [] and wrong(load.answers, said) == [] and len(load.answers) > 700
    assert "upstream" in (tmp_path / "nginx" / "error.log").read_text()  # it met the one that was gone


def stored(service: Server) -> dict[str, Any]:
    """The last score of a customer, as one of the instances tells it."""
    scores = httpx.get(f"{service.address}/v1/scores/customer/C0001", timeout=30).json()["scores"]
    return next((one for one in scores if one["propensity"] == "churn"), {})
