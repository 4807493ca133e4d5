"""A Redis Cluster as the online store: keys are read where they are, where they go, and after the node that held them is gone."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import MovedError

from benchmarks.servers import Server, redis, redis_cluster
from features import storage, store, wire
from features.cluster import SLOTS, Cluster
from features.errors import StoreError
from features.record import encode
from features.settings import Workspace
from features.upsert import upsert_of
from tests.features.test_lookup import LAYOUT, given_up
from tests.features.test_store import MICROSECOND, T, drop, minutes, put, world_of
from tests.features.test_upsert import IDS, feasts
from tests.serving.running import until

pytestmark = pytest.mark.redis
PEOPLE = [f"C{number}" for number in range(300)]
TAGS = ["{a}", "x{a}y", "{}", "}{", "{"]  # a cluster places a key by what is in braces
DEADLINE = timedelta(seconds=2)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=1) as made:
        yield made


@pytest.fixture
def world(nodes: list[Server], tmp_path: Path) -> Iterator[Workspace]:
    made = world_of(tmp_path, f"redis+cluster://{','.join(map(place, nodes[:2]))}", "a")
    store.apply(made)
    yield made
    drop(made)


def place(node: Server) -> str:
    return node.address.removeprefix("redis://")


def key(world: Workspace, entity_id: str) -> bytes:
    return wire.redis_key(storage.project(world), "customer", entity_id)


def holder(world: Workspace, nodes: list[Server], entity_id: str) -> Server:
    """The node that answers for an entity now, as somebody tells who does answer."""
    slot, by_place = key_slot(key(world, entity_id)), {place(node): node for node in nodes}
    for node in nodes:
        try:
            with Redis.from_url(node.address, socket_timeout=1) as client:
                for first, last, (host, port, *_), *_ in client.cluster("SLOTS"):
                    if first <= slot <= last:
                        return by_place[f"{host.decode()}:{port}"]
        except OSError:
            continue
    raise AssertionError("nobody holds it")


def named(node: Server) -> str:
    with Redis.from_url(node.address) as client:
        return str(client.cluster("MYID").decode())


def test_feast_reads_what_is_written_and_writes_what_is_read_on_every_node(world: Workspace, nodes: list[Server]) -> None:
    asked = [*IDS, *TAGS, *PEOPLE]
    values = pd.DataFrame({"usage_minutes": [float(number) for number in range(len(asked))]})
    packed = dict(zip(asked, encode(LAYOUT, T, values), strict=True))
    online = store.Online(world, DEADLINE)
    assert online.put("customer", T, [packed]).written == len(asked)
    assert {node.address for node in nodes if holds(node)} == {holder(world, nodes, one).address for one in PEOPLE}
    feast = online._feast.get_online_features(["customer_record:record"], [{"customer_id": one} for one in [*asked, "nobody"]])
    assert online.read_packed("customer", [*asked, "nobody"]) == feast.to_dict()["record"] == [*packed.values(), None]
    theirs = [
        (message, {wire.RECORD: value}, T + MICROSECOND, None)
        for message, value in (feasts("customer", one, one.encode() * 3) for one in TAGS)
    ]
    online._feast.provider.online_store.online_write_batch(online._feast.config, online._views["customer"], theirs, None)
    assert online.read_packed("customer", TAGS) == [one.encode() * 3 for one in TAGS]


def holds(node: Server) -> int:
    """How many keys a node answers for."""
    with Redis.from_url(node.address) as client:
        return int(client.dbsize()) if client.role()[0] == b"master" else 0


def test_a_key_is_found_while_its_slot_is_being_moved_and_after(world: Workspace, nodes: list[Server]) -> None:
    put(world, T, a=1.0)
    online = store.Online(world, DEADLINE)
    assert minutes(online, "a", "b") == [1.0, None]
    source = holder(world, nodes, "a")
    target = next(node for node in nodes if node is not source and is_primary(node))
    slot = key_slot(key(world, "a"))
    with Redis.from_url(source.address) as here, Redis.from_url(target.address) as there:
        there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", named(source))
        here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", named(target))
        assert minutes(online, "a") == [1.0]
        host, port = place(target).split(":")
        here.migrate(host, int(port), key(world, "a"), 0, 5_000)
        assert minutes(online, "a", "b") == [1.0, None]
        upsert_of(world).write(
            "customer", T, list(zip("a", encode(LAYOUT, T, pd.DataFrame({"usage_minutes": [2.0]})), strict=True))
        )
        for client in (there, here):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", named(target))
        assert here.keys(key(world, "a")) == []
    assert minutes(online, "a") == [2.0] and holder(world, nodes, "a") is target


def is_primary(node: Server) -> bool:
    with Redis.from_url(node.address) as client:
        return bool(client.role()[0] == b"master")


def test_nobody_who_asks_notices_that_the_keys_are_spread_anew(world: Workspace, nodes: list[Server]) -> None:
    put(world, T, **{one: float(number) for number, one in enumerate(PEOPLE)})
    online, expected = store.Online(world), [float(number) for number in range(len(PEOPLE))]
    primaries = [node for node in nodes if is_primary(node)]
    ended, found = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            found.append(answers(online) == expected)

    thread = threading.Thread(target=ask)
    thread.start()
    command = ["redis-cli", "--cluster", "reshard", place(primaries[0]), "--cluster-from", named(primaries[0]), "--cluster-to"]
    subprocess.run([*command, named(primaries[1]), "--cluster-slots", "2000", "--cluster-yes"], check=True, capture_output=True)
    until(lambda: len(found) > 10)
    ended.set()
    thread.join()
    assert set(found) == {True}


def test_a_node_that_gave_a_key_away_is_believed_before_one_that_has_not_heard_of_it() -> None:
    class Node:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def ask(self, keys: Sequence[bytes], commands: Sequence[bytes]) -> list[object]:
            return [[[0, SLOTS - 1, [b"127.0.0.1", 1, b"the old one"]]]]

        def answers(self, commands: Sequence[bytes]) -> list[object]:
            return [self.answer for _ in commands]

    made = Cluster([("127.0.0.1", 1)], {}, None)
    made._pipelines = {("127.0.0.1", 1): Node(MovedError("7 127.0.0.1:2")), ("127.0.0.1", 2): Node(b"found")}  # type: ignore[dict-item]
    assert made.ask([b"a", b"b"], [b"first", b"second"]) == [b"found"] * 2


def test_a_node_may_hang_or_die_and_its_replica_answers(world: Workspace, nodes: list[Server]) -> None:
    put(world, T, **{one: float(number) for number, one in enumerate(PEOPLE)})
    online, expected = store.Online(world, DEADLINE), [float(number) for number in range(len(PEOPLE))]
    first = holder(world, nodes, "C7")
    with Redis.from_url(first.address) as client:
        assert client.wait(1, 10_000) == 1  # a replica has it too
    first.signal(signal.SIGSTOP)
    given_up(lambda: online.read("customer", ["C7"]), "Timeout")
    until(lambda: answers(online) == expected)
    first.signal(signal.SIGCONT)
    second = holder(world, nodes, "C7")
    assert second is not first
    until(lambda: replicates(first, second))
    second.kill()
    given_up(lambda: online.read("customer", ["C7"]), "refused|closed|reset")
    until(lambda: answers(online) == expected)
    put(world, T + MICROSECOND, C7=7.5)
    assert minutes(online, "C7") == [7.5]
    second.start()
    until(lambda: replicates(second, first))


def answers(online: store.Online) -> list[float | None] | None:
    try:
        return minutes(online, *PEOPLE)
    except StoreError:
        return None


def replicates(replica: Server, primary: Server) -> bool:
    with Redis.from_url(replica.address) as client:
        role = client.role()
    return bool(role[0] == b"slave" and str(role[2]) == place(primary).split(":")[1] and role[3] == b"connected")


def test_one_of_the_named_nodes_is_enough(nodes: list[Server], tmp_path: Path) -> None:
    made = world_of(tmp_path, f"redis+cluster://127.0.0.1:1,{place(nodes[2])}", "a")
    storage.remember_entities(made, ["customer"])
    assert minutes(store.Online(made, DEADLINE), "nobody") == [None]


def test_a_redis_that_is_no_cluster_says_so(tmp_path: Path) -> None:
    with redis(tmp_path) as one:
        made = world_of(tmp_path, f"redis+cluster://{place(one)}", "a")
        storage.remember_entities(made, ["customer"])
        with pytest.raises(StoreError, match="cluster support disabled"):
            store.Online(made, DEADLINE).ping("customer")
