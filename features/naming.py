"""The names of views and features that Feast can keep."""

from __future__ import annotations

import re
from collections.abc import Iterable

from features.errors import FeatureError
from features.feature import View
from features.wire import RECORD

NAME = re.compile(r"^[a-z][a-z0-9_]*$")
# Feast's join uses these names itself, and drops every column that ends in _y
TAKEN = re.compile(
    r"^(rn|entity_id|lead_id|customer_id|entity_row_id|event_timestamp|event_expire_timestamp|spine_position|.*_y+)$"
)


def require_names(present: Iterable[View]) -> None:
    """Every view and feature has a name that Feast can keep.

    Raises:
        FeatureError: one has not.
    """
    seen: set[str] = set()
    for view in present:
        wrong = [feature.name for feature in view.columns if not NAME.match(feature.name) or TAKEN.match(feature.name)]
        if wrong or not NAME.match(view.name) or view.name == RECORD or view.name in seen:
            raise FeatureError(
                f"view {view.name!r}" + (f", feature {wrong[0]!r}" if wrong else ""),
                expected="names of lower-case letters, digits and _, once per view, and none that Feast's join uses itself",
                received=repr(wrong[0]) if wrong else f"{view.name!r}" + (" a second time" if view.name in seen else ""),
                repair=f"rename it; `{RECORD}`, `rn` and names that end in `_y` are among those that Feast's join uses",
            )
        seen.add(view.name)
