"""The data docs as people open them: GX's pages without the outside world, and a first page in words.

GX's pages load styles, scripts and a picture from a dozen hosts. Offline they stay half empty, online the picture's address
carries the id of the installation. What is loaded from elsewhere is taken out and a small style sheet put in its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from features.catalog import write_atomically
from features.usability import Usability

FIRST_PAGE = "index.html"
_TEMPLATES = Path(__file__).parent
_LOADED_FROM_ELSEWHERE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>|url\('https?:[^)]*\)", re.DOTALL
)


def write(usability: Usability, folder: Path, pages: Mapping[str, Path]) -> Path:
    """Make the pages that GX rendered into `folder` self-contained and put the usability report in front of them.

    Args:
        pages: the page with GX's results for each table. `folder` holds the pages of this check and no other.

    Returns:
        The first page.
    """
    style = (_TEMPLATES / "data_docs.css").read_text(encoding="utf-8")
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(self_contained(text, style), encoding="utf-8")
    links = {table: os.path.relpath(page, folder).replace(os.sep, "/") for table, page in pages.items()}
    first = folder / FIRST_PAGE
    write_atomically(first, _first_page(usability, links, style).encode())
    return first


def self_contained(page: str, style: str) -> str:
    """The page without anything that a browser would fetch or run, styled by `style`."""
    return _LOADED_FROM_ELSEWHERE.sub("", page).replace("</head>", f"<style>{style}</style></head>", 1)


def _first_page(usability: Usability, links: Mapping[str, str], style: str) -> str:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("data_docs.html").render(usability=usability, links=links, style=style)
