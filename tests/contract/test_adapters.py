"""The promises of every adapter, on a wire that misbehaves: what each fault is called, that a
write is marked before it leaves and executed once, and that no secret stays in a transcript."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Request,
    Throttled,
    VendorError,
)
from adapters._http import Client, HttpCall
from ferryman.policies import policy
from tests.adapters.doubles import JOB, Notes
from tests.contract import operations
from tests.contract.operations import ADDRESS, PLANTED, SECRET, Operation, Vendor
from tests.faulty import CUT, SILENT, answer, faulty

# A refusal in the words of several vendors at once.
REFUSAL = {
    "error": {"type": "invalid_request_error", "message": "no"},
    "errors": [],
    "name": "INVALID_REQUEST",
    "details": [],
}
EVERY = operations.operations()


def each(chosen: Callable[[Operation], bool] = lambda _: True) -> pytest.MarkDecorator:
    """Parametrized by the operations of all vendors."""
    found = [(vendor, operation) for vendor, operation in EVERY if chosen(operation)]
    names = [f"{vendor}-{operation.name}" for vendor, operation in found]
    return pytest.mark.parametrize(("vendor", "operation"), found, ids=names)


class Unwilling(Notes):
    """A ledger that cannot write."""

    async def leaving(self, step: str, key: str, repeat: Repeat, request: Request) -> Request:
        raise ConnectionError("the ledger is away")


class InDoubt(Notes):
    """A ledger that knows of an earlier request of every step, without an answer."""

    def doubtful(self, step: str) -> bool:
        return True


@dataclass
class Wire:
    notes: Notes
    call: Callable[[Vendor, Operation, str], Awaitable[object]]


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    clients: list[Client] = []

    async def call(vendor: Vendor, operation: Operation, url: str) -> object:
        monkeypatch.setenv(vendor.adapter().base_url_variable, url)
        numbers = policy(vendor.name).model_copy(update={"timeout_seconds": 1.0})
        clients.append(Client(numbers))
        return await operation.do(HttpCall(vendor.name, clients[-1], numbers, wired.notes))

    for vendor in operations.complete():
        for name, value in vendor.environment().items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
    wired = Wire(Notes(), call)
    yield wired
    for client in clients:
        await client.close()


@pytest.mark.parametrize("vendor", operations.vendors(), ids=str)
def test_every_vendor_is_under_contract(vendor: Vendor) -> None:
    vendor.complete()


@each()
async def test_a_refused_connection_is_not_sent(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    with pytest.raises(NotSent):
        await wire.call(vendor, operation, "http://127.0.0.1:1")


@each()
async def test_a_cut_after_the_request_is_doubt_and_executed_once(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    async with faulty(CUT, aside=operation.aside) as server:
        with pytest.raises(operation.in_doubt):
            await wire.call(vendor, operation, server.url)

        assert len(server.executed) == 1
    assert wire.notes.without_effect == []
    assert wire.notes.answers == []


@each(lambda operation: operation.marks_itself)
async def test_the_mark_tells_the_job_and_how_to_repeat(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    async with faulty(CUT, aside=operation.aside) as server:
        with pytest.raises(VendorError):
            await wire.call(vendor, operation, server.url)

    ((_, key, repeat, _),) = wire.notes.left
    assert repeat is operation.repeat
    assert str(JOB) in key


@each(lambda operation: operation.marks_itself)
async def test_without_its_mark_nothing_leaves(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    wire.notes = Unwilling()
    async with faulty(aside=operation.aside) as server:
        with pytest.raises(ConnectionError):
            await wire.call(vendor, operation, server.url)

        assert server.executed == []


@each()
@pytest.mark.parametrize(
    ("status", "error"),
    [(429, Throttled), (401, Misconfigured), (403, Misconfigured), (500, None), (503, None)],
)
async def test_statuses(
    wire: Wire,
    vendor: Vendor,
    operation: Operation,
    status: int,
    error: type[VendorError] | None,
) -> None:
    async with faulty(*[answer(status)] * 2, aside=operation.aside) as server:
        with pytest.raises(error or operation.on_500) as raised:
            await wire.call(vendor, operation, server.url)

        # A 401 proves that nothing happened, so that one more is harmless.
        renewed = status == 401 and vendor.adapter().renews_credentials
        assert len(server.executed) == 1 + renewed
    assert type(raised.value) is (error or operation.on_500)


@each()
async def test_a_refusal_is_final(wire: Wire, vendor: Vendor, operation: Operation) -> None:
    refusal = answer(400, json.dumps(REFUSAL).encode())
    async with faulty(refusal, aside=operation.aside) as server:
        with pytest.raises(Refused) as raised:
            await wire.call(vendor, operation, server.url)

        assert len(server.executed) == 1
    assert raised.value.code == raised.value.code.lower()


# The others are not sent again while there is a doubt.
@each(lambda operation: operation.repeat is Repeat.KEY)
async def test_a_refusal_does_not_end_the_doubt_of_an_earlier_request(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    wire.notes = InDoubt()
    refusal = answer(400, json.dumps(REFUSAL).encode())
    async with faulty(refusal, aside=operation.aside) as server:
        with pytest.raises(VendorError):
            await wire.call(vendor, operation, server.url)

    assert wire.notes.answers == []


@each()
async def test_no_secret_stays_in_a_transcript(
    wire: Wire, vendor: Vendor, operation: Operation
) -> None:
    # By a name that tells nothing, where the secret is one of its own.
    own = SECRET if SECRET in vendor.environment().values() else ""
    echo = json.dumps({**REFUSAL, "secret": SECRET, "said": own, "email": ADDRESS}).encode()
    said = answer(400, echo, X_Echo=SECRET), answer(500, echo)
    async with faulty(*said, aside=operation.aside) as server:
        errors = []
        for _ in range(2):
            with pytest.raises(VendorError) as raised:
                await wire.call(vendor, operation, server.url)
            errors.append(raised.value.as_error())

    kept = json.dumps([wire.notes.interactions, errors], default=str)
    assert len(wire.notes.interactions) >= 2
    for planted in (*PLANTED, SECRET):
        assert planted not in kept
    assert all(SECRET not in repr(request) for *_, request in wire.notes.left)


@each(lambda operation: operation.timed)
async def test_silence_is_doubt(wire: Wire, vendor: Vendor, operation: Operation) -> None:
    async with faulty(SILENT, aside=operation.aside) as server:
        with pytest.raises(operation.in_doubt):
            await wire.call(vendor, operation, server.url)

        assert len(server.executed) == 1


@each(lambda operation: not operation.open)
async def test_a_missing_credential_is_named(
    wire: Wire, vendor: Vendor, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = secrets = vendor.adapter().secrets
    for secret in secrets:
        monkeypatch.delenv(secret, raising=False)

    async with faulty(aside=operation.aside) as server:
        with pytest.raises(Misconfigured, match=first):
            await wire.call(vendor, operation, server.url)

        assert server.executed == []
    assert wire.notes.left == []
