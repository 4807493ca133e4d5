"""HubSpot's own client as the judge of what is sent to HubSpot, and of what our stub of it answers.

HubSpot makes the client from its OpenAPI description. The description itself is public, but licensed for nobody else's use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hubspot.crm.contacts import ApiClient, Configuration

from tests.serving.connectors.worlds import Asked, Reply

REQUESTS = {
    "read": "BatchReadInputSimplePublicObjectId",
    "update": "BatchInputSimplePublicObjectBatchInput",
    "upsert": "BatchInputSimplePublicObjectBatchInputUpsert",
}
ANSWERS = {"read": "BatchResponseSimplePublicObject", "update": "BatchResponseSimplePublicObject"}
ANSWERS["upsert"] = "BatchResponseSimplePublicUpsertObject"


def judged(answer: Callable[[Asked], Reply], complaints: list[str]) -> Callable[[Asked], Reply]:
    """The same stub, of whose calls and answers it is noted what HubSpot's client would not have sent or could not read."""
    rules = Configuration()
    rules.client_side_validation = True
    client = ApiClient(rules)

    def read(data: Any, model: str) -> Any:
        return client.deserialize(SimpleNamespace(data=json.dumps(data)), model)

    def checked(asked: Asked) -> Reply:
        verb, told = asked.path.rsplit("/", 1)[-1], answer(asked)
        model = {200: ANSWERS[verb], 207: f"{ANSWERS[verb]}WithErrors"}.get(told[0], "Error")
        try:
            if client.sanitize_for_serialization(read(asked.json, REQUESTS[verb])) != asked.json:
                complaints.append(f"{verb}: the client would not send {asked.json}")
            read(told[1], model)
        except ValueError as problem:
            complaints.append(f"{verb}, {told[0]}: {problem}")
        return told

    return checked
