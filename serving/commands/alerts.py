"""What `foresell monitor --test-alert` does: every owner is sent a test, and it is said where it went."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from features.console import emit, note, step
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.monitor.alerts.alert import Alerts


def test_alert(workspace: Workspace, now: datetime, as_json: bool) -> None:
    """Send the test and say where it went.

    Raises:
        WorkspaceError: the settings name no way to tell anybody.
        BusyError: a message was not taken; why is in it.
    """
    from serving.monitor.alerts import alert

    done = alert.test(workspace, now)
    print_alerts(done, as_json)
    if done.error:
        raise done.error


def print_alerts(done: Alerts, as_json: bool) -> None:
    """One line for each message, or one JSON document."""
    from dataclasses import asdict

    if as_json:
        emit({"sent": [asdict(one) for one in done.sent], "untold": done.untold})
        return
    for one in done.delivered:
        step(f"{one.way} to {one.owner or 'the webhook alone'}: {one.subject}")
    for one in done.waiting:
        note(f"{one.way} to {one.owner or 'nobody'} was not taken: {one.failure}")
    if done.untold:
        note(f"{done.untold} alarms were told to nobody: `[monitor]` names neither `smtp` nor `webhook`")
