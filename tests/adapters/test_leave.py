"""A request waits for leave with its connection in hand, and what it finds when it has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from adapters._base import Repeat, Request, Throttled
from adapters._http import Client, HttpCall
from adapters._limits import Unpaced
from ferryman.policies import policy
from tests.adapters.doubles import Notes

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
OURS = Throttled("no slot", retry_after=0.5, local=True)


@dataclass
class Vendor:
    """Answers each request, and counts what came."""

    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    requests: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            writer.write(ANSWER)
        writer.close()


@dataclass
class Slow(Unpaced):
    """A pace whose leave comes when it is opened, or is refused."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: bool = False

    async def renew(self) -> None:
        await self.open.wait()
        if self.refuses:
            raise OURS


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(policy("stripe"))
    yield made
    await made.close()


def writing(vendor: Vendor, client: Client, pace: Unpaced) -> tuple[asyncio.Task[object], Notes]:
    notes = Notes()
    call = HttpCall("stripe", client, policy("stripe"), notes, pace)
    request = Request("GET", f"http://127.0.0.1:{vendor.port}/", {})
    made = call.write("step", request, key="k", repeat=Repeat.NEVER, credentials={})
    return asyncio.create_task(made), notes


async def waiting(vendor: Vendor, connections: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(vendor.connections) < connections:  # noqa: ASYNC110 - the other side's
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)


async def test_nothing_leaves_before_it_may(vendor: Vendor, client: Client) -> None:
    pace = Slow()
    task, notes = writing(vendor, client, pace)
    await waiting(vendor)
    assert (vendor.requests, len(notes.left)) == (0, 1)
    await asyncio.sleep(0.2)

    pace.open.set()
    await task

    assert (vendor.requests, notes.without_effect) == (1, [])
    assert notes.interactions[0]["latency_ms"] < 150, "the wait is none of the vendor's"


async def test_what_gets_no_leave_has_not_left(vendor: Vendor, client: Client) -> None:
    pace = Slow(refuses=True)
    task, notes = writing(vendor, client, pace)
    pace.open.set()
    with pytest.raises(Throttled):
        await task
    assert (vendor.requests, notes.without_effect, notes.interactions) == (0, ["step"], [])

    task, _ = writing(vendor, client, Unpaced())
    await task
    assert len(vendor.connections) == 1, "its connection is as good as before"


async def test_an_attempt_that_is_ended_while_it_waits_has_sent_nothing(
    vendor: Vendor, client: Client
) -> None:
    task, notes = writing(vendor, client, Slow())
    await waiting(vendor)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (vendor.requests, notes.without_effect, notes.interactions) == (0, ["step"], [])


async def test_a_connection_that_was_closed_meanwhile_is_replaced(
    vendor: Vendor, client: Client
) -> None:
    pace = Slow()
    task, notes = writing(vendor, client, pace)
    await waiting(vendor)
    vendor.connections[0].close()
    await asyncio.sleep(0.02)
    pace.open.set()
    await task

    assert (vendor.requests, len(vendor.connections), notes.without_effect) == (1, 2, [])
