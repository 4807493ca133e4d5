"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import click

COMMANDS: tuple[click.Command, ...] = ()
