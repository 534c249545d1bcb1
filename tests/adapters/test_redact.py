"""What is masked, and what must stay readable."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

import pytest

from adapters import _redact
from adapters._redact import MASK

SECRETS = [
    "_".join(("sk", "test", "abcdefgh")),
    "_".join(("rk", "live"[:3], "abcdefgh")),
    "whsec" + "_" + "abcdefgh",
    ".".join(("SG", "abcdefgh", "ijklmnop")),
    "AKIA" + "ABCDEFGH12345678",
    "pat-" + "eu1-01234567-89ab",
    "00D" + "5e000000abcd!" + "AQEAQ.abcdefgh_0123",
    "someone@example.com",
    "some.one+tag@mail.example.co.uk",
    "4242" * 4,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "+14155550123",
    "%2B14155550123",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("frame", ["{}", "before {} after", '{{"a": "{}"}}', "x={}&y=1"])
def test_shapes_are_masked_wherever_they_stand(secret: str, frame: str) -> None:
    masked = _redact.text(frame.format(secret))

    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "plain",
    [
        "01920488-9612-7123-8945-123456789012",
        str(UUID(int=0)),
        "2026-11-24T21:49:02.951377+00:00",
        "pi_3QabcDEF",
        "req_123",
        "the vendor answered 503",
        "12500",
        "",
    ],
)
def test_what_helps_to_understand_a_call_stays(plain: str) -> None:
    assert _redact.text(plain) == plain


def test_bodies_are_masked_by_field_and_by_shape() -> None:
    body = {
        "id": "pi_1",
        "amount": 1250,
        "client_secret": "x",
        "payment_method": "pm_1",
        "nested": [{"email": "a", "note": "write to b@example.com", "last4": "4242"}],
    }
    shown = _redact.body(json.dumps(body).encode(), "application/json")

    assert shown == {
        "id": "pi_1",
        "amount": 1250,
        "client_secret": MASK,
        "payment_method": MASK,
        "nested": [{"email": MASK, "note": f"write to {MASK}", "last4": MASK}],
    }


def test_a_form_is_masked_likewise() -> None:
    given = b"amount=1250&payment_method=pm_1&metadata[note]=a%40example.com&card[number]=4242"
    shown = _redact.body(given, "application/x-www-form-urlencoded")

    assert shown == {
        "amount": "1250",
        "payment_method": MASK,
        "metadata[note]": MASK,
        "card[number]": MASK,
    }


def test_a_long_body_is_described_only() -> None:
    given = json.dumps({"note": "x" * 250_000}).encode()

    assert _redact.body(given, "application/json") == {
        "bytes": len(given),
        "sha256": hashlib.sha256(given).hexdigest(),
    }


def test_a_broken_body_is_text() -> None:
    assert _redact.body(b'{"email": "a@example.com"', "application/json") == (
        f'{{"email": "{MASK}"'
    )


def test_urls_lose_credentials_and_addresses() -> None:
    url = "https://user:pw@api.example.com/v3/bounces/a@example.com?to=b@example.com&n=1"

    assert _redact.url(url) == (f"https://api.example.com/v3/bounces/{MASK}?to={MASK}&n=1")


def test_headers_are_few() -> None:
    given = {"Authorization": "Bearer x", "X-Request-Id": "r", "Cookie": "c", "Retry-After": "3"}

    assert _redact.headers(given) == {"x-request-id": "r", "retry-after": "3"}
