"""Credentials: from the environment, or from a file outside the workspace; never in the settings, and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from features.errors import WorkspaceError
from features.remote.environment import filled
from features.settings import Workspace

FILE = "file:"
MASK = "***"


def credential(workspace: Workspace, setting: str, where: str) -> str:
    """The secret that a setting stands for.

    Raises:
        WorkspaceError: the setting is the secret itself, the variable is not set, or the file is not there, empty or inside the
            workspace.
    """
    if setting.startswith(FILE):
        return _read(workspace, Path(setting.removeprefix(FILE)), where)
    if "${" not in setting:
        raise WorkspaceError(
            where,
            expected="`${NAME}` of an environment variable, or `file:/PATH` outside the workspace",
            received="something else, maybe the secret itself",
            repair="take it out of foresell.toml and, if it was a secret, change it",
        )
    return filled(setting, where)


def header(workspace: Workspace, setting: str, where: str) -> str:
    """The value of a header: plain text, or as `credential`.

    Raises:
        WorkspaceError: as `credential`, unless it is plain text.
    """
    return credential(workspace, setting, where) if setting.startswith(FILE) else filled(setting, where)


def variables(setting: str) -> list[str]:
    """The values of the environment variables in a setting; one in an address is a secret as well."""
    return [value for name in re.findall(r"\$\{(\w+)\}", setting) if (value := os.environ.get(name))]


def masked(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets that may be in it, such as what a server repeats in its answer."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    return text


def _read(workspace: Workspace, path: Path, where: str) -> str:
    if not path.is_absolute() or path.resolve().is_relative_to(workspace.root.resolve()):
        raise _unusable(where, "a file by its whole path, outside the workspace", f"{path}", "move it, such as to /run/secrets")
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise _unusable(where, f"a file that can be read: {path}", type(problem).__name__, "make it readable") from None
    if not secret:
        raise _unusable(where, f"a secret in {path}", "an empty file", "write the secret into it")
    return secret


def _unusable(where: str, expected: str, received: str, repair: str) -> WorkspaceError:
    return WorkspaceError(where, expected=expected, received=received, repair=repair)
