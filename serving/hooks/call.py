"""A call: what a CRM's webhook request was, byte by byte, because signatures are over the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One request: `url` is the whole address that the CRM called, as it knows it, also behind a proxy."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, whatever its case; empty when there is none."""
        return next((value.strip() for key, value in self.headers.items() if key.lower() == name.lower()), "")
