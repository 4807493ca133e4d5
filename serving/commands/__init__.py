"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import click

from serving.commands.actions import actions
from serving.commands.audit import audit
from serving.commands.demo import demo
from serving.commands.forget import forget
from serving.commands.key import key
from serving.commands.monitor import monitor
from serving.commands.night import score
from serving.commands.nightly import nightly
from serving.commands.serve import serve
from serving.commands.shadow import shadow
from serving.commands.write_back import write_back

COMMANDS: tuple[click.Command, ...] = (
    nightly, score, write_back, monitor, serve, shadow, key, audit, actions, forget, demo
)  # fmt: skip
