"""A page: an HTML template of one of the rooms, filled in. Complete in itself: no script, no font, no image from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import Any


def render(room: str, template: str, **values: Any) -> str:
    """A template of a room with its values; what an HTML template shows is escaped, and `style` is the look of every page.

    Raises:
        jinja2.UndefinedError: the template asks for a value that was not given.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: _text(room, name)),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values, style=_text("features", "page.css"))


def _text(room: str, name: str) -> str:
    return resources.files(room).joinpath(name).read_text(encoding="utf-8")
