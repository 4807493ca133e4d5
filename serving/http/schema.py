"""JSON schemas of what is answered: from the types themselves, and from the words that their docstrings have for each field."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from typing_extensions import is_typeddict

from serving.plain import Plain

REFERENCE = "#/components/schemas/{model}"
_NAMED = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """A schema for each model and for each type inside it, by name, every property described.

    Args:
        models: what is answered; a type says under `Attributes:` in its docstring what each field is, before its first colon
            one name or several, or in the field itself.
    """
    _, document = models_json_schema([(model, "serialization") for model in models], ref_template=REFERENCE)
    found: dict[str, Any] = document["$defs"]
    for kind in _types(*models):
        if kind.__name__ in found:
            _describe(found[kind.__name__], kind)
    return found


def _types(*annotations: Any) -> Iterator[type]:
    """Every type of ours inside some annotations, however deep."""
    for annotation in annotations:
        yield from _types(*get_args(annotation))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
            yield from _types(*(info.annotation for info in annotation.model_fields.values()))
        elif isinstance(annotation, type) and (
            issubclass(annotation, Plain) or is_dataclass(annotation) or is_typeddict(annotation)
        ):
            yield annotation
            yield from _types(*inspect.get_annotations(annotation, eval_str=True).values())


def _describe(schema: dict[str, Any], kind: type) -> None:
    summary, _, told = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    schema["description"] = summary
    properties = schema.get("properties", {})
    for name, words in _told(told).items():
        properties[name].setdefault("description", words)


def _told(section: str) -> dict[str, str]:
    """What a docstring says of each field; lines that are indented further go on with the field above."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(section).splitlines():
        match = _NAMED.match(line)
        if match:
            names = match[1].split(", ")
        for name in names:
            found[name] = match[2] if match else f"{found[name]} {line.strip()}"
    return found
