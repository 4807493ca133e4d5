"""The first `foresell.toml` of a workspace: a tour of every setting, written from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from features.adapter import Adapter
from features.catalog import write_atomically
from features.errors import CallError, TableError, WorkspaceError, nearest
from features.export import Export
from features.settings import SETTINGS_FILE, Settings

_INTRODUCTION = """\
# A Foresell workspace. Every setting is here; behind a # stands what holds without it, or an example where nothing does.
# Unknown keys are errors. docs/reference.md describes tables, settings and propensity files."""
_EXAMPLES = {
    "now": "2018-05-15",
    "day_first": True,
    "memory_limit": "8GB",
    "threads": 2,
    "project": "my_crm",
    "late_after": "36h",
    "owner": "ana@example.com",
    "webhook": "https://example.com/alarms",
    "secret": "${ALARM_SECRET}",
    "smtp": "smtp://user:${PASSWORD}@mail.example.com:587",
    "every": "28d",
    "store": "s3a://bucket/foresell",
    "tracking_uri": "http://127.0.0.1:5000",
}
_TABLES = {
    "attributes": """\
# [attributes.customers]
# segment = { type = "category", fixed = true, meaning = "the segment the customer was put into at the start" }""",
    "external": """\
# [external.warehouse]
# entity = "customer"
# path = "warehouse/*.parquet"
# id = "customer_id"
# timestamp = "loaded_at"
# columns = { credit_limit = { type = "number", unit = "money", meaning = "the credit limit" } }""",
    "pull": """\
# [pull.odoo]
# of = "odoo"
# url = "https://odoo.example.com"
# version = 18
# database = "crm"
# user = "foresell"
# password = "${ODOO_API_KEY}"
# page = 1000""",
    "hooks": """\
# [hooks.crm]
# entity = "lead"
# fields = { origin = "source" }""",
    "write_back": """\
# [write_back.crm]
# to = "rest"
# entity = "lead"
# url = "https://crm.example.com/leads/{id}"
# headers = { Authorization = "Bearer ${CRM_TOKEN}" }
# fields = { "{propensity}_score" = "score" }""",
}


def init(root: Path, adapter_name: str, source: Path | None) -> Path:
    """Write a workspace's `foresell.toml`; creates the folder if need be, and nothing else. Without a source it is to be pulled.

    Raises:
        WorkspaceError: there is one already, or no such adapter.
        CallError: the export holds no file that the adapter reads.
    """
    path = root / SETTINGS_FILE
    if path.exists():
        raise WorkspaceError(
            f"workspace {root}",
            expected=f"a folder without {SETTINGS_FILE}",
            received="a workspace already",
            repair=f"edit {path}, or choose another --workspace",
        )
    settings = Settings.model_validate({"adapter": adapter_name, **({"source": _from(root, source)} if source else {})})
    adapter = Adapter.find(root, settings)
    if source:
        _check_export(adapter, source)
    write_atomically(path, tour(settings, adapter).encode())
    return path


def tour(settings: Settings, adapter: Adapter) -> str:
    """The text of a `foresell.toml` with these settings, every other one shown with its default."""
    resolved = settings.model_copy(update={"ingest": adapter.rules(settings)})
    head = [f"{_INTRODUCTION}\n#\n# The adapter `{adapter.name}`: {adapter.file.description}."]
    return "\n\n".join([*head, *_blocks(resolved, set_keys=settings.model_fields_set)]) + "\n"


def _blocks(settings: Settings, set_keys: set[str]) -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        about = f"# {field.description}"
        if name in _TABLES:
            yield f"{about}\n{_TABLES[name]}"
        elif isinstance(value, BaseModel):
            yield "\n".join([about, f"[{name}]", *_lines(value)])
        else:
            yield f"{about}\n{'' if name in set_keys else '# '}{_pair(name, value)}"


def _lines(section: BaseModel) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        yield f"# {_pair(name, getattr(section, name)):<32} # {field.description}"


def _pair(name: str, value: Any) -> str:
    return f"{name} = {json.dumps(_EXAMPLES[name] if value in (None, '') else value)}"


def _from(root: Path, source: Path) -> str:
    """The export's folder as it is written down: relative inside the workspace, otherwise absolute."""
    resolved, inside = source.resolve(), root.resolve()
    return str(resolved.relative_to(inside)) if resolved.is_relative_to(inside) else str(resolved)


def _check_export(adapter: Adapter, source: Path) -> None:
    known = {stem for script in adapter.scripts() for stem in script.stems}
    try:
        export = Export.open(source, adapter.file.files)
    except TableError as problem:
        raise CallError(
            f"--from {source}", expected=problem.expected, received=problem.received, repair="correct --from"
        ) from None
    if not known & set(export.files):
        raise _unknown_export(adapter, export, known)


def _unknown_export(adapter: Adapter, export: Export, known: set[str]) -> CallError:
    near: Mapping[str, str | None] = {stem: nearest(stem, known) for stem in export.files}
    renamed = [f"{export.files[stem].name} to {meant}" for stem, meant in near.items() if meant]
    return CallError(
        f"--from {export.folder}",
        expected=f"at least one file that adapter {adapter.name} reads: {', '.join(sorted(known))}",
        received=export.names(export.files),
        repair=f"rename {', '.join(renamed)}" if renamed else "correct --from, or choose another --adapter",
    )
