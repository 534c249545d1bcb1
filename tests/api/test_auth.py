"""Who is let in: tokens, and without any, loopback names only."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.auth import is_loopback
from tests.api.conftest import serving

TOKENS = ["old-token", "new-token"]
PATHS = ["/v1/jobs", "/v1/vendors", "/openapi.json", "/", "/nothing", "/healthz/"]


@pytest.fixture
async def guarded(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database_url, tokens=TOKENS) as (_, client):
        yield client


@pytest.fixture
async def unguarded(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database_url) as (_, client):
        yield client


@pytest.mark.parametrize("token", TOKENS)
async def test_each_of_the_rotated_tokens_is_taken(guarded: httpx.AsyncClient, token: str) -> None:
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert (await guarded.get("/v1/jobs", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_answers_without_a_token(guarded: httpx.AsyncClient, path: str) -> None:
    answer = await guarded.get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="ferryman"'
    assert answer.json()["type"] == "/problems/unauthorized"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        "Bearer old-token,new-token",
        "Bearer old-toke",
        "Bearer old-token2",
        "Bearer ",
        "Bearer \xe4",
        "Basic old-token",
        "old-token",
        "",
    ],
)
async def test_anything_else_is_refused(guarded: httpx.AsyncClient, value: str) -> None:
    headers = [(b"authorization", value.encode("latin-1"))]
    answer = await guarded.get("/v1/jobs", headers=headers)
    assert answer.status_code == 401
    assert "old-token" not in answer.text


async def test_two_headers_are_none(guarded: httpx.AsyncClient) -> None:
    headers = [("Authorization", "Bearer old-token"), ("Authorization", "Bearer wrong")]
    assert (await guarded.get("/v1/jobs", headers=headers)).status_code == 401


async def test_health_needs_no_token(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.get("/healthz")).status_code == 200
    assert (await guarded.get("/readyz")).status_code == 200


async def test_a_wrong_token_keeps_the_body_unread(guarded: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    assert (await guarded.post("/v1/jobs", content=body())).status_code == 401


LOOPBACK = ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3"]
OTHERS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1:8080",
    "[2001:db8::1]",
    "localhost:80:80",
    "evil.example@localhost",
    "",
]


@pytest.mark.parametrize("host", LOOPBACK)
async def test_without_tokens_this_machine_is_answered(
    unguarded: httpx.AsyncClient, host: str
) -> None:
    assert (await unguarded.get("/v1/jobs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
async def test_without_tokens_no_other_name_is_answered(
    unguarded: httpx.AsyncClient, host: str
) -> None:
    answer = await unguarded.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "/problems/wrong-host"


async def test_with_tokens_any_name_will_do(guarded: httpx.AsyncClient) -> None:
    headers = {"Host": "jobs.example", "Authorization": "Bearer new-token"}
    assert (await guarded.get("/v1/jobs", headers=headers)).status_code == 200


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "", "192.168.0.1", "example.com"]))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null"]
)
async def test_a_page_of_another_site_is_refused(unguarded: httpx.AsyncClient, origin: str) -> None:
    answer = await unguarded.get("/v1/jobs", headers={"Origin": origin})
    assert answer.status_code == 421


async def test_a_page_of_this_machine_is_let_in(unguarded: httpx.AsyncClient) -> None:
    answer = await unguarded.get("/v1/jobs", headers={"Origin": "http://localhost:3000"})
    assert answer.status_code == 200
