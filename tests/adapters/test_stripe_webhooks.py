"""Stripe's webhooks: which are Stripe's own, told the same way as by its official verifier."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from adapters import _stripe_events as hooks
from adapters._base import Delivery, Forged, NoEvent
from adapters._signatures import document
from adapters.stripe import Adapter
from models.engine import dumps
from tests.adapters.stripe_double import CREATED

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "charge.succeeded",
    "created": CREATED,
    "data": {"object": {"object": "charge", "description": "Käse für 5 €"}},
}
BODY = json.dumps(EVENT, ensure_ascii=False, indent=2).encode() + b"\r\n"
SECRETS = tuple("_".join(("whsec", secrets.token_hex(16))) for _ in range(3))
OLD, NEW, OTHERS = SECRETS


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", f" {OLD} ,{NEW},")


def signature(body: bytes = BODY, secret: str = OLD, at: str | None = None) -> str:
    signed = f"{now() if at is None else at}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def now(seconds: int = 0) -> str:
    return str(int(time.time()) + seconds)


def header(**parts: str) -> str:
    """A good one, with some of its parts changed."""
    at = parts.get("t", now())
    return ",".join(f"{k}={v}" for k, v in {"t": at, "v1": signature(at=at), **parts}.items())


async def received(given: str | None, body: bytes = BODY) -> Any:
    headers = {} if given is None else {"stripe-signature": given}
    (event,) = await Adapter().receive(Delivery(headers, body))
    return event


def officially(given: str | None, body: bytes = BODY, secret: str = OLD) -> bool:
    """Whether Stripe's own verifier takes it. What it raises beside its own error is a defect of
    its own: the same as a refusal."""
    with suppress(Exception):
        return bool(stripe.Webhook.construct_event(body, given, secret))
    return False


GOOD: dict[str, Callable[[], str]] = {
    "plain": header,
    "another scheme beside it": lambda: header(v0=signature(secret=OTHERS)),
    "the other scheme first": lambda: f"v0=abc,{header()}",
    "several of ours": lambda: f"t={now()},v1={signature(secret=OTHERS)},v1={signature()}",
    "something new in it": lambda: f"{header()},v2=abc,v3,\ud800",
    "almost too old": lambda: header(t=now(-290)),
}
BAD: dict[str, Callable[[], str | None]] = {
    "none": lambda: None,
    "empty": lambda: "",
    "no time": lambda: f"v1={signature()}",
    "an empty time": lambda: header(t=""),
    "a time that is no number": lambda: header(t="yesterday"),
    "no signature": lambda: f"t={now()}",
    "only the other scheme": lambda: f"t={now()},v0={signature()}",
    "another secret": lambda: f"t={now()},v1={signature(secret=OTHERS)}",
    "another time": lambda: f"t={now()},v1={signature(at=now(-1))}",
    "cut": lambda: header()[:-1],
    "in capitals": lambda: f"t={now()},v1={signature().upper()}",
    "not ASCII": lambda: f"t={now()},v1=ä{signature()[1:]}",
    "no text": lambda: "\0\xff" * 9,
    "commas": lambda: "," * 99,
    "no value": lambda: f"t={now()},v1",
    "a blank": lambda: f"t={now()}, v1={signature()}",
    "too old": lambda: header(t=now(-310)),
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_stripe_signed_is_taken(name: str) -> None:
    given = GOOD[name]()

    event = await received(given)

    assert officially(given)
    assert (event.id, event.type, event.payload) == ("evt_1", "charge.succeeded", EVENT)
    assert event.at.timestamp() == CREATED
    assert event.at.tzinfo is not None


@pytest.mark.parametrize("name", BAD)
async def test_what_stripe_did_not_sign_is_forged(name: str) -> None:
    given = BAD[name]()

    with pytest.raises(Forged):
        await received(given)

    assert not officially(given)


async def test_a_time_to_come_is_forged() -> None:
    """The official verifier takes it; a signature that is good for ever is no time limit."""
    with pytest.raises(Forged, match="time to come"):
        await received(header(t=now(+310)))

    assert await received(header(t=now(+290)))


@pytest.mark.parametrize(
    "body",
    [BODY + b" ", BODY[:-2], BODY.replace(b"5", b"50"), json.dumps(EVENT).encode(), b"", b"\xff"],
)
async def test_another_body_is_forged(body: bytes) -> None:
    with pytest.raises(Forged):
        await received(header(), body)

    assert not officially(header(), body)


async def test_both_secrets_are_good_while_they_are_rotated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = f"t={now()},v1={signature(secret=NEW)}"

    assert await received(given)
    assert officially(given, secret=NEW)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", OLD)
    with pytest.raises(Forged):
        await received(given)


@pytest.mark.parametrize("value", ["", " , "])
async def test_without_a_secret_nothing_is_taken(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", value)

    with pytest.raises(Forged):
        await received(f"t={now()},v1={signature(secret='')}")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["t", "v1", "v0", "T", " t", ""]),
            st.sampled_from(["good", "time", "other", "", "=", "1", "\ud800", "é"]) | st.text(),
        ),
        max_size=5,
    ),
    st.sampled_from([",", ";", ", ", ",,"]),
)
def test_no_header_is_taken_that_the_official_verifier_refuses(
    parts: list[tuple[str, str]], comma: str
) -> None:
    words = {"good": signature(), "time": now(), "other": signature(secret=OTHERS)}
    given = comma.join(f"{name}={words.get(value, value)}" for name, value in parts)

    try:
        hooks.verify(Delivery({"stripe-signature": given}, BODY), [OLD])
    except Forged:
        return
    assert officially(given)


NO_EVENTS = [
    b"",
    b"no JSON",
    b"null",
    b"[]",
    b"7",
    b'"evt_1"',
    b"{}",
    b'{"id": "evt_1"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"id": "evt_1", "type": "a", "created": 1, "data": ' + b"[" * 1010 + b"]" * 1010 + b"}",
    b'{"id": "evt_1", "type": "a", "created": NaN}',
    *(
        json.dumps(EVENT | changes).encode()
        for changes in (
            {"id": None}, {"id": 7}, {"id": ""}, {"id": "x" * 256}, {"id": "evt_\0"},
            {"id": "evt_\ud800"}, {"type": None}, {"type": ["a"]}, {"type": "a\0"}, {"type": "a\n"},
            {"created": None}, {"created": "2026-10-28T12:00:00Z"}, {"created": 1.5},
            {"created": True}, {"created": -1}, {"created": 10**12}, {"created": 10**40},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("body", NO_EVENTS, ids=lambda body: body[:40])
async def test_what_is_signed_but_no_event(body: bytes) -> None:
    with pytest.raises(NoEvent):
        await received(f"t={now()},v1={signature(body)}", body)


JSON = st.dictionaries(
    st.sampled_from(["id", "type", "created", "data"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
)


@given(st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode))
def test_whatever_is_signed_is_an_event_or_none(body: bytes) -> None:
    hooks.verify(Delivery({"stripe-signature": f"t={now()},v1={signature(body)}"}, body), [OLD])

    with suppress(NoEvent):
        event = hooks.read(document(body))
        assert dumps(event)


def test_an_error_quotes_nothing() -> None:
    with pytest.raises(Forged) as raised:
        hooks.verify(Delivery({"stripe-signature": header(t="planted")}, BODY), [OLD])

    assert "planted" not in str(raised.value)
