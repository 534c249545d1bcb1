"""Liveness, readiness, and an API whose ledger or broker is away; and what /openapi.json says."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import text

from api.__main__ import Server, main
from api.problems import Problem
from ferryman.policies import policies
from ferryman.requests import kinds
from ferryman.settings import settings
from tests.api.conftest import NOWHERE, serving
from tests.api.proxy import proxied

SECRETS = {
    "stripe": "STRIPE_WEBHOOK_SECRET",
    "paypal": "PAYPAL_WEBHOOK_ID",
    "sendgrid": "SENDGRID_WEBHOOK_PUBLIC_KEY",
    "twilio": "TWILIO_AUTH_TOKEN",
    "hubspot": "HUBSPOT_CLIENT_SECRET",
}
CLOSED = [f"webhooks.{vendor}" for vendor in SECRETS]
DEAD_LEDGER = f"postgresql://nobody@{NOWHERE}/nothing"


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS.values():
        monkeypatch.delenv(name, raising=False)


async def test_alive_without_a_ledger() -> None:
    async with serving(DEAD_LEDGER, tokens=["a"]) as (_, client):
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_ready(database_url: str, broker_url: str) -> None:
    async with serving(database_url, broker_url=broker_url) as (_, client):
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "degraded": CLOSED})


async def test_doors_that_are_open_are_not_named(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "old,new")
    monkeypatch.setenv("PAYPAL_WEBHOOK_ID", " , ")
    monkeypatch.setenv("SENDGRID_WEBHOOK_PUBLIC_KEY", "no key")
    async with serving(database_url, broker_url=broker_url) as (_, client):
        answer = await client.get("/readyz")
        cards = (await client.get("/v1/vendors")).json()["vendors"]
    assert answer.json()["degraded"] == CLOSED[1:]
    doors = {card["vendor"]: card["webhooks"] for card in cards}
    without = dict.fromkeys(set(policies()) - set(SECRETS))
    assert doors == {**without, **dict.fromkeys(SECRETS, "closed"), "stripe": "open"}


def test_closed_doors_and_what_would_open_them_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERRYMAN_DATABASE_URL", DEAD_LEDGER)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "set")
    monkeypatch.setenv("FERRYMAN_PUBLIC_URL", "https://jobs.example.com")
    monkeypatch.setattr(Server, "run", lambda self, sockets: sockets[0].close())
    settings.cache_clear()
    assert main(["--port", "0"]) == 0
    settings.cache_clear()
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "webhooks" in line)
    for vendor in ("stripe", "paypal", "sendgrid"):
        assert f"{vendor} ({SECRETS[vendor]})" in line
    assert "twilio" not in line


@pytest.mark.parametrize("url", [f"redis://{NOWHERE}/0", None, "nonsense://"])
async def test_without_the_broker_it_is_degraded(database_url: str, url: str | None) -> None:
    async with serving(database_url, broker_url=url) as (_, client):
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["broker", *CLOSED])


async def test_a_silent_broker_is_not_waited_for(database_url: str) -> None:
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    started = time.monotonic()
    async with serving(database_url, broker_url=f"redis://127.0.0.1:{port}/0") as (_, client):
        answer = await client.get("/readyz")
    assert answer.json()["degraded"] == ["broker", *CLOSED]
    assert time.monotonic() - started < 2
    silent.close()


PATHS = [
    ("GET", "/readyz"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/vendors"),
    ("GET", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"),
    ("GET", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901/attempts"),
    ("GET", "/v1/batches/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"),
    ("GET", "/v1/batches/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901/recipients?format=csv"),
    ("GET", "/v1/suppressions"),
]


def is_down(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "/problems/ledger-down"


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_no_ledger_is_a_503_at_once(charge: Any, method: str, path: str) -> None:
    started = time.monotonic()
    async with serving(DEAD_LEDGER) as (_, client):
        is_down(await client.request(method, path, json=charge if method == "POST" else None))
    assert time.monotonic() - started < 2


async def test_who_waits_for_a_job_hears_of_a_lost_ledger() -> None:
    async with serving(DEAD_LEDGER) as (_, client):
        is_down(await client.get("/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wait=30"))


async def test_bad_input_is_told_without_a_ledger(charge: Any) -> None:
    zero = charge["args"] | {"amount": 0}
    async with serving(DEAD_LEDGER) as (_, client):
        for change, field in (({"args": zero}, "amount"), ({"vendor": "sendgrid"}, "vendor")):
            answer = await client.post("/v1/jobs", json=charge | change)
            assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("'nothing', '{}'", "kind"),
        ("'charge', '[]'", "args"),
        ("'charge', '{}', vendor => 'sendgrid'", "vendor"),
        ("'charge', '{}', priority => 'urgent'", "priority"),
    ],
)
async def test_what_the_ledger_itself_refuses_names_the_field(
    database_url: str, arguments: str, field: str
) -> None:
    statement = text(f"SELECT ferryman.enqueue({arguments})")
    async with serving(database_url) as (app, _):
        with pytest.raises(Problem) as found:
            await app.state.ledger.run(lambda connection: connection.execute(statement))
    assert (found.value.status, found.value.field) == (422, field)


async def test_a_silent_ledger_is_not_waited_for(emptied: str, charge: Any) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (app, client):
        app.state.ledger.patience_seconds = 0.4
        assert (await client.get("/readyz")).status_code == 200
        proxy.freeze()
        started = time.monotonic()
        is_down(await client.get("/v1/jobs"))
        is_down(await client.post("/v1/jobs", json=charge))
        is_down(await client.get("/readyz"))
        assert time.monotonic() - started < 4
        proxy.thaw()
        app.state.ledger.patience_seconds = 5
        assert (await client.post("/v1/jobs", json=charge)).status_code == 201


async def test_a_restarted_ledger_is_not_noticed(emptied: str, charge: Any) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (_, client):
        await client.get("/v1/jobs")
        proxy.cut()
        assert (await client.post("/v1/jobs", json=charge)).status_code == 201
        proxy.cut()
        assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_another_schema_is_not_ready(ledger_url: str, charge: Any) -> None:
    async with serving(ledger_url) as (_, client):
        for change in (
            "UPDATE ferryman.alembic_version SET version_num = '9999'",
            "DELETE FROM ferryman.alembic_version",
            "DROP SCHEMA ferryman CASCADE",
        ):
            with psycopg.connect(ledger_url, autocommit=True) as connection:
                connection.execute(change)
            answer = await client.get("/readyz")
            is_down(answer)
            assert "ferryman migrate" in answer.json()["detail"]
        is_down(await client.post("/v1/jobs", json=charge))
        is_down(await client.get("/v1/vendors"))


async def test_the_index_leads_on(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        index = (await client.get("/")).json()
        assert index["name"] == "ferryman"
        for path in (index["openapi"], index["jobs"], index["vendors"], *index["health"]):
            assert (await client.get(path)).status_code == 200


async def test_the_document_names_every_problem_and_an_example_a_kind(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        document = (await client.get("/openapi.json")).json()
    post = document["paths"]["/v1/jobs"]["post"]
    assert set(post["responses"]) >= {"200", "201", "400", "401", "409", "413", "415", "422", "503"}
    content = post["requestBody"]["content"]["application/json"]
    shown = {example["value"]["kind"] for example in content["examples"].values()}
    assert shown == {kind for kind, made in kinds().items() if not made.internal}
    check = Draft202012Validator(content["schema"] | {"components": document["components"]})
    for example in content["examples"].values():
        check.validate(example["value"])
        assert not check.is_valid({**example["value"], "args": {"amount": "many"}})
    assert set(post["responses"]["422"]["content"]) == {"application/problem+json"}
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "HTTPValidationError" not in str(operation)
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert document["security"] == [{"token": []}]
    _resolve(document, document)


def _resolve(part: Any, document: dict[str, Any]) -> None:
    """Every reference leads somewhere."""
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            found: Any = document
            for name in reference.removeprefix("#/").split("/"):
                found = found[name]
        for inner in part.values():
            _resolve(inner, document)
    elif isinstance(part, list):
        for inner in part:
            _resolve(inner, document)
