"""Targets: where the scores of a night are written to, `[write_back.NAME]` in `foresell.toml`.

Every key whose meaning ends in names in brackets belongs to the targets of those names only.
"""

from __future__ import annotations

import json
from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from features.strict import Strict

_HOW = {
    "propensities", "threshold", "clear", "chunk", "per_second", "timeout_seconds", "attempts", "method", "headers", "secret",
    "record", "denied",
    "version", "user", "password", "token", "create", "api", "client_id", "client_secret", "bulk_above", "tenant", "login",
}  # fmt: skip  # what may change without anything having to be sent again
CREDENTIAL = "`${NAME}` is an environment variable, `file:/PATH` a file outside the workspace"


class Target(Strict):
    """What every target has.

    Attributes:
        empties_to_zero: whether the target takes an empty number for 0; a field that it learns from is then left as it is.
    """

    empties_to_zero: ClassVar[bool] = False
    entity: Literal["lead", "customer"] = Field(description="whose scores are written")
    propensities: tuple[str, ...] = Field(default=(), description="what is written; unset: every propensity of the entity")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="`CRM_FIELD = SCORE_FIELD`; `{propensity}` in a CRM's field is the propensity with `_` for `-`. "
        "Score fields: `score`, `probability` (0 to 1), `percent` (the probability, 0 to 100), `percentile`, `grade`, "
        "`expected_value`, `reasons` (their texts), `trend` (`rising`, `steady` or `falling` when it was sent), "
        "`withheld` (by which policy), `state` (`scored`, `withheld` or `gone`), `version`, `as_of`, `explore` (`yes` or `no`: "
        "act on this one although the score does not say so), `day` (of `as_of`), `propensity`, `entity_id`. Unset: all but the "
        "last four, where the target has no fields of its own. With `rest`, "
        "`a.b` is the field `b` of an object `a`",
    )
    threshold: int = Field(
        default=1, ge=1, le=100, description="a score that differs by fewer points from the one last sent is not sent again"
    )
    decimals: int = Field(default=4, ge=0, le=9, description="decimals of a probability; a percent has two fewer")
    clamp: Literal["named", "all", "off"] = Field(
        default="named",
        description="keep 0 and 100 out of fields that a CRM learns from, as 1 and 99: of fields with `probability` in their "
        "name, of `all`, or `off`; where the target takes an empty number for 0 (`odoo`), they are not emptied either",
    )
    clear: bool = Field(default=True, description="empty the fields of those who had a score and are no longer eligible")
    chunk: int | None = Field(default=None, ge=1, description="records a call, if fewer than the target takes")

    @cached_property
    def digest(self) -> str:
        """Of where scores go and in which fields; with another, a target holds nothing of what was sent before."""
        told = self.model_dump(mode="json", exclude=_HOW)
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


class HttpTarget(Target):
    """What every target over HTTP has."""

    url: str = Field(description="the address of the target; `${NAME}` is an environment variable")
    per_second: float = Field(default=10.0, gt=0, description="calls a second in the long run")
    timeout_seconds: float = Field(default=30.0, gt=0, description="how long the target may take to answer")
    attempts: int = Field(
        default=5, ge=1, le=20, description="how often a call is made while the target is busy or broken, before a run stops"
    )


class FilesTarget(Target):
    """A folder of files with what has changed."""

    to: Literal["files"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    path: str = Field(description="the folder, relative to the workspace (`files`)")
    format: Literal["parquet", "csv"] = Field(default="parquet", description="`parquet` or `csv` (`files`)")


class SqlTarget(Target):
    """A table of a database."""

    to: Literal["sql"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    database: str = Field(
        description="`postgresql://user:${PASSWORD}@host/database`, or `sqlite:///FILE` (`sql`)",
    )
    table: str = Field(
        default="foresell_scores",
        description="the table, or SCHEMA.TABLE; its key is `entity`, `entity_id`, `propensity`; made if absent (`sql`)",
    )


class RestTarget(HttpTarget):
    """One call for each record."""

    to: Literal["rest"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    method: Literal["PATCH", "PUT", "POST"] = Field(default="PATCH", description="the HTTP method (`rest`)")
    record: str = Field(
        default="", description="where the record is in the answer to a GET, such as `lead_obj`; unset: it is the answer (`rest`)"
    )
    denied: tuple[int, ...] = Field(
        default=(),
        description="statuses, besides 401 and 407, that blame the credential and no record, so that the run stops (`rest`)",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description=f'such as `X-Api-Key = "${{KEY}}"`; {CREDENTIAL} (`rest`, `webhook`)'
    )


class WebhookTarget(HttpTarget):
    """One signed call for many scores."""

    to: Literal["webhook"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    headers: dict[str, str] = Field(
        default_factory=dict, description=f'such as `X-Api-Key = "${{KEY}}"`; {CREDENTIAL} (`rest`, `webhook`)'
    )
    secret: str = Field(default="", description=f"signs the body: `X-Foresell-Signature: sha256=...`; {CREDENTIAL} (`webhook`)")


class OdooTarget(HttpTarget):
    """Records of Odoo: JSON-RPC up to 18, `/json/2` from 19 on."""

    empties_to_zero: ClassVar[bool] = True
    to: Literal["odoo"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    decimals: int = Field(default=2, ge=0, le=9, description="the same; records of equal values take one call (`odoo`)")
    version: int = Field(ge=8, description="Odoo's version, such as 18; from 19 on `/json/2` is spoken (`odoo`)")
    database: str = Field(description="the name of Odoo's database (`odoo`)")
    user: str = Field(default="", description="the login, up to 18; `${NAME}` is an environment variable (`odoo`)")
    password: str = Field(description=f"the password or API key; {CREDENTIAL} (`odoo`)")
    model: str = Field(default="", description="such as `crm.lead`; unset: that for leads, `res.partner` for customers (`odoo`)")


class HubspotTarget(HttpTarget):
    """Objects of HubSpot, a hundred a call."""

    to: Literal["hubspot"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    url: str = Field(default="https://api.hubapi.com", description="the address of HubSpot's API (`hubspot`)")
    token: str = Field(description=f"the token of a private app; {CREDENTIAL} (`hubspot`)")
    object: str = Field(default="contacts", description="such as `contacts`, `companies` or `deals` (`hubspot`)")
    id_property: str = Field(
        default="", description="the unique property that holds our ids; unset: they are HubSpot's own (`hubspot`)"
    )
    create: bool = Field(default=False, description="make objects that are not there, by upsert; needs `id_property` (`hubspot`)")


class SalesforceTarget(HttpTarget):
    """Records of Salesforce: collections of two hundred, or one job of the Bulk API 2.0 for many."""

    to: Literal["salesforce"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    url: str = Field(description="the organisation's own address, such as `https://NAME.my.salesforce.com` (`salesforce`)")
    api: str = Field(default="62.0", pattern=r"^\d+\.0$", description="the version of the API (`salesforce`)")
    object: str = Field(
        default="", description="such as `Contact`; unset: `Lead` for leads, `Account` for customers (`salesforce`)"
    )
    external_id: str = Field(
        default="",
        description="the external id field that holds our ids; Salesforce makes a record for an id that is not there. "
        "Unset: they are Salesforce's own, and nothing is made (`salesforce`)",
    )
    client_id: str = Field(default="", description="of an external client app with the client credentials flow (`salesforce`)")
    client_secret: str = Field(default="", description=f"that of `client_id`; {CREDENTIAL} (`salesforce`)")
    token: str = Field(default="", description=f"an access token, instead of `client_id`; {CREDENTIAL} (`salesforce`)")
    bulk_above: int = Field(
        default=2_000, ge=0, description="more changed records than these go as a job of the Bulk API (`salesforce`)"
    )


class DynamicsTarget(HttpTarget):
    """Predictive scores of Dynamics 365 Sales."""

    to: Literal["dynamics"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    url: str = Field(description="the environment's own address, such as `https://NAME.crm.dynamics.com` (`dynamics`)")
    object: Literal["lead", "opportunity"] = Field(
        default="lead", description="what is scored: `lead` or `opportunity` (`dynamics`)"
    )
    tenant: str = Field(default="", description="of Entra ID, where the app is registered (`dynamics`)")
    login: str = Field(default="https://login.microsoftonline.com", description="the address of Entra ID (`dynamics`)")
    client_id: str = Field(default="", description="of the registered app (`dynamics`)")
    client_secret: str = Field(default="", description=f"that of `client_id`; {CREDENTIAL} (`dynamics`)")
    token: str = Field(default="", description=f"an access token, instead of `client_id`; {CREDENTIAL} (`dynamics`)")
    fields: dict[str, str] = Field(
        default_factory=lambda: {
            "msdyn_score": "score", "msdyn_grade": "grade", "msdyn_scoretrend": "trend", "msdyn_scoredon": "day",
        },
        description="columns of `msdyn_predictivescore`; grade and trend become its choices (`dynamics`)",
    )  # fmt: skip
    link: bool = Field(
        default=True, description="let the lead or opportunity point to its score, so that it is shown (`dynamics`)"
    )


Kinds = FilesTarget | SqlTarget | RestTarget | WebhookTarget | OdooTarget | HubspotTarget | SalesforceTarget | DynamicsTarget
AnyTarget = Annotated[Kinds, Field(discriminator="to")]
