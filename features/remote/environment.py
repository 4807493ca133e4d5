"""The environment: texts of the settings with their environment variables filled in, none of which may be absent."""

from __future__ import annotations

from features.errors import WorkspaceError
from features.storage import expanded


def filled(setting: str, where: str) -> str:
    """A text with `${NAME}` filled in.

    Raises:
        WorkspaceError: a variable is not set.
    """
    found = str(expanded(setting))
    if "${" in found:
        raise WorkspaceError(
            where,
            expected="environment variables that are set",
            received=f"`{found[found.index('${') :].partition('}')[0]}}}`, which is not",
            repair="set it where Foresell is started",
        )
    return found
