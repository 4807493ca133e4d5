"""The policy: who gets no score, whatever a model would say, who is acted on, whatever a score says, and whom a canary takes.

Held out are a stable share of the entities, so that what acting on scores is worth can be measured against them. Suppressed are
those who have objected or not consented, as the workspace's conditions over snapshot columns tell. Explored are a share of those
who have a score, drawn anew every week for each propensity, so that segments that scores disfavour can prove themselves. All of
this holds on every road: over HTTP, after a webhook and in the nightly batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from features.condition import Condition, is_missing
from features.errors import WorkspaceError, nearest
from features.operation import PolicySettings

Held = Literal["holdout", "suppressed"]


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why an entity gets no score: the kind, and a sentence."""

    kind: Held
    why: str


class Policy:
    """The policy of one entity kind, with its conditions parsed."""

    def __init__(self, settings: PolicySettings, entity: Literal["lead", "customer"]) -> None:
        """Read the settings.

        Raises:
            CallError: a condition cannot be parsed.
        """
        self.entity, self._holdout, self._exploration = entity, settings.holdout, settings.exploration
        self.conditions = tuple(Condition.parse(text) for text in settings.suppress.get(entity, ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The snapshot columns it looks at."""
        return tuple(dict.fromkeys(condition.column for condition in self.conditions))

    def require_columns(self, known: Iterable[str]) -> None:
        """See to it that nobody is scored because a column is misspelt.

        Raises:
            WorkspaceError: a condition names a column that no view of the entity has.
        """
        names = list(known)
        for condition in self.conditions:
            if condition.column not in names:
                near = nearest(condition.column, names)
                raise WorkspaceError(
                    f"[policy.suppress] {self.entity} in foresell.toml",
                    expected=f"conditions over columns of a {self.entity}'s snapshot",
                    received=f"`{condition}`",
                    repair=f"did you mean `{near}`?" if near else "`foresell features list` shows which columns there are",
                )

    @property
    def holds_out(self) -> bool:
        """Whether anybody is held out."""
        return bool(self._holdout)

    def is_held_out(self, entity_id: str | None) -> bool:
        """Whether an entity belongs to the stable share that is never scored for action."""
        return self.holds_out and bool(entity_id) and share(f"holdout:{self.entity}:{entity_id}") < self._holdout

    @property
    def explores(self) -> bool:
        """Whether anybody is explored."""
        return bool(self._exploration)

    def is_explored(self, propensity: str, entity_id: str | None, at: datetime) -> bool:
        """Whether an entity that has a score is to be acted on though the score does not say so, in the week of an instant.

        Each propensity draws others: who was acted on for everything at once would show the worth of none.
        """
        key = f"explore:{self.entity}:{propensity}:{week(at)}:{entity_id}"
        return self.explores and bool(entity_id) and share(key) < self._exploration

    def withheld(self, entity_id: str | None, row: Mapping[str, object]) -> Withheld | None:
        """Why an entity gets no score; None if it may have one. Objection comes first: it is the person's own word.

        Args:
            entity_id: None for a newcomer without an id, who is in no holdout.
            row: the values of at least `columns`.
        """
        return self._first(self.conditions, entity_id, row)

    def surely_withheld(self, entity_id: str | None, row: Mapping[str, object]) -> Withheld | None:
        """As `withheld`, of a row that may lack some of `columns`: None, too, where what is there does not decide."""
        return self._first([one for one in self.conditions if one.column in row], entity_id, row)

    def objection(self, row: Mapping[str, object]) -> str | None:
        """Why an entity gets no score by what it said itself: None, too, where a condition holds for want of any word."""
        said = (one for one in self.conditions if not is_missing(row.get(one.column)) and one.holds(row))
        return next((self._why(condition) for condition in said), None)

    def _why(self, condition: Condition) -> str:
        return f"no score may be given of this {self.entity}: {condition}"

    def _first(self, conditions: Iterable[Condition], entity_id: str | None, row: Mapping[str, object]) -> Withheld | None:
        for condition in conditions:
            if condition.holds(row):
                return Withheld("suppressed", self._why(condition))
        if self.is_held_out(entity_id):
            return Withheld("holdout", f"held out: a stable {self._holdout:.0%} of all {self.entity}s is never scored for action")
        return None


@lru_cache(128)  # asked for everybody of a night, and for the weeks of a horizon
def week(at: datetime) -> str:
    """The ISO week of an instant in UTC, such as `2018-W20`; it begins on Monday at 00:00."""
    return f"{at.astimezone(UTC):%G-W%V}"


def share(key: str) -> float:
    """A number in [0, 1) that is always the same for a key, and evenly spread over keys."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64
