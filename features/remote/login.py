"""The login: calls with an access token, from the settings or by OAuth 2.0 client credentials, which is renewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from features.errors import WorkspaceError
from features.remote.credential import credential
from features.remote.environment import filled
from features.remote.failure import Denied, Refused
from features.remote.wire import Wire, parsed
from features.settings import Workspace

if TYPE_CHECKING:
    import httpx


class Client(Protocol):
    """What the settings say of who calls."""

    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> str: ...
    @property
    def token(self) -> str: ...


class Login:
    """Who calls.

    Args:
        workspace: a file with a credential must lie outside it.
        wire: to the target.
        where: the target's table in the settings, for errors.
        target: the settings.
        address: that gives tokens.
        form: what it is told besides who calls.

    Raises:
        WorkspaceError: credentials are not there, stand in the settings, or are of both kinds.
    """

    def __init__(
        self,
        workspace: Workspace,
        wire: Wire,
        where: str,
        target: Client,
        address: str,
        form: Mapping[str, str],
    ) -> None:
        if bool(target.token) == bool(target.client_id and target.client_secret):
            raise WorkspaceError(
                where,
                expected="`client_id` and `client_secret`, or `token`",
                received="both" if target.token else "neither",
                repair='write them as "${NAME}" of environment variables',
            )
        self._wire, self._address = wire, address
        self._token = credential(workspace, target.token, f"{where} token") if target.token else ""
        self._form: dict[str, str] = {}
        if not target.token:
            secret = credential(workspace, target.client_secret, f"{where} client_secret")
            client = {"client_id": filled(target.client_id, f"{where} client_id"), "client_secret": secret}
            self._form = {"grant_type": "client_credentials", **client, **form}
            wire.secrets.append(secret)
        wire.secrets.append(self._token)

    def call(self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
        """A call as `Wire.call`.

        Raises:
            Refused, Busy, Denied: as `Wire.call`.
        """
        if not self._token:
            self._renew()
        try:
            return self._wire.call(method, url, headers={**self._authorization(), **(headers or {})}, **options)
        except Denied as denied:
            if denied.status != 401 or not self._form:
                raise
        self._renew()
        return self._wire.call(method, url, headers={**self._authorization(), **(headers or {})}, **options)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = parsed(self._wire.call("POST", self._address, content=urlencode(self._form).encode(), headers=headers))
        except Refused as refused:
            raise Denied(refused.told) from None
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise Denied("the answer has no access token; is the address right?")
        self._token = str(answer["access_token"])
        self._wire.secrets.append(self._token)
