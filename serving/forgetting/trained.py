"""Models that were trained on a person: told from what each version says it was made from, and from the snapshots of then."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from features import snapshot
from features.cohort import cohort_sql
from features.database import connect
from features.errors import ForesellError, RegistryError
from features.forgetting.person import Person
from features.propensity import Propensity, load, propensity_files
from features.settings import Workspace, parse_instant
from serving.forgetting.receipt import Trained
from training import registry


def trained_on(workspace: Workspace, person: Person) -> tuple[Trained, ...]:
    """The versions in the registry that rows of the person went into; call it while the snapshots still hold them.

    Raises:
        RegistryError: the registry does not answer.
    """
    found: list[Trained] = []
    for name in sorted(propensity_files(workspace.root, workspace.settings)):
        newest, champion = registry.newest_version(workspace, name), registry.champion_version(workspace, name)
        for version in map(str, range(1, int(newest or 0) + 1)):
            rows = _rows(workspace, name, version, person)
            if rows != 0:
                found.append(Trained(name, version, version == champion, rows, _advice(name, version == champion)))
    return tuple(found)


def _rows(workspace: Workspace, name: str, version: str, person: Person) -> int | None:
    """On how many rows of the person a version was trained; None where that cannot be told, 0 where it surely was not."""
    try:
        document, _ = registry.report(workspace, name, version)
    except RegistryError:
        return None if _is_there(workspace, name, version) else 0
    question = _question(workspace, name)
    told = document.get("provenance", {}).get("as_ofs")
    if question is None or not told:
        return None
    ids = person.ids(question.entity)
    return _in_cohort(workspace, question, [parse_instant(text) for text in told], ids) if ids else 0


def _is_there(workspace: Workspace, name: str, version: str) -> bool:
    with suppress(RegistryError):
        registry.named(workspace, name, version)
        return True
    return False


def _question(workspace: Workspace, name: str) -> Propensity | None:
    """The propensity as it is now: whether somebody was eligible then is told by its conditions."""
    with suppress(ForesellError):
        return load(workspace, name)
    return None


def _in_cohort(workspace: Workspace, question: Propensity, as_ofs: list[datetime], ids: frozenset[str]) -> int | None:
    present = snapshot.present(workspace, question.entity, as_ofs)
    with suppress(ForesellError), connect(workspace) as connection:
        if not present:
            return None
        query = f"select count(*) from ({cohort_sql(workspace, question, present)}) where entity_id in (select unnest(?))"
        row = connection.execute(query, [sorted(ids)]).fetchone()
        count = int(row[0]) if row else 0
        return count or (None if len(present) < len(as_ofs) else 0)
    return None


def _advice(name: str, is_champion: bool) -> str:
    until = ", and then `foresell promote` lets that one answer" if is_champion else ""
    return f"it holds no row and no id of the person; `foresell train {name}` makes one without their rows{until}"
