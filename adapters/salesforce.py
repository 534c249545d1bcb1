"""Salesforce: contacts. Facts:
https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from adapters import _base, _salesforce_token
from adapters import _salesforce as words
from adapters._base import Call, Misconfigured, Repeat, Request, Response
from adapters._crm import Contact
from adapters._records import STEP, Outcome, Record
from adapters._tokens import Token, Tokens
from ferryman.policies import policy

CLIENT, SECRET = "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"
LOGIN = "SALESFORCE_LOGIN_URL"
VERSION = "v62.0"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
TOKENS = Tokens()


class Adapter(_base.Adapter):
    vendor = "salesforce"
    # Each company has an address of its own there, which SALESFORCE_LOGIN_URL names.
    base_url = ""
    base_url_variable = "SALESFORCE_BASE_URL"
    secrets = (CLIENT, SECRET)
    renews_credentials = True

    def address(self) -> str:
        """Where tokens are given out. Raises Misconfigured."""
        found = super().address() or os.environ.get(LOGIN, "").rstrip("/")
        if not found:
            raise Misconfigured(f"{LOGIN} is not set", code="credentials_missing")
        return found

    def configured(self) -> bool:
        where = os.environ.get(self.base_url_variable) or os.environ.get(LOGIN)
        return super().configured() and bool(where)

    def contact(self, one: Contact) -> Record:
        return words.contact(one, policy(self.vendor))

    async def upsert(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """The same contact with the same fields is the same contact: it may be sent again."""
        path = f"/services/data/{VERSION}/composite/sobjects/Contact/{policy(self.vendor).id_field}"
        body = b'{"allOrNone":false,"records":[' + b",".join(one.body for one in records) + b"]}"
        answer = await self._authorized(call, step, path, body)
        return await words.upserted(call, step, answer, records, policy(self.vendor))

    async def _authorized(self, call: Call, step: str, path: str, body: bytes) -> Response:
        """Send with the process's token. A 401 proves that nothing happened: then once more with a
        new one, which is asked for once by all who need it."""
        refused: str | None = None
        while True:
            token = await self._token(call, refused)
            try:
                return await call.write(
                    step,
                    Request("PATCH", token.address + path, JSON, body, opaque=True),
                    key=call.key(step),
                    repeat=Repeat.NATURAL,
                    credentials={"Authorization": f"Bearer {token.value}"},
                )
            except Misconfigured as error:
                if error.status != 401:
                    raise words.not_allowed(error) from None
                if refused is not None:
                    raise Misconfigured(f"{CLIENT} is not accepted", status=401) from None
            refused = token.value

    async def _token(self, call: Call, refused: str | None) -> Token:
        client, secret = self.secret(CLIENT), self.secret(SECRET)
        address = self.address()
        fixed = bool(os.environ.get(self.base_url_variable))
        fetch = partial(_salesforce_token.fetch, call, address, client, secret, fixed=fixed)
        return await TOKENS.get(f"{address} {self.fingerprint()}", fetch, refused)
