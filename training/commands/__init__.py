"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import click

from training.commands.champion import promote, rollback
from training.commands.check import check
from training.commands.learn import train
from training.commands.look import report
from training.commands.past import history, which
from training.commands.rebuild import rebuild
from training.commands.retrain import retrain

COMMANDS: tuple[click.Command, ...] = (check, train, promote, rollback, history, which, report, rebuild, retrain)
