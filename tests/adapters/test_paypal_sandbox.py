"""PayPal's adapter against the fake of the sandbox, over real HTTP: what it does moves the money
that it should, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from adapters import _paypal_webhooks
from adapters._base import Delivery, Refused, Unavailable, Unknown, VendorError
from adapters._certificates import Certificates
from adapters._http import Client, HttpCall
from adapters._news import PaymentNews
from adapters._payments import ChargeOrder, Known, Payment, RefundOrder
from adapters.paypal import Adapter
from ferryman.policies import policy
from ferryman.testing import Sandbox
from tests.adapters import doubles

ORDER = ChargeOrder(doubles.JOB, None, 1250, "usd", "vault_ok_1", "Tea")
HOLD = replace(ORDER, capture=False)
APPROVAL = replace(ORDER, payment_method="paypal", return_url="https://shop.example/paid")
SINCE = datetime.now(UTC) - timedelta(minutes=5)


@dataclass
class Shop:
    """One job's way to the fake, and what its ledger keeps."""

    sandbox: Sandbox
    client: Client
    notes: doubles.Notes = field(default_factory=doubles.Notes)
    session: str | None = None

    @property
    def call(self) -> HttpCall:
        return HttpCall("paypal", self.client, policy("paypal"), self.notes)

    async def keep(self, session: str) -> None:
        self.session = session

    async def charge(self, order: ChargeOrder = ORDER) -> Payment:
        asked = replace(order, session=self.session)
        return await Adapter().charge(self.call, asked, self.keep)

    async def resume(self, order: ChargeOrder = APPROVAL) -> Payment:
        return await Adapter().resume(self.call, order, Known(session=self.session))

    def known(self, payment: Payment) -> Known:
        return Known(payment.vendor_reference, payment.session)

    def effects(self) -> list[tuple[str, int]]:
        return [(one["kind"], one["amount"]) for one in self.sandbox.effects(vendor="paypal")]

    def cut(self, path: str) -> None:
        """The next answer of that path is lost, after its effect."""
        rule = {"vendor": "paypal", "method": "POST", "path": path, "do": "drop_after"}
        self.sandbox.script([{**rule, "when": {"first": 1}}])


@pytest.fixture
async def shop(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    for name, value in sandbox.environment().items():
        if name.startswith("PAYPAL_"):
            monkeypatch.setenv(name, value)
    client = Client(policy("paypal"))
    yield Shop(sandbox, client)
    await client.close()


async def test_a_charge_and_its_refunds(shop: Shop) -> None:
    payment = await shop.charge()
    refund = await Adapter().refund(
        shop.call, RefundOrder(doubles.JOB, str(payment.vendor_reference), 500, "usd")
    )

    assert (payment.status, payment.amount, refund.amount) == ("succeeded", 1250, 500)
    assert shop.effects() == [("charge", 1250), ("refund", 500)]
    assert {one["job"] for one in shop.sandbox.effects(vendor="paypal")} == {str(doubles.JOB)}
    shop.sandbox.dashboard("paypal", "refund", order=shop.session, amount=100)
    truth = await Adapter().read_payment(shop.call, shop.known(payment))
    assert [(one.amount, one.job) for one in truth.refunds] == [(500, doubles.JOB), (100, None)]
    found = await Adapter().find_refund(shop.call, shop.known(payment), SINCE)
    assert found == refund
    too_much = RefundOrder(doubles.JOB, str(payment.vendor_reference), 651, "usd")
    shop.notes.job_id = doubles.UUID(int=7)
    with pytest.raises(Refused) as raised:
        await Adapter().refund(shop.call, replace(too_much, job_id=shop.notes.job_id))
    assert raised.value.code == "amount_too_large"


async def test_a_charge_that_its_payer_approves(shop: Shop) -> None:
    waits = await shop.charge(APPROVAL)
    assert (waits.status, shop.effects()) == ("requires_action", [])
    assert str(waits.action_url).startswith("http")
    assert (await shop.resume()).status == "requires_action"
    shop.sandbox.dashboard("paypal", "approve", order=shop.session)

    payment = await shop.resume()

    assert payment.status == "succeeded"
    assert await shop.resume() == payment
    assert shop.effects() == [("charge", 1250)]


@pytest.mark.parametrize(
    ("what", "arguments", "status"),
    [("deny", {}, "cancelled"), ("expire", {}, "cancelled"),
     ("approve", {"behaves_as": "vault_declined"}, "failed")],
)  # fmt: skip
async def test_a_payer_who_does_not(
    shop: Shop, what: str, arguments: dict[str, str], status: str
) -> None:
    await shop.charge(APPROVAL)
    shop.sandbox.dashboard("paypal", what, order=shop.session, **arguments)

    assert (await shop.resume()).status == status
    assert shop.effects() == []


async def test_money_that_is_held_and_taken_in_part(shop: Shop) -> None:
    held = await shop.charge(HOLD)
    taken = await Adapter().capture(shop.call, shop.known(held), 1000, "usd")
    again = await Adapter().cancel_payment(shop.call, shop.known(held))

    assert (held.status, taken.status, taken.amount) == ("authorized", "succeeded", 1000)
    assert (again.status, again.vendor_reference) == ("succeeded", taken.vendor_reference)
    assert shop.effects() == [("authorization", 1250), ("charge", 1000)]
    assert list(shop.sandbox.dashboard("paypal", "balance").values()) == [1000]


async def test_money_that_is_held_and_let_go(shop: Shop) -> None:
    held = await shop.charge(HOLD)
    for _ in range(2):
        told = await Adapter().cancel_payment(shop.call, shop.known(held))
        assert told.status == "cancelled"

    assert shop.effects() == [("authorization", 1250), ("cancellation", 1250)]
    with pytest.raises(Refused) as raised:
        await Adapter().capture(shop.call, shop.known(held), 1250, "usd")
    assert raised.value.code == "payment_cancelled"


@pytest.mark.parametrize(
    ("method", "code"),
    [("vault_declined", "card_declined"), ("vault_cannot_pay", "card_declined"),
     ("vault_locked", "card_declined"), ("vault_refused", "card_declined"),
     ("vault_bounces", "card_declined"), ("nobody_knows_it", "payment_method_invalid")],
)  # fmt: skip
async def test_wallets_that_do_not_pay(shop: Shop, method: str, code: str) -> None:
    with pytest.raises(Refused) as raised:
        await shop.charge(replace(ORDER, payment_method=method))

    assert raised.value.code == code
    assert shop.effects() == []
    assert await Adapter().find_charge(shop.call, Known(session=shop.session), SINCE) is None


async def test_a_wallet_that_asks_its_payer(shop: Shop) -> None:
    asks = replace(ORDER, payment_method="vault_asks", return_url="https://shop.example/paid")
    waits = await shop.charge(asks)
    assert waits.status == "requires_action"
    shop.sandbox.dashboard("paypal", "wallet", token="vault_asks", behaves_as="vault_ok")
    shop.sandbox.dashboard("paypal", "approve", order=shop.session)

    assert (await shop.resume(asks)).status == "succeeded"
    assert shop.effects() == [("charge", 1250)]


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_bank_that_takes_its_time(shop: Shop, succeeds: bool) -> None:
    slow = replace(ORDER, payment_method="vault_pending")
    waits = await shop.charge(slow)
    assert waits.status == "processing"
    shop.sandbox.dashboard("paypal", "settle", id=waits.vendor_reference, succeeds=succeeds)

    told = await shop.resume(slow)

    assert told.status == ("succeeded" if succeeds else "failed")
    assert len(shop.effects()) == succeeds


async def _held(shop: Shop) -> Known:
    return shop.known(await shop.charge(HOLD))


async def _taken(shop: Shop) -> str:
    return str((await shop.charge()).vendor_reference)


async def _charge(shop: Shop) -> Callable[[], Awaitable[Any]]:
    return shop.charge


async def _hold(shop: Shop) -> Callable[[], Awaitable[Any]]:
    return lambda: shop.charge(HOLD)


async def _approved(shop: Shop) -> Callable[[], Awaitable[Any]]:
    await shop.charge(APPROVAL)
    shop.sandbox.dashboard("paypal", "approve", order=shop.session)
    return shop.resume


async def _capture(shop: Shop) -> Callable[[], Awaitable[Any]]:
    held = await _held(shop)
    return lambda: Adapter().capture(shop.call, held, 1000, "usd")


async def _void(shop: Shop) -> Callable[[], Awaitable[Any]]:
    held = await _held(shop)
    return lambda: Adapter().cancel_payment(shop.call, held)


async def _refund(shop: Shop) -> Callable[[], Awaitable[Any]]:
    order = RefundOrder(doubles.JOB, await _taken(shop), 500, "usd")
    return lambda: Adapter().refund(shop.call, order)


STEPS: dict[str, tuple[Callable[[Shop], Awaitable[Callable[[], Awaitable[Any]]]], str, str]] = {
    "the order": (_charge, "/v2/checkout/orders", "charge"),
    "the charge": (_charge, "/v2/checkout/orders/*/capture", "charge"),
    "the charge of what is approved": (_approved, "/v2/checkout/orders/*/capture", "charge"),
    "the hold": (_hold, "/v2/checkout/orders/*/authorize", "authorization"),
    "the capture": (_capture, "/v2/payments/authorizations/*/capture", "charge"),
    "the void": (_void, "/v2/payments/authorizations/*/void", "cancellation"),
    "the refund": (_refund, "/v2/payments/captures/*/refund", "refund"),
}


@pytest.mark.parametrize("keys", ["remembered", "forgotten"])
@pytest.mark.parametrize("step", STEPS)
async def test_an_answer_that_is_lost_after_its_effect(shop: Shop, step: str, keys: str) -> None:
    """A repeat under the same key has no second effect. Nor has one of a key that PayPal does not
    remember, where the object itself allows one only: for a refund, the ledger looks it up."""
    begin, path, kind = STEPS[step]
    again = await begin(shop)
    shop.cut(path)

    with pytest.raises((Unknown, Unavailable)):
        await again()
    name = "charge" if kind == "authorization" else kind.replace("cancellation", "cancel")
    shop.notes.in_doubt = {name, "capture"}
    if keys == "forgotten" and kind != "refund":
        shop.sandbox.dashboard("paypal", "forget_keys")
    told = await again()

    assert told.status in ("succeeded", "authorized", "cancelled")
    assert [one for one, _ in shop.effects()].count(kind) == 1


async def test_a_charge_in_doubt_is_found(shop: Shop) -> None:
    shop.cut("/v2/checkout/orders/*/capture")
    with pytest.raises(VendorError):
        await shop.charge()

    found = await Adapter().find_charge(shop.call, Known(session=shop.session), SINCE)

    assert found is not None
    assert (found.status, found.amount) == ("succeeded", 1250)
    assert shop.effects() == [("charge", 1250)]


async def test_a_charge_whose_order_was_forgotten(shop: Shop) -> None:
    rule = {"vendor": "paypal", "path": "/v2/checkout/orders/*/capture", "do": "drop_before"}
    shop.sandbox.script([{**rule, "when": {"first": 1}}])
    with pytest.raises(VendorError):
        await shop.charge()
    forgotten = shop.session
    shop.sandbox.dashboard("paypal", "expire", order=forgotten)

    assert await Adapter().find_charge(shop.call, Known(session=forgotten), SINCE) is None
    payment = await shop.charge()

    assert payment.status == "succeeded"
    assert payment.session == shop.session != forgotten
    assert shop.effects() == [("charge", 1250)]


async def test_fifty_attempts_of_one_job_charge_once(shop: Shop) -> None:
    told = await asyncio.gather(*(shop.charge() for _ in range(50)))

    assert {payment.vendor_reference for payment in told} == {told[0].vendor_reference}
    assert shop.effects() == [("charge", 1250)]


async def test_tokens_that_are_revoked_under_way(shop: Shop) -> None:
    await shop.charge()
    shop.sandbox.dashboard("paypal", "expire_tokens")
    before = len([r for r in shop.sandbox.requests("paypal") if r["path"] == "/v1/oauth2/token"])

    told = await asyncio.gather(*(shop.charge() for _ in range(50)))

    assert {payment.status for payment in told} == {"succeeded"}
    after = len([r for r in shop.sandbox.requests("paypal") if r["path"] == "/v1/oauth2/token"])
    assert after - before == 1
    assert shop.effects() == [("charge", 1250)]


@pytest.fixture
def inbox() -> Iterator[tuple[str, Queue[Delivery]]]:
    """Where an application takes webhooks."""
    came: Queue[Delivery] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.put(Delivery({name.lower(): v for name, v in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", came
    server.shutdown()
    server.server_close()
    thread.join()


async def test_its_webhooks_are_verified_and_listed(
    shop: Shop, inbox: tuple[str, Queue[Delivery]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_paypal_webhooks, "CERTIFICATES", Certificates())
    url, came = inbox
    shop.sandbox.webhooks("paypal", url)
    payment = await shop.charge()
    delivery = await asyncio.to_thread(came.get, timeout=10)

    (event,) = await Adapter().receive(delivery)

    (news,) = Adapter().news(event)
    assert isinstance(news, PaymentNews)
    assert (news.job, news.told.vendor_reference) == (doubles.JOB, payment.vendor_reference)
    assert (news.told.session, news.bound) == (payment.session, False)
    assert event in [e async for e in Adapter().events(shop.call, SINCE, datetime.now(UTC))]
    assert await Adapter().read_event(shop.call, event.id) == event
