"""PayPal in a test: its answers, a vendor that gives them by path, and its published contract."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest

from adapters._base import Request, Response, VendorError
from adapters._http import HttpCall
from adapters._payments import ChargeOrder, Known, RefundOrder
from ferryman.policies import policy
from tests.adapters import doubles

CLIENT = "planted-client-id"
SECRET = "planted-client-secret"
# Joined, so that no key-shaped string stands in the tree.
TOKEN = "A21AA" + "planted" * 5
CREATED = "2026-11-28T10:00:00Z"
SESSION, CAPTURE, HOLD, REFUND = "5O190127TN364715T", "3C679366HH908993F", "0VF52814937998046", "R1"
VAULTED = "pm_planted"
ORDER = ChargeOrder(doubles.JOB, None, 1250, "usd", VAULTED, "Tea", {"order": "no-42"})
APPROVAL = ChargeOrder(
    doubles.JOB, None, 1250, "usd", "paypal", return_url="https://shop.example/paid"
)
REFUND_ORDER = RefundOrder(doubles.JOB, CAPTURE, 500, "usd", "duplicate")
KNOWN = Known(payment=HOLD, session=SESSION)
TAKEN = Known(payment=CAPTURE, session=SESSION)
URL = f"https://www.paypal.com/checkoutnow?token={SESSION}"

CREATE = "POST /v2/checkout/orders"
LOOK = f"GET /v2/checkout/orders/{SESSION}"
TAKE = f"POST /v2/checkout/orders/{SESSION}/capture"
AUTHORIZE = f"POST /v2/checkout/orders/{SESSION}/authorize"
TAKE_HELD = f"POST /v2/payments/authorizations/{HOLD}/capture"
VOID = f"POST /v2/payments/authorizations/{HOLD}/void"
GIVE_BACK = f"POST /v2/payments/captures/{CAPTURE}/refund"
GET_TOKEN = "POST /v1/oauth2/token"

Answer = Response | VendorError
Script = Mapping[str, Answer | list[Answer]]


def usd(value: str) -> dict[str, str]:
    return {"currency_code": "USD", "value": value}


def part(id: str, status: str, value: str = "12.50", **more: Any) -> dict[str, Any]:
    """A capture, an authorization or a refund."""
    made = {"id": id, "status": status, "amount": usd(value), "custom_id": str(doubles.JOB)}
    return made | {"create_time": CREATED} | more


def capture(status: str = "COMPLETED", value: str = "12.50", **more: Any) -> dict[str, Any]:
    return part(CAPTURE, status, value, **more)


def hold(status: str = "CREATED", **more: Any) -> dict[str, Any]:
    return part(HOLD, status, **more)


def refund(status: str = "COMPLETED", value: str = "5.00", **more: Any) -> dict[str, Any]:
    href = f"https://api-m.paypal.com/v2/payments/captures/{CAPTURE}"
    return part(REFUND, status, value, links=[{"rel": "up", "href": href}], **more)


def order(status: str, /, **payments: list[dict[str, Any]]) -> dict[str, Any]:
    unit = {"amount": usd("12.50"), "custom_id": str(doubles.JOB)}
    links = [{"rel": "self", "href": "https://api-m.paypal.com"}]
    if status in ("CREATED", "PAYER_ACTION_REQUIRED"):
        links.append({"rel": "payer-action", "href": URL})
    return {
        "id": SESSION,
        "intent": "CAPTURE",
        "status": status,
        "create_time": CREATED,
        "purchase_units": [unit | ({"payments": payments} if payments else {})],
        "links": links,
    }


def answer(http_status: int, document: Any = None) -> Response:
    headers = {"content-type": "application/json", "paypal-debug-id": "debug-1"}
    return Response(
        http_status, headers, b"" if document is None else json.dumps(document).encode()
    )


def refusal(http_status: int, *issues: str, name: str = "ERROR", **more: Any) -> Response:
    details = [{"issue": issue, "description": "in their words"} for issue in issues]
    document = {"name": name, "message": "in their words", "details": details, "debug_id": "d"}
    return answer(http_status, document | more)


NOT_FOUND = refusal(404, "INVALID_RESOURCE_ID", name="RESOURCE_NOT_FOUND")
TOKEN_ANSWER = answer(
    200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 32400, "nonce": "n"}
)


def dealing(script: Script) -> Callable[[Request], Answer]:
    """Answers by method and path; of several, one after the other, and the last for ever."""
    left = {name: given if isinstance(given, list) else [given] for name, given in script.items()}
    left.setdefault(GET_TOKEN, [TOKEN_ANSWER])

    def deal(request: Request) -> Answer:
        if "FERRYMAN_CONTRACTS" in os.environ:
            fits(request)
        answers = left[f"{request.method} {urlsplit(request.url).path}"]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return deal


class Paypal:
    """One call of one job, and what PayPal and the ledger see of it."""

    def __init__(self, script: Script, *, doubtful: str | None = None) -> None:
        self.vendor = doubles.Vendor(dealing(script))
        self.notes = doubles.Notes(in_doubt={doubtful} if doubtful else set())
        self.kept: list[str] = []
        self.call = self.another()

    def another(self) -> HttpCall:
        made: Any = self.vendor
        return HttpCall("paypal", made, policy("paypal"), self.notes)

    async def keep(self, session: str) -> None:
        self.kept.append(session)

    def asked(self) -> list[str]:
        """Method and path of what was sent, without the tokens."""
        sent = [f"{r.method} {urlsplit(r.url).path}" for r, _ in self.vendor.requests]
        return [one for one in sent if one != GET_TOKEN]

    def request(self, name: str) -> Request:
        """The last one of that method and path."""
        return next(
            request
            for request, _ in reversed(self.vendor.requests)
            if f"{request.method} {urlsplit(request.url).path}" == name
        )

    def body(self, name: str) -> Any:
        return json.loads(self.request(name).body)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be imported by the test files of PayPal."""
    from adapters import _paypal_wire

    monkeypatch.setenv("PAYPAL_CLIENT_ID", CLIENT)
    monkeypatch.setenv("PAYPAL_CLIENT_SECRET", SECRET)
    monkeypatch.delenv("PAYPAL_BASE_URL", raising=False)
    monkeypatch.setattr(_paypal_wire, "LOCKED_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(_paypal_wire, "TOKENS", type(_paypal_wire.TOKENS)())


@cache
def _contract() -> Any:
    return json.loads(Path(os.environ["FERRYMAN_CONTRACTS"], "paypal.json").read_text())


def fits(request: Request) -> None:
    """Fails where PayPal's published contract does not know what is sent."""
    url = urlsplit(request.url)
    if url.path == "/v1/oauth2/token":
        return  # not within the contract
    operation, path_values = _operation(request.method.lower(), url.path)
    given = {name.lower(): value for name, value in request.headers.items()}
    given |= path_values | dict(parse_qsl(url.query))
    for parameter in operation.get("parameters", []):
        value, schema = given.get(parameter["name"].lower()), parameter["schema"]
        assert value is not None or not parameter.get("required"), parameter["name"]
        if value is not None:
            jsonschema.validate(int(value) if schema["type"] == "integer" else value, schema)
    named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    assert set(dict(parse_qsl(url.query))) <= named | {"next_page_token"}
    if request.body:
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        body = json.loads(request.body)
        jsonschema.validate(body, content | {"components": _contract()["components"]})
        _known_only(body, content)
    assert request.headers["Content-Type"] == "application/json"


def _operation(method: str, path: str) -> tuple[Any, dict[str, str]]:
    for template, operations in _contract()["paths"].items():
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template)
        if method in operations and (match := re.fullmatch(pattern, path)):
            return operations[method], match.groupdict()
    raise AssertionError(f"{method} {path} is not in the contract")


def _known_only(value: Any, schema: Any) -> None:
    """Fails for a field that the contract does not name: it does not forbid others itself."""
    fields = dict(_fields(schema))
    items = dict(_fields(schema, "items"))
    if isinstance(value, dict):
        assert set(value) <= set(fields), set(value) - set(fields)
        for name, inner in value.items():
            _known_only(inner, fields[name])
    for inner in value if isinstance(value, list) else []:
        _known_only(inner, items)


def _fields(schema: Any, within: str = "properties") -> Iterator[tuple[str, Any]]:
    if name := schema.get("$ref"):
        yield from _fields(_contract()["components"]["schemas"][name.rpartition("/")[2]], within)
    for inner in schema.get("allOf", []):
        yield from _fields(inner, within)
    yield from schema.get(within, {}).items()
