"""The promises of every adapter, on a wire that misbehaves: what each fault is called, that a
write is marked before it leaves and executed once, and that no secret stays in a transcript."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
    adapter,
)
from adapters._http import Client, HttpCall
from adapters._mail import Letter, MailOrder, Recipient
from adapters._payments import ChargeOrder, RefundOrder
from adapters._storage import Content
from ferryman.policies import policies, policy
from tests.adapters.doubles import JOB, Notes
from tests.faulty import CUT, SILENT, answer, faulty

SECRET = "planted-secret-of-the-contract"
ADDRESS = "planted.person@example.com"


async def _charge(call: HttpCall) -> object:
    order = ChargeOrder(JOB, "cus_1", 1250, "usd", "pm_planted")
    return await adapter("stripe").charge(call, order)  # type: ignore[attr-defined]


async def _refund(call: HttpCall) -> object:
    order = RefundOrder(JOB, "pi_1", 100, "usd")
    return await adapter("stripe").refund(call, order)  # type: ignore[attr-defined]


async def _mail(call: HttpCall) -> object:
    letter = Letter(subject="planted subject", text="planted text")
    order = MailOrder(JOB, letter, (Recipient(uuid4(), ADDRESS),))
    return await adapter("sendgrid").send_mail(call, order)  # type: ignore[attr-defined]


async def _put(call: HttpCall) -> object:
    content = Content(7, b"planted")
    return await adapter("s3").put(call, "bucket", "key", content)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Operation:
    """A write of a vendor, and how its repeat is made harmless."""

    vendor: str
    do: Callable[[HttpCall], Awaitable[object]]
    repeat: Repeat
    marks_itself: bool = True

    def __str__(self) -> str:
        return f"{self.vendor}{self.do.__name__}"

    @property
    def in_doubt(self) -> tuple[type[VendorError], ...]:
        """What a lost answer may be called: where a repeat is harmless it is no more than that."""
        if self.repeat is Repeat.NATURAL:
            return (Unknown, Unavailable)
        return (Unknown,)

    @property
    def on_500(self) -> type[VendorError]:
        return Unknown if self.repeat is Repeat.NEVER else Unavailable


OPERATIONS = [
    Operation("stripe", _charge, Repeat.KEY),
    Operation("stripe", _refund, Repeat.KEY),
    Operation("sendgrid", _mail, Repeat.NEVER),
    # The job marks a sync once, not each of its objects.
    Operation("s3", _put, Repeat.NATURAL, marks_itself=False),
]
parametrized = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in policies():
        for name in adapter(vendor).secrets:
            monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("FROM_EMAIL", "sender@example.com")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@dataclass
class Wire:
    notes: Notes
    call: Callable[[Operation, str], Awaitable[object]]


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    clients: list[Client] = []
    notes = Notes()

    async def call(operation: Operation, url: str) -> object:
        monkeypatch.setenv(adapter(operation.vendor).base_url_variable, url)
        numbers = policy(operation.vendor).model_copy(update={"timeout_seconds": 1.0})
        clients.append(Client(numbers))
        return await operation.do(HttpCall(operation.vendor, clients[-1], numbers, notes))

    yield Wire(notes, call)
    for client in clients:
        await client.close()


def test_every_vendor_is_under_contract() -> None:
    assert {operation.vendor for operation in OPERATIONS} == set(policies())


@parametrized
async def test_a_refused_connection_is_not_sent(wire: Wire, operation: Operation) -> None:
    with pytest.raises(NotSent):
        await wire.call(operation, "http://127.0.0.1:1")


@parametrized
async def test_a_cut_after_the_request_is_doubt_and_executed_once(
    wire: Wire, operation: Operation
) -> None:
    async with faulty(CUT) as vendor:
        with pytest.raises(operation.in_doubt):
            await wire.call(operation, vendor.url)

        assert len(vendor.executed) == 1
    assert wire.notes.without_effect == []
    assert wire.notes.answers == []


@parametrized
async def test_the_mark_comes_before_the_request(wire: Wire, operation: Operation) -> None:
    with pytest.raises(VendorError):
        await wire.call(operation, "http://127.0.0.1:1")

    if operation.marks_itself:
        ((_, key, repeat, _),) = wire.notes.left
        assert repeat is operation.repeat
        assert str(JOB) in key


@parametrized
@pytest.mark.parametrize(
    ("status", "error"),
    [(429, Throttled), (401, Misconfigured), (403, Misconfigured), (500, None), (503, None)],
)
async def test_statuses(
    wire: Wire, operation: Operation, status: int, error: type[VendorError] | None
) -> None:
    async with faulty(answer(status)) as vendor:
        with pytest.raises(error or operation.on_500) as raised:
            await wire.call(operation, vendor.url)

        assert len(vendor.executed) == 1
    assert type(raised.value) is (error or operation.on_500)


@parametrized
async def test_a_refusal_is_final(wire: Wire, operation: Operation) -> None:
    refusal = {"error": {"type": "invalid_request_error", "message": "no"}, "errors": []}
    async with faulty(answer(400, json.dumps(refusal).encode())) as vendor:
        with pytest.raises(Refused) as raised:
            await wire.call(operation, vendor.url)

        assert len(vendor.executed) == 1
    assert raised.value.code == raised.value.code.lower()


@parametrized
async def test_no_secret_stays_in_a_transcript(wire: Wire, operation: Operation) -> None:
    echo = json.dumps({"echo": SECRET, "email": ADDRESS, "errors": []}).encode()
    async with faulty(answer(400, echo, X_Echo=SECRET), answer(500, echo)) as vendor:
        errors = []
        for _ in range(2):
            with pytest.raises(VendorError) as raised:
                await wire.call(operation, vendor.url)
            errors.append(raised.value.as_error())

    kept = json.dumps([wire.notes.interactions, errors], default=str)
    assert len(wire.notes.interactions) >= 2
    for planted in (ADDRESS, "pm_planted", "planted subject", "planted text"):
        assert planted not in kept
    assert all(SECRET not in repr(request) for *_, request in wire.notes.left)


# S3's client takes its time limit from vendors.toml: see tests/adapters/test_s3.py.
@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.vendor != "s3"], ids=str)
async def test_silence_is_doubt(wire: Wire, operation: Operation) -> None:
    async with faulty(SILENT) as vendor:
        with pytest.raises(Unknown):
            await wire.call(operation, vendor.url)

        assert len(vendor.executed) == 1


@pytest.mark.parametrize("vendor", sorted(policies()))
async def test_a_missing_credential_is_named(
    wire: Wire, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = next(o for o in OPERATIONS if o.vendor == vendor)
    name = adapter(vendor).secrets[0]
    for secret in adapter(vendor).secrets:
        monkeypatch.delenv(secret, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(Misconfigured, match=name):
        await wire.call(operation, "http://127.0.0.1:1")

    assert wire.notes.left == []
