"""Strict settings: an unknown key is an error, and nothing changes once it is read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
