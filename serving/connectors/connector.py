"""The connector: what the core asks of every target, and how a target says that something was not taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from serving.connectors.change import Change


@dataclass(frozen=True, slots=True)
class Record:
    """One change as a target takes it: its own fields with plain values, None where there is nothing."""

    change: Change
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.change.entity_id

    @property
    def propensity(self) -> str:
        return self.change.propensity


class Rejection(NamedTuple):
    """A record that the target did not take, and why.

    Attributes:
        id: of the record.
        error: the target's words.
        cause: `refused`, for what it is; `gone`, the target has no such record; `locked`, somebody else has it just now, so that
            it is to be sent again.
    """

    id: str
    error: str
    cause: Literal["refused", "gone", "locked"] = "refused"


class Call(NamedTuple):
    """A call as it would be made, without whatever is secret."""

    method: str
    address: str
    body: Any


class Connector(Protocol):
    """One target.

    Attributes:
        limit: records that one chunk may have.
        groups: whether records with equal values go together, in one call for all of them.
    """

    limit: int
    groups: bool

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The calls that `send` would make; nothing is sent."""
        ...

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Send records of one propensity, each id once; sending them again changes nothing.

        Returns:
            The records that were not taken; all others were.

        Raises:
            Refused: nothing, or nobody knows what, was taken, because of what was sent: halves may be.
            Busy: the target cannot answer now, or is broken.
            Denied: the target lets nobody in.
        """
        ...

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What the target holds now, by id: at least the fields that are written. Those it does not know are left out.

        Raises:
            Refused, Busy, Denied: as `send`.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
