"""A caller of the fake PayPal, with and without HTTP, for the tests beside this file."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ferryman.testing import Sandbox
from sandbox.state import State
from sandbox.vendor import Answer, Request, Vendor

ORDERS = "/v2/checkout/orders"
PAYMENTS = "/v2/payments"
EVENTS = "/v1/notifications/webhooks-events"
TOKEN = "/v1/oauth2/token"
FORM = "application/x-www-form-urlencoded"
JOB = "0198c0de-0000-7000-8000-000000000001"
WHOLE = "return=representation"


def basic(vendor: Vendor) -> str:
    known = vendor.environment
    pair = f"{known['PAYPAL_CLIENT_ID']}:{known['PAYPAL_CLIENT_SECRET']}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@dataclass
class PayPal:
    """Asks the fake as the gateway does, but without HTTP: hundreds of questions in no time."""

    vendor: Vendor
    headers: dict[str, str] = field(default_factory=dict)

    def start(
        self, method: str, path: str, body: Any = None, **headers: str | None
    ) -> Callable[[], Answer]:
        """Begins a request; what is returned ends it. A header of None is left out."""
        request = self._request(method, path, body, headers)
        outcome = self.vendor.open(request)

        def end() -> Answer:
            if isinstance(outcome, Answer):
                return outcome
            answer = outcome()
            self.vendor.close(request, answer)
            return answer

        return end

    def _request(
        self, method: str, path: str, body: Any, headers: dict[str, str | None]
    ) -> Request:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"content-type": "application/json", "prefer": WHOLE} | self.headers | named
        path, _, query = path.partition("?")
        known = {name: value for name, value in sent.items() if value is not None}
        return Request("paypal", method, path, query, known, _encoded(body))

    def ask(self, method: str, path: str, body: Any = None, **headers: str | None) -> Answer:
        return self.start(method, path, body, **headers)()

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> Any:
        """Status and document."""
        answer = self.ask(method, path, body, **headers)
        return answer.status, json.loads(answer.body or b"{}")

    def post(self, path: str, body: Any = None, key: str | None = None) -> Any:
        return self.call("POST", path, body, paypal_request_id=key)

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def do(self, action: str, **arguments: Any) -> Any:
        return self.vendor.dashboard(action, arguments)

    def paid(self, **changes: Any) -> Any:
        """A capture that is made at once, as its order tells it."""
        status, made = self.post(ORDERS, vaulted(**changes), key=f"paid-{self._next()}")
        assert status == 201, made
        return made["purchase_units"][0]["payments"]["captures"][0]

    def held(self, **changes: Any) -> Any:
        """An authorization, as its order tells it."""
        given = vaulted(intent="AUTHORIZE", **changes)
        status, made = self.post(ORDERS, given, key=f"held-{self._next()}")
        assert status == 201, made
        return made["purchase_units"][0]["payments"]["authorizations"][0]

    _made: int = 0

    def _next(self) -> int:
        self._made += 1
        return self._made


def connected(state: State) -> PayPal:
    """A caller with a token."""
    paypal = PayPal(state.vendors["paypal"])
    grant = b"grant_type=client_credentials"
    headers = {"authorization": basic(paypal.vendor), "content_type": FORM}
    _, granted = paypal.call("POST", TOKEN, grant, **headers)
    paypal.headers = {"authorization": f"Bearer {granted['access_token']}"}
    return paypal


def _encoded(body: Any) -> bytes:
    """Bytes as they are, None as nothing, all else as JSON."""
    if isinstance(body, bytes):
        return body
    return b"" if body is None else json.dumps(body).encode()


@contextmanager
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A caller by HTTP, with a token."""
    known = sandbox.environment()
    credentials = (known["PAYPAL_CLIENT_ID"], known["PAYPAL_CLIENT_SECRET"])
    grant = {"grant_type": "client_credentials"}
    with httpx.Client(base_url=sandbox.base_url("paypal"), timeout=5, trust_env=False) as http:
        token = http.post(TOKEN, data=grant, auth=credentials).json()["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "Prefer": WHOLE})
        yield http


def unit(value: str = "12.50", currency: str = "USD", **changes: Any) -> dict[str, Any]:
    """A purchase unit; a change to None takes a field away."""
    usual = {"amount": {"currency_code": currency, "value": value}, "custom_id": JOB}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def order(**changes: Any) -> dict[str, Any]:
    """An order of 12.50 USD, without a payment source."""
    usual = {"intent": "CAPTURE", "purchase_units": [unit()]}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def source(token: str = "vault_ok") -> dict[str, Any]:
    return {"payment_source": {"paypal": {"vault_id": token}}}


def vaulted(token: str = "vault_ok", **changes: Any) -> dict[str, Any]:
    """An order that is paid as soon as it is made."""
    return order(**{**source(token), **changes})


ASKING = {
    "payment_source": {
        "paypal": {
            "experience_context": {
                "return_url": "https://shop.example/back",
                "cancel_url": "https://shop.example/no",
                "user_action": "PAY_NOW",
            }
        }
    }
}


def issue(document: dict[str, Any]) -> tuple[str, str | None]:
    """The first issue of an error, and its field."""
    (first, *_) = document["details"]
    return first["issue"], first.get("field")


def linked(document: dict[str, Any], rel: str) -> str | None:
    return next((link["href"] for link in document["links"] if link["rel"] == rel), None)
