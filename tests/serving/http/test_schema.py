"""The schemas of answers take their words from the docstrings of the types, and every field has some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from serving.desk import Desk
from serving.http.example import answered
from serving.http.openapi import Accepted, Answer, Status, Stored
from serving.http.problem import Problem
from serving.http.schema import schemas
from serving.scorer import Scorer


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        from_: where it begins; a colon: as well.
        to, until: where it ends,
            which may be told in two lines.
    """

    from_: int
    to: int
    until: int


class Whole(BaseModel):
    """A whole, and more of it.

    Attributes:
        parts: all of them.
    """

    parts: tuple[Part, ...] | None


def test_words_come_from_the_attributes_of_a_docstring_however_deep_the_type() -> None:
    found = schemas(Whole)
    words = {name: of["description"] for name, of in found["Part"]["properties"].items() if name != "from_"}
    assert words == {"to": "where it ends, which may be told in two lines.", "until": words["to"]}
    assert found["Part"]["description"] == "A part." and found["Whole"]["description"] == "A whole, and more of it."
    assert found["Whole"]["properties"]["parts"]["description"] == "all of them."


@pytest.mark.parametrize("model", [Answer, Stored, Accepted, Status, Problem])
def test_every_field_that_is_answered_is_described(model: type[BaseModel]) -> None:
    for name, schema in schemas(model).items():
        assert schema["description"] and "Attributes" not in schema["description"], name
        assert [field for field, of in schema["properties"].items() if not of.get("description")] == [], name


def test_a_change_is_described_as_it_is_sent() -> None:
    assert schemas(Answer)["Change"]["properties"]["from"]["description"].startswith("the score before")


def test_an_example_is_a_real_score_of_nobody(model: Any, declarations: Any) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    score = answered(Desk(Scorer(model, "3", declarations)), now)
    assert score["entity_id"] == "1001" and score["eligible"] and score["score"] and score["reasons"]
    assert score["scored_at"] == score["feature_as_of"] == "2026-06-01T00:00:00Z" and score["model_version"] == "3"
