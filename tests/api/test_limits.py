"""How many requests a token may make: exactly the rate, and nobody at another's cost."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import serving
from tests.api.test_process import running

TOKENS = ["one", "two"]


async def statuses(client: httpx.AsyncClient, count: int, token: str, path: str) -> Counter[int]:
    headers = {"Authorization": f"Bearer {token}"}
    return Counter([(await client.get(path, headers=headers)).status_code for _ in range(count)])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the limits know; it stands still unless it is changed."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


async def test_exactly_the_rate_is_let_through(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, tokens=TOKENS, rate=5) as (_, client):
        assert await statuses(client, 8, "one", "/v1/vendors") == {200: 5, 429: 3}
        clock[0] += 0.9
        assert await statuses(client, 1, "one", "/v1/vendors") == {429: 1}
        clock[0] += 0.2
        assert await statuses(client, 8, "one", "/v1/vendors") == {200: 5, 429: 3}


async def test_a_refusal_says_how_long_to_wait(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, rate=1) as (_, client):
        await client.get("/v1/vendors")
        clock[0] += 0.5
        answer = await client.get("/v1/vendors")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/too-many-requests"


async def test_each_token_has_its_own_rate(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, tokens=TOKENS, rate=2) as (_, client):
        assert await statuses(client, 3, "one", "/v1/vendors") == {200: 2, 429: 1}
        assert await statuses(client, 2, "two", "/v1/vendors") == {200: 2}
        # The scheme may be written in other letters: that makes no other token of it.
        other = {"Authorization": "bEARER  one "}
        assert (await client.get("/v1/vendors", headers=other)).status_code == 429


async def test_a_wrong_token_uses_up_nobodys_rate(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, tokens=TOKENS, rate=2) as (_, client):
        assert await statuses(client, 9, "three", "/v1/vendors") == {401: 9}
        assert await statuses(client, 2, "one", "/v1/vendors") == {200: 2}


async def test_without_tokens_all_are_one(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, rate=2) as (_, client):
        found = [await statuses(client, 1, f"token-{n}", "/v1/vendors") for n in range(3)]
    assert found == [{200: 1}, {200: 1}, {429: 1}]


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/", "/openapi.json"])
async def test_what_machines_watch_has_no_rate(
    database_url: str, clock: list[float], path: str
) -> None:
    async with serving(database_url, tokens=TOKENS, rate=1) as (_, client):
        await statuses(client, 2, "one", "/v1/vendors")
        assert await statuses(client, 3, "one", path) == {200: 3}


async def test_less_than_one_a_second(database_url: str, clock: list[float]) -> None:
    async with serving(database_url, rate=0.4) as (_, client):
        found = []
        for _ in range(5):
            found.append((await client.get("/v1/vendors")).status_code)
            clock[0] += 1.01
    assert found == [200, 429, 429, 200, 429]


def test_the_setting_is_heeded(database_url: str, tmp_path: Path) -> None:
    with (
        running(tmp_path, database_url, FERRYMAN_API_RATE="2") as (_, url),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        found = [client.get("/v1/vendors/x").status_code for _ in range(3)]
    assert Counter(found) == {404: 2, 429: 1}


async def test_the_document_tells_of_it(database_url: str) -> None:
    async with serving(database_url) as (app, _):
        document = app.openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            told = operation["responses"].get("429")
            assert bool(told) == path.startswith("/v1/"), path
            assert not told or "Retry-After" in told["headers"]
