"""A Redis Cluster: each command goes to the node that holds its key, and follows a key that has moved.

redis-py's own pipeline for clusters took 4 to 10 times as long, measured with 20 and with 1,000 look-ups.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from features import storage
from features.pipeline import Pipeline
from features.settings import Workspace

Node = tuple[str, int]
SLOTS = 16_384
TRIES = 2
_WHO_HOLDS_WHAT = b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"
_ASKING = b"*1\r\n$6\r\nASKING\r\n"


def redis_of(workspace: Workspace, deadline: timedelta | None) -> Pipeline | Cluster:
    """The Redis of a workspace, one server or a cluster; it connects when it is first asked.

    Args:
        workspace: whose `[store] online` is not `sqlite`.
        deadline: how long one question may take, connecting included; None for the patience of a batch.

    Raises:
        WorkspaceError: `[store] online` is no Redis address.
    """
    options = storage.redis_options(workspace, deadline)
    if storage.is_cluster(workspace):
        return Cluster(storage.redis_nodes(workspace), options, deadline)
    return Pipeline(options, deadline)


class Cluster:
    """Nodes that share the keys among them; which one holds what is learned from any of them, and again when that has changed.

    The nodes of one question are asked one after the other.
    """

    def __init__(self, nodes: Sequence[Node], options: dict[str, Any], deadline: timedelta | None) -> None:
        """Take some of the nodes and the options of a redis-py client; nothing is connected yet."""
        self._nodes, self._options, self._deadline = nodes, options, deadline
        self._pipelines: dict[Node, Pipeline] = {}
        self._holders: list[Node | None] = []

    def ask(self, keys: Sequence[bytes], commands: Sequence[bytes]) -> list[Any]:
        """The answer to each command, in the same order.

        Args:
            keys: what each command is about.
            commands: such as may be done twice.

        Raises:
            RedisError: a node does not answer in time, or refuses a command; others may have been done by then.
        """
        from redis import ConnectionError as Closed
        from redis.exceptions import MovedError, RedisError

        ends = time.monotonic() + self._deadline.total_seconds() if self._deadline else float("inf")
        found: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        moved: dict[int, Node] = {}
        for _ in range(TRIES):
            self._ask(left, keys, commands, found, ends, moved)
            left = [place for place in left if isinstance(found[place], (MovedError, Closed))]
            if not left:
                break
            self._holders = []
            told = [(place, found[place]) for place in left if isinstance(found[place], MovedError)]
            moved = {place: (answer.host, answer.port) for place, answer in told if answer.host}
        for answer in found:
            if isinstance(answer, RedisError):
                raise answer
        return found

    def _ask(
        self,
        places: Iterable[int],
        keys: Sequence[bytes],
        commands: Sequence[bytes],
        found: list[Any],
        ends: float,
        moved: Mapping[int, Node],
    ) -> None:
        """Fill in what is found at these places, each an answer or why there is none."""
        from redis import ConnectionError as Closed
        from redis import TimeoutError

        for node, held in self._by_node(places, keys, moved).items():
            try:
                answers: Sequence[Any] = self._pipeline(node).answers([commands[place] for place in held])
            except Closed as gone:
                answers = [gone] * len(held)
            except TimeoutError:
                self._holders = []  # another node may hold its keys by now
                raise
            for place, answer in zip(held, answers, strict=True):
                found[place] = self._followed(answer, commands[place]) if isinstance(answer, Exception) else answer
            if time.monotonic() > ends:
                raise TimeoutError(f"the time was up after node {node[0]}:{node[1]}")

    def _by_node(self, places: Iterable[int], keys: Sequence[bytes], moved: Mapping[int, Node]) -> dict[Node, list[int]]:
        """Places by who holds them; who was told to hold a key by the node that did is believed before all others."""
        from redis.crc import key_slot
        from redis.exceptions import ClusterDownError

        holders = self._holders or self._learned()
        found: dict[Node, list[int]] = defaultdict(list)
        for place in places:
            node = moved.get(place) or holders[slot := key_slot(keys[place])]
            if node is None:
                raise ClusterDownError(f"no node holds slot {slot}")
            found[node].append(place)
        return found

    def _followed(self, answer: Exception, command: bytes) -> Any:
        """The refusal, or the answer of the node to which the key is just being moved."""
        from redis.exceptions import AskError, MovedError

        if isinstance(answer, AskError) and not isinstance(answer, MovedError):
            return self._pipeline((answer.host, answer.port)).answers([_ASKING, command])[1]
        return answer

    def _learned(self) -> list[Node | None]:
        """Who holds each slot, from the first node that tells."""
        from redis import RedisError

        for node in dict.fromkeys([*self._nodes, *self._pipelines]):
            try:
                (told,) = self._pipeline(node).ask([b""], [_WHO_HOLDS_WHAT])
            except RedisError as problem:
                failure = problem
                continue
            holders: list[Node | None] = [None] * SLOTS
            for first, last, (host, port, *_), *_ in told:
                holders[first : last + 1] = [(host.decode() if host else node[0], port)] * (last + 1 - first)
            self._holders = holders
            return holders
        raise failure

    def _pipeline(self, node: Node) -> Pipeline:
        if node not in self._pipelines:
            host, port = node
            self._pipelines[node] = Pipeline({**self._options, "host": host, "port": port}, self._deadline)
        return self._pipelines[node]
