"""What headers say of a vendor's limits, and what becomes of a call that has no leave to go."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from adapters._base import Repeat, Request, Response, Throttled
from adapters._http import HttpCall
from adapters._limits import Quota, quota
from ferryman.policies import policy
from tests.adapters.doubles import Notes, Vendor

REQUEST = Request("POST", "https://vendor.invalid/v1/things", {})
OURS = Throttled("no token", retry_after=0.5, local=True)
LEFT = {"x-ratelimit-remaining": "7", "x-ratelimit-limit": "600", "x-ratelimit-reset": "30"}


@dataclass
class Tokens:
    """A pace that refuses where it is told to, and notes what it was asked."""

    refuses: str = ""
    asked: list[str] = field(default_factory=list)
    seen: list[Quota] = field(default_factory=list)

    async def take(self) -> None:
        self._ask("take")

    async def renew(self) -> None:
        self._ask("renew")

    def saw(self, quota: Quota) -> None:
        self.seen.append(quota)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what == self.refuses:
            raise OURS


def paced(tokens: Tokens, headers: dict[str, str] | None = None) -> tuple[HttpCall, Vendor, Notes]:
    vendor, notes = Vendor(lambda _: Response(200, headers or {}, b"{}")), Notes()
    call = HttpCall("stripe", vendor, policy("stripe"), notes, tokens)  # type: ignore[arg-type]
    return call, vendor, notes


async def write(call: HttpCall) -> None:
    await call.write("step", REQUEST, key="k", repeat=Repeat.KEY, credentials={})


async def test_without_a_token_nothing_is_marked_and_nothing_leaves() -> None:
    call, vendor, notes = paced(Tokens(refuses="take"))

    with pytest.raises(Throttled):
        await write(call)
    with pytest.raises(Throttled):
        await call.read(REQUEST, credentials={})
    with pytest.raises(Throttled):
        await call.pace()

    assert (vendor.requests, notes.left, notes.interactions) == ([], [], [])


async def test_a_token_that_is_lost_after_the_mark_leaves_no_doubt() -> None:
    call, vendor, notes = paced(Tokens(refuses="renew"))

    with pytest.raises(Throttled) as throttled:
        await write(call)

    assert throttled.value.local
    assert (vendor.requests, notes.without_effect) == ([], ["step"])


async def test_each_request_takes_a_token() -> None:
    tokens = Tokens()
    call, _, _ = paced(tokens)
    await write(call)
    await call.read(REQUEST, credentials={})

    assert tokens.asked == ["take", "renew"] * 2


async def test_what_is_left_is_handed_on() -> None:
    tokens = Tokens()
    call, _, _ = paced(tokens, LEFT)
    await write(call)

    assert tokens.seen == [Quota(remaining=7, limit=600, reset_seconds=30)]


async def test_what_is_left_of_lists_says_nothing_of_sending() -> None:
    tokens = Tokens()
    call, _, _ = paced(tokens, LEFT)
    await call.read(REQUEST, credentials={})

    assert tokens.seen == []


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "many"}, None),
        ({"x-ratelimit-remaining": "-1"}, None),
        ({"x-ratelimit-remaining": "0"}, Quota(0, None, None)),
        ({**LEFT, "x-ratelimit-reset": "soon"}, Quota(7, 600, None)),
        ({**LEFT, "x-ratelimit-limit": ""}, Quota(7, None, 30)),
    ],
)
def test_headers_of_a_quota(headers: dict[str, str], found: Quota | None) -> None:
    assert quota(Response(200, headers, b"")) == found


def test_the_end_of_a_window_may_be_a_time() -> None:
    at = str(int(time.time()) + 20)

    found = quota(Response(200, {**LEFT, "x-ratelimit-reset": at}, b""))

    assert found is not None
    assert found.reset_seconds == pytest.approx(20, abs=2)
