"""Each step of each payment goes wrong on its way, at both vendors: it has its effect once, or is
proven to have had none, and the ledger says the same as the vendor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from ferryman.testing import Sandbox
from tests.conftest import Servers, _database
from tests.money.bank import PURSES, Bank
from tests.money.books import OPEN, Truth, explain, look, shared, wipe

Row = dict[str, Any]

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Half a minute of silence is long in a test.
SHORT = {"timeout_seconds": 0.5, "breaker_fail_max": 1000}
MOST_ATTEMPTS = 9
FAULTS: dict[str, Row] = {
    "cut after the effect": {"do": "drop_after"},
    "reset after the effect": {"do": "drop_after", "reset": True},
    "cut before the effect": {"do": "drop_before"},
    "silent after the effect": {"do": "silent_after"},
    "silent before the effect": {"do": "silent_before"},
    "500 after the effect": {"do": "error_after"},
    "500 before the effect": {"do": "error_before"},
    "503 in between": {"do": "status", "status": 503},
    "cut short": {"do": "truncate"},
    "no JSON": {"do": "garble"},
}
AFTER = [name for name in FAULTS if "after" in name or name in ("cut short", "no JSON")]


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=PURSES, ids=lambda purse: purse.vendor
)
async def opened(
    request: pytest.FixtureRequest, servers: Servers, _template: str, _sandbox: Sandbox
) -> AsyncIterator[Bank]:
    """One ledger for all tests of a vendor."""
    for url in _database(servers, _template):
        async with shared(request.param, url, _sandbox, **SHORT) as bank:
            yield bank


@pytest_asyncio.fixture(loop_scope="module")
async def bank(opened: Bank) -> Bank:
    await wipe(opened)
    return opened


@dataclass(frozen=True)
class Case:
    """A job, which of its requests goes wrong, and the effect that it is to have: its kind, and the
    job that the vendor knows it by."""

    step: str
    job: UUID
    place: Row
    effect: str
    of: UUID


Prepare = Callable[[Bank], Awaitable[Case]]


def post(path: str, **more: str) -> Row:
    return {"method": "POST", "path": path, **more}


# --- Stripe


async def customer(bank: Bank) -> Case:
    job = await bank.charge(1001)
    return Case("customer", job, post("/v1/customers"), "charge", job)


async def known_user(bank: Bank, **changes: Any) -> UUID:
    """A charge of a user whom the vendor knows, so that it has one step."""
    first = await bank.charged(100)
    args = (await bank.job(first))["args"]
    return await bank.charge(1002, customer=args["customer"], **changes)


async def charge(bank: Bank) -> Case:
    job = await known_user(bank)
    return Case("charge", job, post("/v1/payment_intents", contains=str(job)), "charge", job)


async def hold(bank: Bank) -> Case:
    job = await known_user(bank, capture=False)
    place = post("/v1/payment_intents", contains=str(job))
    return Case("hold", job, place, "authorization", job)


async def capture(bank: Bank) -> Case:
    held = await bank.charged(1003, capture=False)
    job = await bank.enqueue("capture_charge", {"charge": str(held), "amount": 900})
    return Case("capture", job, post(f"{await page(bank, held)}/capture"), "charge", held)


async def cancel(bank: Bank) -> Case:
    held = await bank.charged(1004, capture=False)
    job = await bank.enqueue("cancel_charge", {"charge": str(held)})
    return Case("cancel", job, post(f"{await page(bank, held)}/cancel"), "cancellation", held)


async def stop(bank: Bank) -> Case:
    """A payment that waits for its payer, and that nobody wants any more."""
    job = await bank.charge(1005, payment_method=bank.purse.asks)
    await bank.run(job)
    await bank.cancel(job)
    return Case("stop", job, post(f"{await page(bank, job)}/cancel"), "cancellation", job)


async def refund(bank: Bank) -> Case:
    paid = await bank.charged(1006)
    job = await bank.refund(paid, 400)
    return Case("refund", job, post("/v1/refunds", contains=str(job)), "refund", job)


async def page(bank: Bank, paid: UUID) -> str:
    return f"/v1/payment_intents/{(await bank.row(paid))['vendor_reference']}"


# --- PayPal


async def order(bank: Bank) -> Case:
    job = await bank.charge(1011)
    return Case("order", job, post("/v2/checkout/orders", contains=str(job)), "charge", job)


async def take(bank: Bank) -> Case:
    job = await bank.charge(1012, payment_method="vault_ok_take")
    place = post("/v2/checkout/orders/*/capture", contains="vault_ok_take")
    return Case("charge", job, place, "charge", job)


async def take_to_hold(bank: Bank) -> Case:
    job = await bank.charge(1013, payment_method="vault_ok_hold", capture=False)
    place = post("/v2/checkout/orders/*/authorize", contains="vault_ok_hold")
    return Case("hold", job, place, "authorization", job)


async def agreed(bank: Bank) -> Case:
    """The payer has agreed, and what he agreed to is taken."""
    job = await bank.charge(1014, payment_method=bank.purse.asks)
    await bank.run(job)
    row = await bank.row(job)
    bank.approve(row)
    place = post(f"/v2/checkout/orders/{row['vendor_session']}/capture")
    return Case("agreed", job, place, "charge", job)


async def take_held(bank: Bank) -> Case:
    held = await bank.charged(1015, capture=False)
    job = await bank.enqueue("capture_charge", {"charge": str(held), "amount": 900})
    return Case("capture", job, post(f"{await authorization(bank, held)}/capture"), "charge", held)


async def void(bank: Bank) -> Case:
    held = await bank.charged(1016, capture=False)
    job = await bank.enqueue("cancel_charge", {"charge": str(held)})
    place = post(f"{await authorization(bank, held)}/void")
    return Case("cancel", job, place, "cancellation", held)


async def give_back(bank: Bank) -> Case:
    paid = await bank.charged(1017)
    job = await bank.refund(paid, 400)
    return Case("refund", job, post("/v2/payments/captures/*", contains=str(job)), "refund", job)


async def authorization(bank: Bank, held: UUID) -> str:
    return f"/v2/payments/authorizations/{(await bank.row(held))['vendor_reference']}"


CASES: dict[str, list[Prepare]] = {
    "stripe": [charge, hold, capture, cancel, stop, refund, customer],
    "paypal": [order, take, take_to_hold, agreed, take_held, void, give_back],
}


async def gone_wrong(bank: Bank, fault: Row) -> list[Case]:
    """One attempt of every step, all at once, each with its fault."""
    cases = [await prepare(bank) for prepare in CASES[bank.vendor]]
    rules = [{"vendor": bank.vendor, **case.place, **fault, "times": 1} for case in cases]
    bank.sandbox.script(rules)
    await bank.together([case.job for case in cases])
    fired = [rule["fired"] for rule in bank.sandbox.faults()]
    assert fired == [1] * len(cases), dict(zip([c.step for c in cases], fired, strict=True))
    return cases


async def end_of(bank: Bank, job_id: UUID) -> Row:
    for _ in range(MOST_ATTEMPTS):
        job = await bank.job(job_id)
        if job["status"] not in OPEN or (job["status"] == "unknown" and not job["look_at"]):
            break
        await bank.run(job_id)
    return job


async def settled(bank: Bank, cases: list[Case]) -> None:
    """Attempts and look-ups bring each to its end: one effect, and all that is told is true."""
    wrong: dict[str, Any] = {}
    ends = await asyncio.gather(*(end_of(bank, case.job) for case in cases))
    truth = Truth(bank.effects())
    for case, end in zip(cases, ends, strict=True):
        expected = "cancelled" if case.step == "stop" else "succeeded"
        effects = truth.counts[case.effect, str(case.of)]
        if (end["status"], effects) != (expected, 1):
            wrong[case.step] = (end["status"], end["reason"], end["error"], effects)
    assert not wrong
    assert not truth.twice()
    books = await look(bank)
    books.check()
    explain(books, truth, set())
    assert bank.balance() == books.balance()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_each_step_has_its_effect_once(bank: Bank, fault: Row) -> None:
    cases = await gone_wrong(bank, fault)

    await settled(bank, cases)


BEYOND = ["cut after the effect", "cut before the effect", "500 after the effect", "no JSON"]
# They move no money: who is in doubt about one makes another.
HARMLESS = {"customer", "order"}


@pytest.mark.parametrize("name", BEYOND)
async def test_beyond_the_vendor_s_memory_it_is_looked_up_first(bank: Bank, name: str) -> None:
    """No key means anything any more: what is sent blindly then is done a second time."""
    cases = await gone_wrong(bank, FAULTS[name])
    sent = keys(bank)
    await time_passes(bank, days=60)

    await settled(bank, cases)

    later = keys(bank)[len(sent) :]
    again = {case.step for case in cases if any(key.startswith(str(case.job)) for key in later)}
    if name in AFTER:
        assert again <= HARMLESS
    # To stop what is stopped already stops nothing else.
    assert not {key for key in later if not key.endswith((":customer", ":cancel"))} & set(sent)


@pytest.mark.parametrize("hours", [4, 7, 30])
async def test_a_key_is_trusted_for_as_long_as_the_vendor_keeps_it(bank: Bank, hours: int) -> None:
    """Stripe a day; PayPal six hours for what is done to an order, weeks for all other payments."""
    cases = await gone_wrong(bank, FAULTS["cut after the effect"])
    sent = keys(bank)
    await time_passes(bank, hours=hours)

    await settled(bank, cases)

    again = set(keys(bank)[len(sent) :]) & set(sent)
    repeated = {case.step for case in cases if any(key.startswith(str(case.job)) for key in again)}
    assert repeated == REPEATED[bank.vendor][hours]


# At PayPal what became of an authorization is read before it is given up.
LONG = {"capture", "refund"}
ALL = {"charge", "hold", "stop", "cancel", *LONG}
REPEATED: dict[str, dict[int, set[str]]] = {
    "stripe": {4: ALL, 7: ALL, 30: set()},
    "paypal": {4: {"order", "charge", "hold", *LONG}, 7: LONG, 30: LONG},
}


def keys(bank: Bank) -> list[str]:
    """Of every write so far, in order."""
    return [seen["key"] for seen in bank.sandbox.requests(bank.vendor) if seen["key"]]


async def time_passes(bank: Bank, **time: int) -> None:
    """At both ends: for the ledger's marks, and for the keys that the vendor keeps."""
    ago = timedelta(**time)
    await bank.driver.rows(
        "UPDATE ferryman.sends   SET sent_at = sent_at - :ago, repeat_until = repeat_until - :ago",
        ago=ago,
    )
    vendor, kept = bank.vendor, KEPT[bank.vendor]
    gone = {name: 0 for name, seconds in kept.items() if seconds <= ago.total_seconds()}
    bank.sandbox.dashboard(vendor, "settings", **gone)


# What the sandbox keeps keys for, by its setting's name, in seconds.
KEPT = {
    "stripe": {"key_seconds": 24 * 3600},
    "paypal": {"order_key_seconds": 6 * 3600, "payment_key_seconds": 45 * 86_400},
}
