"""What may be said of an entity is the same over HTTP and in a webhook, because it is stated once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import serving
from features.hook import Hook
from serving.hooks.unpack import unpack
from serving.http.problem import BadRequest
from serving.http.request import Form
from serving.limits import LONGEST_ID, MOST_ENTITIES, is_storable

NOW = datetime(2018, 5, 15, tzinfo=UTC)


def over_http(*ids: str) -> bool:
    try:
        Form("lead", (), "LeadRequest").read(json.dumps({"ids": ids}).encode())
    except BadRequest:
        return False
    return True


def by_webhook(*ids: str) -> bool:
    body = json.dumps([{"id": one} for one in ids]).encode()
    return not unpack(Hook(entity="lead"), "crm", "POST", "http://x", {}, body, (), NOW).flaws


@pytest.mark.parametrize(
    ("entity_id", "is_taken"),
    [("x", True), ("", False), ("é" * LONGEST_ID, True), ("x" * (LONGEST_ID + 1), False), ("a\0", False), ("\ud800", False)],
)
def test_an_id_that_one_road_takes_the_other_takes_too(entity_id: str, is_taken: bool) -> None:
    assert over_http(entity_id) == by_webhook(entity_id) == is_taken


def test_as_many_entities_as_one_road_takes_the_other_takes_too() -> None:
    assert over_http(*["x"] * MOST_ENTITIES) and by_webhook(*["x"] * MOST_ENTITIES)
    assert not over_http(*["x"] * (MOST_ENTITIES + 1))
    with pytest.raises(Exception, match=f"up to {MOST_ENTITIES:,} records"):
        by_webhook(*["x"] * (MOST_ENTITIES + 1))


@pytest.mark.parametrize(
    ("text", "answer"), [("", True), ("ü 🙂", True), ("\0", False), ("a\udfff", False), ("\ud83d\ude42", False)]
)
def test_text_that_a_store_cannot_hold(text: str, answer: bool) -> None:
    assert is_storable(text) == answer


@pytest.mark.parametrize("words", [r"\\x00", r"\b(max_length|LONGEST_ID|LONGEST|MOST_(ENTITIES|RECORDS)) ?= ?(200|1_000)\b"])
def test_each_limit_is_stated_once(words: str) -> None:
    root = Path(serving.__file__).parent
    found = [str(path.relative_to(root)) for path in root.rglob("*.py") if re.search(words, path.read_text(encoding="utf-8"))]
    assert found == ["limits.py"]
