"""Salesforce's access token, by the client credentials of a connected app. It has no end that is
told: it is good until it is refused.

https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_client_credentials_flow.htm
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode, urlsplit

from adapters._base import Call, Misconfigured, Request, Unavailable
from adapters._records import document
from adapters._tokens import Token

PATH = "/services/oauth2/token"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
BODY = urlencode({"grant_type": "client_credentials"}).encode()
# Where the companies' own addresses lie: a token is sent nowhere else.
HOSTS = (".salesforce.com", ".force.com", ".salesforce.mil")


async def fetch(call: Call, address: str, client: str, secret: str, *, fixed: bool) -> Token:
    """Ask for a token. It has no effect, so the ledger keeps the exchange and no mark. `fixed`: the
    API is where the token comes from, whatever the answer says (a base URL of the operator's)."""
    request = Request("POST", address + PATH, HEADERS, BODY, opaque=True)
    try:
        answer = await call.read(request, credentials={"Authorization": _basic(client, secret)})
    except Misconfigured as error:
        raise _refused(error.status) from None
    if 400 <= answer.status < 500:
        raise _refused(answer.status)
    told = document(answer)
    value = told.get("access_token") if isinstance(told, dict) else None
    if answer.status != 200 or not isinstance(value, str) or not _is_header(value):
        raise Unavailable("the vendor's token cannot be read", status=answer.status)
    where = address if fixed else str(told.get("instance_url") or address).rstrip("/")
    if where != address and not _is_theirs(where):
        raise Unavailable("the vendor names an address that is not its own", status=answer.status)
    return Token(value, float("inf"), where)


def _basic(client: str, secret: str) -> str:
    both = f"{client}:{secret}".encode()
    return f"Basic {b64encode(both).decode()}"


def _is_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()


def _is_theirs(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" and host.endswith(HOSTS) and parts.path in ("", "/")


def _refused(status: int | None) -> Misconfigured:
    return Misconfigured("SALESFORCE_CLIENT_ID is not accepted with its secret", status=status)
