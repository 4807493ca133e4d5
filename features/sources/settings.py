"""Sources in the settings, `[pull.NAME]` in `foresell.toml`: where records are pulled from, as `write_back` says where to.

Every key whose meaning ends in names in brackets belongs to the sources of those names only.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from features.strict import Strict
from features.target import CREDENTIAL

_OF = "what is pulled from: `odoo`, `hubspot`, `salesforce` or `sql`"


class Source(Strict):
    """What every source has."""

    skip: tuple[str, ...] = Field(
        default=(), description="export files that are not pulled, such as `account_move` where Odoo has no invoices"
    )
    overlap_minutes: float = Field(
        default=15.0, ge=0, description="how far a pull reaches back before the newest change it knows, for rows that commit late"
    )
    page: int | None = Field(default=None, ge=1, description="records a call, if fewer than the source gives")

    @property
    def overlap(self) -> timedelta:
        """`overlap_minutes`."""
        return timedelta(minutes=self.overlap_minutes)


class HttpSource(Source):
    """What every source over HTTP has."""

    fields: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='`EXPORT_FILE = ["FIELD"]`: further fields, such as custom ones (not `sql`)'
    )
    url: str = Field(description="the address of the source; `${NAME}` is an environment variable")
    per_second: float = Field(default=4.0, gt=0, description="calls a second in the long run")
    timeout_seconds: float = Field(default=60.0, gt=0, description="how long the source may take to answer")
    attempts: int = Field(default=5, ge=1, le=20, description="how often a call is made while the source is busy or broken")

    @property
    def place(self) -> str:
        """Whose records they are: with another place, nothing that was pulled before is of use."""
        return self.url


class OdooSource(HttpSource):
    """A database of Odoo."""

    of: Literal["odoo"] = Field(description=_OF)
    version: int = Field(ge=13, description="Odoo's version, such as 18; from 19 on `/json/2` is spoken (`odoo`)")
    database: str = Field(description="the name of Odoo's database (`odoo`)")
    user: str = Field(default="", description="the login, up to 18; `${NAME}` is an environment variable (`odoo`)")
    password: str = Field(description=f"the password or API key; {CREDENTIAL} (`odoo`)")

    @property
    def place(self) -> str:
        return f"{self.url} {self.database}"


class HubspotSource(HttpSource):
    """An account of HubSpot."""

    of: Literal["hubspot"] = Field(description=_OF)
    url: str = Field(default="https://api.hubapi.com", description="the address of HubSpot's API (`hubspot`)")
    account: str = Field(
        default="", description="a word for the account, so that another one's records are not mixed in (`hubspot`)"
    )
    token: str = Field(description=f"the token of a private app; {CREDENTIAL} (`hubspot`)")

    @property
    def place(self) -> str:
        return f"{self.url} {self.account}"


class SalesforceSource(HttpSource):
    """An organisation of Salesforce."""

    of: Literal["salesforce"] = Field(description=_OF)
    api: str = Field(default="62.0", pattern=r"^\d+\.0$", description="the version of the API (`salesforce`)")
    client_id: str = Field(default="", description="of an external client app with the client credentials flow (`salesforce`)")
    client_secret: str = Field(default="", description=f"that of `client_id`; {CREDENTIAL} (`salesforce`)")
    token: str = Field(default="", description=f"an access token, instead of `client_id`; {CREDENTIAL} (`salesforce`)")


class SqlTable(Strict):
    """A table or a query whose rows become one file of the export."""

    table: str = Field(default="", description="the table, view or SCHEMA.TABLE; unset: the export file's name (`sql`)")
    query: str = Field(default="", description="a SELECT instead of `table` (`sql`)")
    key: tuple[str, ...] = Field(default=(), description="the columns that identify a row; unset: the primary key (`sql`)")
    modified: str = Field(default="", description="the column with the time of a row's last change; unset: `modified` (`sql`)")


class SqlSource(Source):
    """Tables of a database: those in `tables`, and otherwise every file that the adapter reads."""

    of: Literal["sql"] = Field(description=_OF)
    database: str = Field(description="`postgresql://user:${PASSWORD}@host/database`, or `sqlite:///FILE` (`sql`)")
    modified: str = Field(default="updated_at", description="the column with the time of a row's last change (`sql`)")
    tables: dict[str, SqlTable] = Field(
        default_factory=dict,
        description="`[pull.NAME.tables.EXPORT_FILE]`: what becomes which file; unset: every file the adapter reads (`sql`)",
    )

    @property
    def place(self) -> str:
        return self.database


AnySource = Annotated[OdooSource | HubspotSource | SalesforceSource | SqlSource, Field(discriminator="of")]


def digest(*parts: object) -> str:
    """A digest of settings."""
    return sha256(repr(parts).encode()).hexdigest()[:16]
