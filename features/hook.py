"""Webhooks in the settings, `[hooks.SOURCE]`: how a CRM's calls are read, and where their scores are sent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from features.strict import Strict


class WriteBack(Strict):
    """Where the scores of a received record are sent, after it was answered."""

    url: str = Field(description="the address; `{id}`, `{propensity}` and `{entity}` in it are filled in")
    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="the HTTP method")
    fields: dict[str, str] = Field(
        default_factory=dict, description="`CRM_FIELD = SCORE_FIELD`: what is sent; unset sends the whole score"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description='further headers, such as `Authorization = "Bearer ${CRM_TOKEN}"`'
    )
    secret: str = Field(
        default="", description="signs the body: `X-Foresell-Signature: sha256=...`; `${NAME}` is an environment variable"
    )


class Hook(Strict):
    """How the webhooks of one CRM are read: `POST /v1/hooks/SOURCE/KEY`."""

    shape: Literal["json", "odoo", "espocrm", "hubspot", "salesforce"] = Field(
        default="json", description="`json`, `odoo`, `espocrm`, `hubspot` or `salesforce`: how the CRM packs its records"
    )
    entity: Literal["lead", "customer"] = Field(description="whose records they are")
    object: str = Field(
        default="",
        description="the CRM's own name of what counts, such as `crm.lead`, `contact` or `Lead`; unset: every record that comes",
    )
    id: str = Field(default="", description="the field with the id; unset: the shape's own")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="`ATTRIBUTE = CRM_FIELD`: attributes as a request names them, and no others; "
        "unset: every attribute whose name is that of a field",
    )
    flags: tuple[str, ...] = Field(
        default=(), description="CRM fields that are yes or no: Odoo's `false` is 0 in these, and missing in all others"
    )
    secret: str = Field(
        default="",
        description="what the CRM signs its calls with, where its shape does; `${NAME}` is an environment variable; "
        "several are separated by blanks, such as one for each webhook of EspoCRM",
    )
    propensities: tuple[str, ...] = Field(default=(), description="what is scored; unset: every propensity of the entity")
    write_back: WriteBack | None = Field(default=None, description="where the scores are sent; unset: they are only stored")
