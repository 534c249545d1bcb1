"""Stripe in a test: its answers, and a vendor that gives them one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from adapters._base import Request, Response
from adapters._http import HttpCall
from adapters._payments import ChargeOrder, Known, RefundOrder
from ferryman.policies import policy
from tests.adapters import doubles

# Joined, so that no key-shaped string stands in the tree.
KEY = "_".join(("sk", "test", "planted" * 3))
CREATED = 1795556943
ORDER = ChargeOrder(doubles.JOB, "cus_1", 1250, "usd", "pm_card_visa", "Tea", {"order": "no-42"})
REFUND_ORDER = RefundOrder(doubles.JOB, "pi_1", 500, "usd", "duplicate")
KNOWN = Known(payment="pi_1", customer="cus_1")
METADATA = {"job": str(doubles.JOB)}
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 1250,
    "amount_capturable": 0,
    "amount_received": 1250,
    "currency": "usd",
    "created": CREATED,
    "metadata": METADATA,
    "client_secret": "pi_1_secret_planted",
    "receipt_email": "someone.planted@example.com",
}
HELD = INTENT | {"status": "requires_capture", "amount_capturable": 1250, "amount_received": 0}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "status": "succeeded",
    "amount": 500,
    "currency": "usd",
    "created": CREATED,
    "payment_intent": "pi_1",
    "metadata": METADATA,
}
CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "status": "succeeded",
    "captured": True,
    "amount": 1250,
    "amount_captured": 1250,
    "currency": "usd",
    "created": CREATED,
    "payment_intent": "pi_1",
    "metadata": METADATA,
    "disputed": False,
}


# Every status of an intent, and what it is to us.
STATUSES = (
    ("requires_payment_method", "failed"),
    ("requires_confirmation", "requires_action"),
    ("requires_action", "requires_action"),
    ("processing", "processing"),
    ("requires_capture", "authorized"),
    ("succeeded", "succeeded"),
    ("canceled", "cancelled"),
)


async def kept_nothing(session: str) -> None:
    raise AssertionError(f"Stripe needs no session, and kept {session}")


def answer(http_status: int, /, **body: Any) -> Response:
    headers = {"content-type": "application/json", "request-id": "req_1"}
    return Response(http_status, headers, json.dumps(body).encode())


def refusal(http_status: int, type_: str, /, **error: Any) -> Response:
    return answer(http_status, error={"type": type_, "message": "in their words", **error})


def page(*rows: dict[str, Any], more: bool = False) -> Response:
    return answer(200, object="list", data=list(rows), has_more=more)


def calling(*answers: doubles.Answer) -> tuple[HttpCall, doubles.Vendor, doubles.Notes]:
    """A way out to a vendor that gives these answers in turn, the last one for ever."""
    left = list(answers)
    give: Callable[[Request], doubles.Answer] = lambda _: (  # noqa: E731
        left.pop(0) if len(left) > 1 else left[0]
    )
    client, notes = doubles.Vendor(give), doubles.Notes()
    made = HttpCall("stripe", client, policy("stripe"), notes)  # type: ignore[arg-type]
    return made, client, notes


def asked(vendor: doubles.Vendor) -> list[str]:
    """What was asked for: `POST /v1/payment_intents`, without the query."""
    return [
        f"{request.method} {request.url.removeprefix('https://api.stripe.com').partition('?')[0]}"
        for request, _ in vendor.requests
    ]


def form(encoded: str | bytes) -> Any:
    """A form or query with brackets, as the object it stands for."""
    text = encoded.decode() if isinstance(encoded, bytes) else encoded
    made: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        *path, last = name.replace("]", "").split("[")
        place = made
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return made


def sent(request: Request) -> Any:
    """The parameters of a request, wherever they are."""
    return form(request.body if request.method == "POST" else request.url.partition("?")[2])
