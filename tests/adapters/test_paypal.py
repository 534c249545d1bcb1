"""PayPal: what is sent for each operation, and what survives of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _paypal as words
from adapters._base import Misconfigured, Refused, Repeat, Unavailable
from adapters._http import HttpCall
from adapters._payments import Known, Payments, RefundOrder
from adapters.paypal import Adapter
from ferryman.money import exponent
from tests.adapters import doubles, paypal_double, paypal_pki
from tests.adapters.paypal_double import (
    APPROVAL,
    AUTHORIZE,
    CAPTURE,
    CLIENT,
    CREATE,
    GET_TOKEN,
    GIVE_BACK,
    HOLD,
    KNOWN,
    LOOK,
    ORDER,
    REFUND_ORDER,
    SECRET,
    SESSION,
    TAKE,
    TAKE_HELD,
    TOKEN,
    VAULTED,
    VOID,
    Paypal,
    answer,
    capture,
    environment,  # noqa: F401 - for all tests here
    hold,
    order,
    refund,
    refusal,
)
from tests.contract.operations import METHOD, Operation, Secret, Webhooks
from tests.faulty import answer as raw

JOB = str(doubles.JOB)
# Also those that begin with WH- are taken, though the contract has no dash.
EVENT_ID = "8PT597110X687430LKGECATA"
BEGUN = replace(ORDER, session=SESSION, payment_method=METHOD)
HELD = order("COMPLETED", authorizations=[hold()])


async def _keep(_session: str) -> None:
    """The ledger of these tests."""


async def _order(call: HttpCall) -> object:
    return await Adapter().charge(call, APPROVAL, _keep)


async def _charge(call: HttpCall) -> object:
    return await Adapter().charge(call, BEGUN, _keep)


async def _capture(call: HttpCall) -> object:
    return await Adapter().capture(call, KNOWN, 1000, "usd")


async def _cancel(call: HttpCall) -> object:
    return await Adapter().cancel_payment(call, KNOWN)


async def _refund(call: HttpCall) -> object:
    return await Adapter().refund(call, REFUND_ORDER)


ASIDE = {
    GET_TOKEN: raw(200, b'{"access_token": "planted-token", "expires_in": 32400}'),
    LOOK: raw(200, json.dumps(HELD).encode()),
}
OPERATIONS = [
    Operation(do.__name__.strip("_"), do, Repeat.KEY, aside=ASIDE)
    for do in (_order, _charge, _capture, _cancel, _refund)
]


def _secret() -> Secret:
    webhook = f"WH-{os.urandom(8).hex().upper()}"

    def sign(body: bytes, *, age: float = 0) -> Any:
        return paypal_pki.pki().delivery(body, webhook, age=age)

    return Secret(webhook, sign)


@contextmanager
def _around() -> Iterator[Mapping[str, str]]:
    pki = paypal_pki.pki()
    with paypal_pki.serving({paypal_pki.PATH: pki.chain()}) as url:
        yield {"PAYPAL_BASE_URL": url, "PAYPAL_CERT_ROOT": pki.root_pem()}


WEBHOOKS = Webhooks(
    secret=_secret,
    body=json.dumps(paypal_pki.EVENT).encode(),
    ids=(paypal_pki.EVENT["id"],),
    needs=tuple(paypal_pki.HEADERS),
    around=_around,
)


def test_it_is_a_payment_vendor() -> None:
    adapter: Payments = Adapter()
    assert not adapter.has_customers


async def test_an_order_is_made_and_kept_before_money_can_move() -> None:
    paypal = Paypal(
        {
            CREATE: answer(201, order("CREATED")),
            TAKE: answer(201, order("COMPLETED", captures=[capture()])),
        }
    )

    payment = await Adapter().charge(paypal.call, ORDER, paypal.keep)

    assert paypal.asked() == [CREATE, TAKE]
    assert paypal.kept == [SESSION]
    assert paypal.body(CREATE) == {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "custom_id": JOB,
                "amount": {"currency_code": "USD", "value": "12.50"},
                "description": "Tea",
            }
        ],
    }
    assert paypal.body(TAKE) == {"payment_source": {"paypal": {"vault_id": VAULTED}}}
    assert [(step, key, repeat) for step, key, repeat, _ in paypal.notes.left] == [
        ("order", f"{JOB}:order", Repeat.KEY),
        ("charge", f"{JOB}:charge", Repeat.KEY),
    ]
    for request, credentials in paypal.vendor.requests[1:]:
        assert request.headers["PayPal-Request-Id"] in (f"{JOB}:order", f"{JOB}:charge")
        assert request.headers["Prefer"] == "return=representation"
        assert credentials == {"Authorization": f"Bearer {TOKEN}"}
    assert paypal.notes.answers == ["order", "charge"]
    assert (payment.vendor_reference, payment.session) == (CAPTURE, SESSION)
    assert (payment.status, payment.amount, payment.currency) == ("succeeded", 1250, "usd")
    assert payment.created_at.isoformat() == "2026-11-28T10:00:00+00:00"


async def test_nothing_is_taken_where_the_order_cannot_be_kept() -> None:
    paypal = Paypal({CREATE: answer(201, order("CREATED"))})

    async def keep(_: str) -> None:
        raise ConnectionError("the ledger is away")

    with pytest.raises(ConnectionError):
        await Adapter().charge(paypal.call, ORDER, keep)

    assert paypal.asked() == [CREATE]


async def test_a_payer_is_asked_on_paypals_page() -> None:
    paypal = Paypal({CREATE: answer(200, order("PAYER_ACTION_REQUIRED"))})

    payment = await Adapter().charge(paypal.call, APPROVAL, paypal.keep)

    assert paypal.asked() == [CREATE]
    assert paypal.kept == [SESSION]
    assert paypal.body(CREATE)["payment_source"]["paypal"]["experience_context"] == {
        "user_action": "PAY_NOW",
        "shipping_preference": "NO_SHIPPING",
        "return_url": "https://shop.example/paid",
        "cancel_url": "https://shop.example/paid",
    }
    assert (payment.status, payment.vendor_reference) == ("requires_action", None)
    assert payment.action_url == paypal_double.URL
    assert (payment.session, payment.amount) == (SESSION, 1250)


async def test_money_is_held_where_it_is_not_to_be_taken_yet() -> None:
    paypal = Paypal({CREATE: answer(201, order("CREATED")), AUTHORIZE: answer(201, HELD)})

    payment = await Adapter().charge(paypal.call, replace(ORDER, capture=False), paypal.keep)

    assert paypal.body(CREATE)["intent"] == "AUTHORIZE"
    assert (payment.status, payment.vendor_reference) == ("authorized", HOLD)


async def test_the_request_of_a_capture() -> None:
    paypal = Paypal({TAKE_HELD: answer(201, capture(value="10.00"))})

    payment = await Adapter().capture(paypal.call, KNOWN, 1000, "usd")

    assert paypal.body(TAKE_HELD) == {
        "amount": {"currency_code": "USD", "value": "10.00"},
        "final_capture": True,
    }
    assert (payment.vendor_reference, payment.session) == (CAPTURE, SESSION)
    assert (payment.status, payment.amount) == ("succeeded", 1000)


async def test_the_request_of_a_void() -> None:
    paypal = Paypal({LOOK: answer(200, HELD), VOID: answer(204)})

    payment = await Adapter().cancel_payment(paypal.call, KNOWN)

    assert paypal.asked() == [LOOK, VOID]
    assert paypal.request(VOID).body == b""
    assert (payment.status, payment.amount) == ("cancelled", 1250)
    assert paypal.notes.answers == ["cancel"]


async def test_the_request_of_a_refund() -> None:
    paypal = Paypal({GIVE_BACK: answer(201, refund())})

    told = await Adapter().refund(paypal.call, REFUND_ORDER)

    assert paypal.body(GIVE_BACK) == {
        "amount": {"currency_code": "USD", "value": "5.00"},
        "custom_id": JOB,
    }
    assert (told.vendor_reference, told.status, told.job) == ("R1", "succeeded", doubles.JOB)
    assert (told.amount, told.currency) == (500, "usd")


@pytest.mark.skipif(
    "FERRYMAN_CONTRACTS" not in os.environ, reason="FERRYMAN_CONTRACTS names no folder"
)
async def test_requests_fit_the_published_contract() -> None:
    """As all of these tests look at theirs, but for the folder's being there."""
    look = order("COMPLETED", captures=[capture()], refunds=[refund()])
    paypal = Paypal(
        {
            CREATE: [answer(201, order("CREATED")), answer(200, order("PAYER_ACTION_REQUIRED"))],
            TAKE: answer(201, look),
            AUTHORIZE: answer(201, HELD),
            LOOK: [answer(200, HELD), answer(200, look)],
            TAKE_HELD: answer(201, capture()),
            VOID: answer(204),
            GIVE_BACK: answer(201, refund()),
            f"GET /v2/payments/captures/{CAPTURE}": answer(200, capture()),
            "GET /v1/notifications/webhooks-events": answer(200, {"events": []}),
            f"GET /v1/notifications/webhooks-events/{EVENT_ID}": answer(200, paypal_pki.EVENT),
        }
    )
    adapter, call = Adapter(), paypal.call
    await adapter.charge(call, ORDER, paypal.keep)
    await adapter.charge(call, APPROVAL, paypal.keep)
    await adapter.charge(call, replace(BEGUN, capture=False), paypal.keep)
    await adapter.capture(call, KNOWN, 1000, "usd")
    await adapter.cancel_payment(call, KNOWN)
    await adapter.refund(call, REFUND_ORDER)
    await adapter.find_refund(call, KNOWN, words.moment(capture()))
    await adapter.read_payment(call, Known(payment=CAPTURE))
    at = words.moment(capture())
    assert [event async for event in adapter.events(call, at, at)] == []
    await adapter.read_event(call, EVENT_ID)

    assert len(set(paypal.asked())) == 10


@pytest.mark.skipif(
    "FERRYMAN_CONTRACTS" not in os.environ, reason="FERRYMAN_CONTRACTS names no folder"
)
def test_a_request_that_does_not_fit_the_contract_is_found() -> None:
    good = {"intent": "CAPTURE", "purchase_units": [{"amount": paypal_double.usd("1.00")}]}
    unit = {"amount": paypal_double.usd("1.00"), "customid": "1"}
    for body in (good | {"metadata": {}}, good | {"purchase_units": [unit]}, {"intent": "CAPTURE"}):
        request = paypal_double.Request(
            "POST",
            "https://x/v2/checkout/orders",
            {"Content-Type": "application/json"},
            json.dumps(body).encode(),
        )
        with pytest.raises(Exception):  # noqa: B017, PT011 - jsonschema's or an assertion
            paypal_double.fits(request)


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [("usd", 1250, "12.50"), ("eur", 5, "0.05"), ("jpy", 500, "500"), ("huf", 50000, "500"),
     ("twd", 100, "1"), ("brl", 99_999_999, "999999.99")],
)  # fmt: skip
def test_amounts(currency: str, ours: int, theirs: str) -> None:
    written = words.money(ours, currency)

    assert written == {"currency_code": currency.upper(), "value": theirs}
    assert words.minor(written) == (ours, currency)


@given(st.integers(1, 10**12), st.sampled_from(sorted(words.CURRENCIES)))
def test_amounts_are_exact_both_ways(amount: int, currency: str) -> None:
    unit = 10 ** exponent(currency)
    if currency in words.WHOLE and amount % unit:
        with pytest.raises(Refused) as raised:
            words.money(amount, currency)
        assert raised.value.code == "invalid_amount"
        return
    written = words.money(amount, currency)
    assert Decimal(written["value"]) * unit == amount
    assert words.minor(written) == (amount, currency)
    assert len(written["value"].partition(".")[2]) == (0 if currency in words.WHOLE else 2)


@pytest.mark.parametrize(
    "value", ["", "-1.00", "1e3", "NaN", "Infinity", "1_0", "1.005", " 1", 1.0]
)
def test_no_amounts(value: Any) -> None:
    with pytest.raises(words.UNREADABLE):
        words.minor({"currency_code": "USD", "value": value})


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"currency": "kwd"}, "currency_not_supported", "currency"),
        ({"currency": "inr"}, "currency_not_supported", "currency"),
        ({"currency": "huf", "amount": 1250}, "invalid_amount", "amount"),
        ({"description": "x" * 128}, "invalid_arguments", "description"),
        ({"payment_method": "a/b"}, "invalid_arguments", "payment_method"),
        ({"payment_method": "x" * 256}, "invalid_arguments", "payment_method"),
    ],
)
async def test_what_cannot_be_expressed_is_refused_before_anything_is_sent(
    changes: dict[str, Any], code: str, field: str
) -> None:
    paypal = Paypal({})

    with pytest.raises(Refused, match=f"^{field}: ") as raised:
        await Adapter().charge(paypal.call, replace(ORDER, **changes), paypal.keep)

    assert raised.value.code == code
    assert paypal.vendor.requests == []


async def test_amounts_of_refunds_and_captures_are_refused_before_anything_is_sent() -> None:
    paypal = Paypal({})
    for currency in ("huf", "bhd"):
        with pytest.raises(Refused):
            await Adapter().capture(paypal.call, KNOWN, 1250, currency)
        with pytest.raises(Refused):
            await Adapter().refund(paypal.call, RefundOrder(doubles.JOB, CAPTURE, 1250, currency))

    assert paypal.vendor.requests == []


async def test_a_description_of_the_longest() -> None:
    paypal = Paypal({CREATE: answer(201, order("PAYER_ACTION_REQUIRED"))})

    await Adapter().charge(paypal.call, replace(APPROVAL, description="ü" * 127), paypal.keep)

    assert paypal.body(CREATE)["purchase_units"][0]["description"] == "ü" * 127


async def test_no_secret_survives_in_a_transcript() -> None:
    payer = {"email_address": "someone.planted@example.com", "payer_id": "PLANTEDPAYER"}
    made = order("COMPLETED", captures=[capture()]) | {"payer": payer}
    declined = refusal(422, "INSTRUMENT_DECLINED", payment_source={"paypal": {"vault_id": VAULTED}})
    paypal = Paypal({CREATE: answer(201, order("CREATED")), TAKE: [answer(201, made), declined]})
    await Adapter().charge(paypal.call, ORDER, paypal.keep)
    with pytest.raises(Refused) as raised:
        await Adapter().charge(paypal.call, ORDER, paypal.keep)

    kept = json.dumps(paypal.notes.interactions, default=str)
    kept += json.dumps(raised.value.as_error())
    kept += repr([replace(r, body=b"") for *_, r in paypal.notes.left])
    assert len(paypal.notes.interactions) == 5
    for secret in (CLIENT, SECRET, TOKEN, VAULTED, "someone.planted", "PLANTEDPAYER"):
        assert secret not in kept
    assert "Basic" not in kept
    assert "Bearer" not in kept.replace('"token_type": "Bearer"', "")
    assert "debug-1" in kept
    assert f"{JOB}:charge" in kept


@pytest.mark.parametrize("name", ["PAYPAL_CLIENT_ID", "PAYPAL_CLIENT_SECRET"])
async def test_a_missing_credential_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    paypal = Paypal({})

    with pytest.raises(Misconfigured, match=f"{name} is not set"):
        await Adapter().charge(paypal.call, ORDER, paypal.keep)

    assert paypal.vendor.requests == []


@pytest.mark.parametrize(
    ("url", "live", "trial"),
    [
        (None, True, False),
        ("https://api-m.paypal.com", True, False),
        ("https://api.paypal.com/", True, False),
        ("https://API-M.PayPal.com.:443", True, False),
        ("https://api-m.sandbox.paypal.com", False, True),
        ("https://api.sandbox.paypal.com", False, True),
        ("http://127.0.0.1:9000/paypal", False, False),
        ("https://paypal.com.fake.example", False, False),
    ],
)
def test_a_live_account_is_known_by_its_address(
    url: str | None, live: bool, trial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url:
        monkeypatch.setenv("PAYPAL_BASE_URL", url)

    assert Adapter().live_secret() == ("PAYPAL_CLIENT_ID" if live else None)
    assert Adapter().trial_secret() == ("PAYPAL_CLIENT_ID" if trial else None)
    monkeypatch.delenv("PAYPAL_CLIENT_ID")
    assert Adapter().live_secret() is Adapter().trial_secret() is None


async def test_addresses_hold_no_more_than_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERRYMAN_CONTRACTS", raising=False)
    paypal = Paypal({"GET /v2/checkout/orders/..%2F..%2Fv1%2Fx": answer(200, HELD)})

    await Adapter().read_payment(paypal.call, Known(session="../../v1/x"))

    assert len(paypal.asked()) == 1


async def test_events_are_asked_for_page_by_page() -> None:
    listed = "GET /v1/notifications/webhooks-events"
    link = (
        "https://elsewhere.example/v1/notifications/webhooks-events?next_page_token=t&page_size=2"
    )
    other = paypal_pki.EVENT | {"id": "WH-2"}
    paypal = Paypal(
        {
            listed: [
                answer(
                    200,
                    {
                        "events": [paypal_pki.EVENT, {"id": 1}],
                        "links": [{"rel": "next", "href": link}],
                    },
                ),
                answer(200, {"events": [other], "links": [{"rel": "next", "href": link}]}),
            ]
        }
    )
    at = words.moment(capture())

    found = [event async for event in Adapter().events(paypal.call, at, at)]

    assert [event.id for event in found] == [paypal_pki.EVENT["id"], "WH-2"]
    first, second = (request.url for request, _ in paypal.vendor.requests[1:])
    assert dict(parse_qsl(urlsplit(first).query)) == {
        "page_size": "100",
        "start_time": "2026-11-28T10:00:00Z",
        "end_time": "2026-11-28T10:00:01Z",
    }
    assert (
        second
        == "https://api-m.paypal.com/v1/notifications/webhooks-events?next_page_token=t&page_size=2"
    )


async def test_an_event_is_read_again_at_paypal() -> None:
    path = f"GET /v1/notifications/webhooks-events/{EVENT_ID}"
    found = await Adapter().read_event(Paypal({path: answer(200, paypal_pki.EVENT)}).call, EVENT_ID)
    assert found is not None
    assert found.type == "PAYMENT.CAPTURE.COMPLETED"

    unknown = Paypal({path: paypal_double.NOT_FOUND})
    assert await Adapter().read_event(unknown.call, EVENT_ID) is None
    unreadable = Paypal({path: answer(200, {"id": "WH-1"})})
    with pytest.raises(Unavailable):
        await Adapter().read_event(unreadable.call, EVENT_ID)
