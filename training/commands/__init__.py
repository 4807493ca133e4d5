"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import click

from training.commands.champion import promote
from training.commands.learn import train
from training.commands.look import report

COMMANDS: tuple[click.Command, ...] = (train, promote, report)
