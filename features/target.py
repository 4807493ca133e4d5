"""Targets: where the scores of a night are written to, `[write_back.NAME]` in `foresell.toml`.

Every key whose meaning ends in names in brackets belongs to the targets of those names only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.strict import Strict

CREDENTIAL = "`${NAME}` is an environment variable, `file:/PATH` a file outside the workspace"


class Target(Strict):
    """What every target has."""

    entity: Literal["lead", "customer"] = Field(description="whose scores are written")
    propensities: tuple[str, ...] = Field(default=(), description="what is written; unset: every propensity of the entity")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="`CRM_FIELD = SCORE_FIELD`; `{propensity}` in a CRM's field is the propensity with `_` for `-`. "
        "Score fields: `score`, `probability` (0 to 1), `percent` (the probability, 0 to 100), `percentile`, `grade`, "
        "`expected_value`, `reasons` (their texts), `withheld` (by which policy), `state` (`scored`, `withheld` or `gone`), "
        "`version`, `as_of`, `propensity`, `entity_id`. Unset: all but the last two, where the target has no fields of its own",
    )
    threshold: int = Field(
        default=1, ge=1, le=100, description="a score that differs by fewer points from the one last sent is not sent again"
    )
    decimals: int = Field(default=4, ge=0, le=9, description="decimals of a probability; half of them those of a percent")
    clamp: Literal["named", "all", "off"] = Field(
        default="named",
        description="keep 0 and 100 out of fields that a CRM learns from, as 1 and 99: of fields with `probability` in their "
        "name, of `all`, or `off`",
    )
    clear: bool = Field(default=True, description="empty the fields of those who had a score and are no longer eligible")
    chunk: int | None = Field(default=None, ge=1, description="records a call, if fewer than the target takes")


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

    to: Literal["odoo"] = Field(description="what kind of target it is: `files`, `sql`, `rest`, `webhook` or a CRM's name")
    version: int = Field(ge=8, description="Odoo's version, such as 18; from 19 on `/json/2` is spoken (`odoo`)")
    database: str = Field(description="the name of Odoo's database (`odoo`)")
    user: str = Field(default="", description="the login, up to 18; `${NAME}` is an environment variable (`odoo`)")
    password: str = Field(description=f"the password or API key; {CREDENTIAL} (`odoo`)")
    model: str = Field(default="", description="such as `crm.lead`; unset: that for leads, `res.partner` for customers (`odoo`)")


AnyTarget = Annotated[FilesTarget | SqlTarget | RestTarget | WebhookTarget | OdooTarget, Field(discriminator="to")]
