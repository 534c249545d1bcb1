"""What the transport makes of each fault on the wire, on fresh and on reused connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from adapters._base import (
    Misconfigured,
    NotSent,
    Repeat,
    Request,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import Client, HttpCall
from ferryman.policies import policy
from tests.adapters.doubles import Notes
from tests.faulty import CUT, OK, SILENT, answer, faulty

POLICY = policy("stripe").model_copy(
    update={"timeout_seconds": 0.5, "connect_seconds": 0.5, "response_max_bytes": 1000}
)


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(POLICY)
    yield HttpCall("stripe", client, POLICY, journal)
    await client.close()


async def write(call: HttpCall, url: str, method: str = "POST", repeat: Repeat = Repeat.KEY) -> int:
    request = Request(method, f"{url}/v1/things", {"Content-Type": "application/json"}, b'{"a":1}')
    answered = await call.write("step", request, key="k", repeat=repeat, credentials={})
    return answered.status


async def test_refused_is_not_sent(call: HttpCall, journal: Notes) -> None:
    with pytest.raises(NotSent):
        await write(call, "http://127.0.0.1:1")

    assert journal.without_effect == ["step"]


async def test_an_unknown_host_is_not_sent(call: HttpCall) -> None:
    with pytest.raises(NotSent):
        await write(call, "http://nowhere.invalid")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("reused", [False, True])
async def test_cut_after_the_effect_is_unknown_and_executed_once(
    call: HttpCall, journal: Notes, method: str, reused: bool
) -> None:
    async with faulty(*([OK] if reused else []), CUT) as vendor:
        if reused:
            assert await write(call, vendor.url) == 200
        with pytest.raises(Unknown):
            await write(call, vendor.url, method)

        assert vendor.executed[-1] == f"{method} /v1/things"
        assert len(vendor.executed) == 1 + reused
        assert vendor.connections == 1
    assert journal.without_effect == []


async def test_silence_is_unknown(call: HttpCall) -> None:
    async with faulty(SILENT) as vendor:
        with pytest.raises(Unknown) as raised:
            await write(call, vendor.url)

        assert vendor.executed == ["POST /v1/things"]
    assert raised.value.code == "timeout"


async def test_an_answer_cut_short_is_unknown(call: HttpCall) -> None:
    async with faulty(answer(200, b"{}", Content_Length="900")[:60], CUT) as vendor:
        with pytest.raises(Unknown):
            await write(call, vendor.url)


async def test_a_gigantic_answer_is_not_read_to_its_end(call: HttpCall) -> None:
    async with faulty(answer(200, b"x" * 5000)) as vendor:
        with pytest.raises(Unknown, match="longer than"):
            await write(call, vendor.url)


@pytest.mark.parametrize(
    ("status", "repeat", "error", "did_nothing"),
    [
        (429, Repeat.KEY, Throttled, True),
        (401, Repeat.KEY, Misconfigured, True),
        (403, Repeat.NEVER, Misconfigured, True),
        (500, Repeat.KEY, Unavailable, False),
        (503, Repeat.NATURAL, Unavailable, False),
        (500, Repeat.NEVER, Unknown, False),
        (408, Repeat.NEVER, Unknown, False),
        (502, Repeat.LOOK_UP, Unknown, False),
    ],
)
async def test_statuses(
    call: HttpCall,
    journal: Notes,
    status: int,
    repeat: Repeat,
    error: type[VendorError],
    did_nothing: bool,
) -> None:
    async with faulty(answer(status)) as vendor:
        with pytest.raises(error) as raised:
            await write(call, vendor.url, repeat=repeat)

    assert type(raised.value) is error
    assert bool(journal.without_effect) is did_nothing
    assert journal.interactions[0]["status_code"] == status


async def test_retry_after_in_seconds_and_as_a_date(call: HttpCall) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    async with faulty(
        answer(429, Retry_After="7"), answer(429, Retry_After=later), answer(429)
    ) as vendor:
        waits = []
        for _ in range(3):
            with pytest.raises(Throttled) as raised:
                await write(call, vendor.url)
            waits.append(raised.value.retry_after)

    assert waits[0] == 7
    assert waits[1] == pytest.approx(100, abs=2)
    assert waits[2] is None


async def test_a_read_that_is_cut_is_only_unavailable(call: HttpCall) -> None:
    async with faulty(CUT) as vendor:
        with pytest.raises(Unavailable):
            await call.read(Request("GET", vendor.url, {}), credentials={})


async def test_credentials_are_sent_and_never_kept(call: HttpCall, journal: Notes) -> None:
    secret = "planted" + "-secret"
    async with faulty(answer(200, b'{"client_secret": "%s"}' % secret.encode())) as vendor:
        request = Request("POST", f"{vendor.url}/v1/x", {}, b"")
        credentials = {"Authorization": f"Bearer {secret}"}
        await call.write("s", request, key="k", repeat=Repeat.KEY, credentials=credentials)

    assert secret not in repr(journal.interactions)
    assert secret not in repr(journal.left)
