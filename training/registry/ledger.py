"""Where a champion's events are written down in MLflow: once, in order, and never again touched.

The parameters of an MLflow run can be written once and never changed or taken away; the database itself refuses a second value.
A propensity's ledger is one such run, in an experiment of its own, with two parameters an event: `000007` holds the event, and
whoever comes second with that number is refused; `000007.since` holds when the alias `champion` followed. So events have one
order, whoever writes them and from wherever, and nothing needs a lock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from features.errors import RegistryError
from features.settings import Workspace
from training.registry.door import create_experiment
from training.registry.event import Entry, Event

LEDGER_TAG = "foresell.ledger"
LONGEST_VALUE = 6_000  # characters; MLflow cuts a longer one without a word
NUMBER = re.compile(r"\d{6}")


class Ledger:
    """The events of one propensity's champion."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    @classmethod
    def find(cls, client: Any, name: str) -> Ledger | None:
        """The ledger of a propensity; None before its first event.

        Raises:
            RegistryError: it was deleted in MLflow, or something else has its name.
        """
        experiment = client.get_experiment_by_name(experiment_name(name))
        if experiment is None:
            return None
        run_id = experiment.tags.get(LEDGER_TAG)
        if run_id is None:
            raise _unusable(name, "an experiment of that name that Foresell did not make", "rename that experiment")
        run = client.get_run(run_id)
        if "deleted" in (experiment.lifecycle_stage, run.info.lifecycle_stage):
            mend = f"`mlflow experiments restore -x {experiment.experiment_id}`, `mlflow runs restore --run-id {run_id}`"
            raise _unusable(name, "it was deleted in MLflow", mend)
        return cls(client, run_id)

    @classmethod
    def open(cls, client: Any, workspace: Workspace, name: str) -> Ledger:
        """The ledger of a propensity, made if there is none; of several who make it at once, one succeeds and all use that.

        It gets its name last: names are unique, so one that can be found is complete, and there is one.

        Raises:
            RegistryError: it was deleted in MLflow, or something else has its name.
        """
        found = cls.find(client, name)
        if found is not None:
            return found
        made = create_experiment(client, workspace, f"{experiment_name(name)} {uuid4().hex}")
        note = f"One parameter an event, written once; `foresell history {name}` reads them."
        run = client.create_run(made, run_name=f"champion of {name}", tags={"mlflow.note.content": note})
        client.set_terminated(run.info.run_id)
        client.set_experiment_tag(made, LEDGER_TAG, run.info.run_id)
        return cls(client, run.info.run_id) if _named(client, made, name) else cls.open(client, workspace, name)

    def entries(self) -> tuple[Entry, ...]:
        """Every event, in order; clocks may disagree, but none took effect before the one it follows."""
        written = self._params()
        entries: list[Entry] = []
        latest: datetime | None = None
        for key in sorted(key for key in written if NUMBER.fullmatch(key)):
            entry = _entry(key, written)
            if entry.since is not None:
                latest = max(latest or entry.since, entry.since)
                entry = replace(entry, since=latest)
            entries.append(entry)
        return tuple(entries)

    def append(self, number: int, event: Event) -> bool:
        """Write an event down under its number; False if somebody else was first.

        Raises:
            RegistryError: MLflow would cut it, and no release could read it again.
        """
        return self._write(f"{number:06d}", _text(event))

    def took_effect(self, number: int, at: datetime) -> None:
        """Write down when the alias followed an event; where somebody else has done so, that stands."""
        self._write(f"{number:06d}.since", at.isoformat())

    def _write(self, key: str, value: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_param(self._run_id, key, value)
        except MlflowException:
            written = self._params()
            if key not in written:
                raise
            return written[key] == value  # ours, where the answer was lost
        return True

    def _params(self) -> dict[str, str]:
        written: dict[str, str] = self._client.get_run(self._run_id).data.params
        return written


def experiment_name(name: str) -> str:
    """Of the experiment that holds the ledger of a propensity."""
    return f"{name} history"


def _named(client: Any, experiment_id: str, name: str) -> bool:
    """Whether the experiment got the ledger's name; one that came second is thrown away."""
    from mlflow.exceptions import MlflowException

    try:
        client.rename_experiment(experiment_id, experiment_name(name))
    except MlflowException:
        client.delete_experiment(experiment_id)
        if client.get_experiment_by_name(experiment_name(name)) is None:
            raise
        return False
    return True


def _text(event: Event) -> str:
    """The event as JSON; one that is too long loses the sentences of the gates that were passed, then those of all gates."""
    text = event.model_dump_json()
    for spared in ((False,), ()):
        if len(text) > LONGEST_VALUE:
            text = _with_sentences(event, spared).model_dump_json()
    if len(text) > LONGEST_VALUE:
        raise RegistryError(
            f"the event that makes version {event.version} champion",
            expected=f"at most {LONGEST_VALUE:,} characters, which MLflow keeps of a parameter",
            received=f"{len(text):,}",
            repair="shorten the name, the reason, or the names of the gates in the version's report",
        )
    return text


def _with_sentences(event: Event, passed: tuple[bool, ...]) -> Event:
    """Only the sentences of the gates that were passed, or failed, as named."""
    if event.evidence is None:
        return event
    gates = [gate if gate.passed in passed else gate.model_copy(update={"sentence": ""}) for gate in event.evidence.gates]
    return event.model_copy(update={"evidence": event.evidence.model_copy(update={"gates": tuple(gates)})})


def _entry(key: str, written: Mapping[str, str]) -> Entry:
    """A move that was made in MLflow itself took effect before it was noticed; all others when their alias followed."""
    try:
        event = Event.model_validate_json(written[key])
    except ValidationError as problem:
        raise RegistryError(
            f"event {key} of a history",
            expected="an event that this release of Foresell has written",
            received=" ".join(str(problem).split())[:200],
            repair="use the release of Foresell that wrote it",
        ) from None
    since = written.get(f"{key}.since")
    followed = datetime.fromisoformat(since) if since else None
    return Entry(int(key), event, event.at if event.kind == "outside" else followed)


def _unusable(name: str, received: str, repair: str) -> RegistryError:
    return RegistryError(
        f"the history of {name!r}, MLflow experiment {experiment_name(name)!r}",
        expected="the run that holds every promotion and rollback",
        received=received,
        repair=repair,
    )
