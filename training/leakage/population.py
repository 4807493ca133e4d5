"""A population chosen by its outcome: entities that are there, or were let in, because of what came later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.cohort import cohort
from features.database import connect, identifier, quote
from features.propensity import Propensity
from features.settings import Workspace
from features.tables import ENTITY_KEYS, ENTITY_TABLES, TABLES
from training.label import labels, outcomes_sql
from training.leakage.columns import LEAST_FILLED, LEAST_Z, written_from_outcome
from training.leakage.finding import Finding, Severity
from training.leakage.measure import shares
from training.leakage.origin import Attribute, known_at_line
from training.leakage.rows import conclusive

ALL_BUT_ALL = 0.98  # of a population with the outcome: the others were left out
LEAST_ENTITIES = 50
KNOWN_AFTER, KNOWN_AFTER_AT_ALL = 0.2, 0.05  # of those with the outcome, known only once it had happened


def table_findings(workspace: Workspace, propensity: Propensity) -> list[Finding]:
    """Entities that became known by their outcome. Only of an outcome that comes once: an order may well be how one is met."""
    if not _once(propensity):
        return []
    found = known_after(_entities(workspace, propensity), propensity.entity)
    return [] if found is None else [_finding(workspace, propensity, "known_at", *found)]


def known_after(entities: pd.DataFrame, entity: str) -> tuple[Severity, str] | None:
    """Severity and sentence if some of those with the outcome were not known before it; None if nearly all were.

    Args:
        entities: `known`, when each became known, and `happened`, its outcome or NaT.
        entity: what they are called.
    """
    happened = entities["happened"].notna()
    late = int((entities["known"] >= entities["happened"]).sum())
    share = late / max(int(happened.sum()), 1)
    if late < LEAST_FILLED or share < KNOWN_AFTER_AT_ALL:
        return None
    sentence = (
        f"of {int(happened.sum()):,} {entity}s with the outcome, {late:,} ({share:.1%}) became known only when it had happened: "
        "they are in no cohort, and those that are there are the ones without it"
    )
    return ("error" if share >= KNOWN_AFTER else "warning"), sentence


def dataset_findings(workspace: Workspace, propensity: Propensity, frame: pd.DataFrame) -> list[Finding]:
    """A cohort of which nearly everyone comes to the outcome sooner or later.

    Args:
        workspace: with ingested tables.
        propensity: what is asked about.
        frame: `entity_id` and `as_of` of the dataset.
    """
    if not _once(propensity):
        return []
    asked = frame.groupby("entity_id")["as_of"].max().rename("asked").reset_index()
    found = nothing_but(asked.merge(_entities(workspace, propensity), on="entity_id"), propensity.entity)
    return [] if found is None else [_finding(workspace, propensity, ENTITY_KEYS[propensity.entity], *found)]


def nothing_but(entities: pd.DataFrame, entity: str) -> tuple[Severity, str] | None:
    """Severity and sentence if nearly all entities have the outcome at some time; None if not.

    Over a long history that may be honest: every lease ends. But of those who were asked about last, hardly any has had the time.
    Where they too have it all, the others were left out.

    Args:
        entities: `asked`, the newest as_of at which each is asked about, and `happened`, its outcome or NaT.
        entity: what they are called.
    """
    if len(entities) < LEAST_ENTITIES or (share := float(entities["happened"].notna().mean())) < ALL_BUT_ALL:
        return None
    newest = entities[entities["asked"] >= entities["asked"].nlargest(LEAST_ENTITIES).min()]
    lately = float(newest["happened"].notna().mean())
    told = (
        f"{share:.1%} of the {len(entities):,} {entity}s that are asked about have the outcome sooner or later, and {lately:.1%} "
        f"of the {len(newest):,} that were asked about last"
    )
    if lately < ALL_BUT_ALL:
        return "warning", f"{told}: honest where everybody comes to it in time"
    return "error", f"{told}: those without it are not in the table"


def eligible_findings(
    workspace: Workspace, propensity: Propensity, instants: list[datetime], attributes: Mapping[str, Attribute]
) -> list[Finding]:
    """Conditions of `eligible` on attributes that let in by the outcome: tried on everybody who fulfils the other conditions."""
    found = []
    for text, condition in zip(propensity.eligible, propensity.conditions, strict=True):
        if condition.column not in attributes:
            continue
        others = tuple(other for other in propensity.eligible if other != text)
        everybody = cohort(workspace, propensity.model_copy(update={"eligible": others}), instants)
        let_in = everybody.merge(cohort(workspace, propensity, instants), how="left", indicator=True)["_merge"].eq("both")
        outcome = labels(workspace, propensity, everybody).to_numpy(np.int8)
        lasting = attributes[condition.column].lasting
        rows = conclusive(everybody["entity_id"], outcome) if lasting else np.ones(len(everybody), dtype=bool)
        sentence = chosen_by(let_in.to_numpy()[rows], outcome[rows], pd.factorize(everybody["entity_id"][rows])[0], text)
        if sentence is not None:
            found.append(Finding("population", "error", condition.column, sentence, attributes[condition.column].repair))
    return found


def chosen_by(let_in: np.ndarray, outcome: np.ndarray, entities: np.ndarray, condition: str) -> str | None:
    """A sentence if a condition goes with the outcome as no honest one does; None if not.

    Args:
        let_in: whether each row fulfils the condition.
        outcome: 0 or 1.
        entities: the number of each row's entity.
        condition: as it is written.
    """
    if not 0 < outcome.sum() < len(outcome):
        return None
    held, kept_out = shares(let_in, outcome, entities), shares(~let_in, outcome, entities)
    if held.z < LEAST_Z or min(held.count, kept_out.count) < LEAST_FILLED:
        return None
    if not (written_from_outcome(held) or written_from_outcome(kept_out)):
        return None
    return (
        f"`{condition}` in `eligible` lets in {held.positives:.1%} of those with the outcome and {held.negatives:.1%} of the "
        "others: who is asked about depends on the answer"
    )


def _once(propensity: Propensity) -> bool:
    """Whether the outcome is a column that is filled when something ends, which it does once."""
    outcome = propensity.outcome
    return outcome.at is not None and outcome.at in TABLES[outcome.source].filled_later and outcome.sum is None


def _entities(workspace: Workspace, propensity: Propensity) -> pd.DataFrame:
    """`entity_id`, `known` and `happened`, the last outcome, of every entity."""
    catalog, table = Catalog.load(workspace), ENTITY_TABLES[propensity.entity]
    key, path = identifier(ENTITY_KEYS[propensity.entity]), quote(str(catalog.path(workspace, table.name)))
    known = f"select cast({key} as varchar) as entity_id, min(greatest(known_at, {table.time})) as known from '{path}' group by 1"
    outcomes = outcomes_sql(workspace, catalog, propensity)
    with connect(workspace) as connection:
        return connection.execute(
            f"select entity_id, known, last.happened from ({known}) left join "
            f"(select entity_id, max(happened) as happened from ({outcomes}) group by 1) last using (entity_id)"
        ).df()


def _finding(workspace: Workspace, propensity: Propensity, column: str, severity: Severity, sentence: str) -> Finding:
    table = ENTITY_TABLES[propensity.entity].name
    line = known_at_line(workspace, table)
    repair = (
        f"{line}: deliver every {propensity.entity}, also those without the outcome, "
        "each with a `known_at` of when the CRM first had it"
    )
    return Finding("population", severity, f"{table}.{column}", sentence, repair)
