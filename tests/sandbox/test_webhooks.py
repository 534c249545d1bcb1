"""Webhooks really arrive: signed as the vendor does it, until taken, doubled, shuffled, held."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe

from ferryman.testing import Sandbox
from sandbox import webhooks
from sandbox.webhooks import BadTarget, Target, Webhooks
from tests.harness import ROOT, STRIPE_KEY, free_port, until
from tests.sandbox.conftest import payment

INTENTS = "/v1/payment_intents"


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five, the kernel makes the sixth wait a second
    daemon_threads = True


class Shop:
    """An application's side: takes webhooks, by default with 200."""

    def __init__(self, port: int = 0) -> None:
        self.statuses: list[int] = []
        self.answering = threading.Event()
        self.answering.set()
        self.seen: list[tuple[Mapping[str, str], bytes]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shop.answering.wait(10)
                shop.seen.append((dict(self.headers), body))
                self.send_response(shop.statuses.pop(0) if shop.statuses else 200)
                self.send_header("Location", f"http://127.0.0.1:{shop.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/webhooks/stripe"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()

    def events(self, count: int) -> list[stripe.Event]:
        """Exactly so many, as soon as they are there, verified by Stripe's own library."""
        until(lambda: len(self.seen) >= count, 5, what=f"{len(self.seen)} of {count} webhooks")
        secret = "whsec_" + "sandbox"
        assert len(self.seen) == count
        return [
            stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)
            for headers, body in self.seen
        ]


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def pay(http: httpx.Client) -> Callable[..., str]:
    """Makes a payment, which has three events, and gives its id."""

    def made(key: str | None = None) -> str:
        headers = {"Idempotency-Key": key} if key else {}
        answer = http.post(INTENTS, data=payment(**{"metadata[job]": "j-1"}), headers=headers)
        return str(answer.raise_for_status().json()["id"])

    return made


Pay = Callable[..., str]


def test_what_happens_is_told_signed_and_with_the_key_of_its_request(
    sandbox: Sandbox, http: httpx.Client, shop: Shop, pay: Pay
) -> None:
    sandbox.webhooks("stripe", shop.url)
    intent = pay("k-1")

    events = shop.events(3)

    types = {"payment_intent.created", "charge.succeeded", "payment_intent.succeeded"}
    assert {event.type for event in events} == types
    assert {event.request.idempotency_key for event in events if event.request} == {"k-1"}
    by_type = {event.type: event.data.object for event in events}
    assert by_type["payment_intent.succeeded"]["id"] == intent
    assert by_type["charge.succeeded"]["metadata"]["job"] == "j-1"
    listed = http.get("/v1/events").json()["data"]
    assert {event["id"] for event in listed} == {event.id for event in events}
    assert {one["id"]: one["type"] for one in sandbox.deliveries("stripe")} == {
        event.id: event.type for event in events
    }


def test_the_secret_is_among_the_variables_and_another_one_does_not_verify(
    sandbox: Sandbox, shop: Shop, pay: Pay
) -> None:
    assert sandbox.environment()["STRIPE_WEBHOOK_SECRET"] == "whsec_" + "sandbox"
    sandbox.webhooks("stripe", shop.url)
    pay()
    shop.events(3)
    headers, body = shop.seen[0]

    for changed, secret in ((body, "whsec_" + "other"), (body + b" ", "whsec_" + "sandbox")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(changed, headers["Stripe-Signature"], secret)


def tries(sandbox: Sandbox) -> list[list[Any]]:
    """Those of each delivery, once all have arrived."""

    def all_delivered() -> list[dict[str, Any]]:
        found = sandbox.deliveries("stripe")
        return found if all(one["delivered"] for one in found) else []

    return [one["tries"] for one in until(all_delivered, 10)]


def test_what_is_not_taken_comes_again(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    shop.statuses = [503, 404, 307, 500]
    sandbox.webhooks("stripe", shop.url)
    pay()

    found = tries(sandbox)

    assert sorted(status for one in found for status in one) == [200] * 3 + [307, 404, 500, 503]
    assert [one[-1] for one in found] == [200] * 3
    assert len(shop.seen) == 7  # a redirection is not followed


def test_a_target_may_be_away_for_a_while(sandbox: Sandbox, pay: Pay) -> None:
    port = free_port()
    sandbox.webhooks("stripe", f"http://127.0.0.1:{port}/")
    pay()
    until(lambda: all(one["tries"] for one in sandbox.deliveries()))
    shop = Shop(port)

    found = tries(sandbox)

    shop.close()
    assert all(one[0] is None and one[-1] == 200 for one in found)
    assert len(shop.seen) == 3


def test_a_silent_target_makes_nobody_wait(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    shop.answering.clear()
    sandbox.webhooks("stripe", shop.url)
    for _ in range(20):  # more than are under way at once
        pay()

    assert shop.seen == []
    shop.answering.set()
    shop.events(60)


def test_duplicates(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, duplicates=3)
    pay()

    ids = [event.id for event in shop.events(9)]

    assert sorted(ids.count(one) for one in set(ids)) == [3, 3, 3]


def test_any_order(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, shuffle=True)
    for _ in range(4):
        pay()

    arrived = [event.id for event in shop.events(12)]

    made = [one["id"] for one in sandbox.deliveries("stripe")]
    assert sorted(arrived) == sorted(made)
    assert arrived != made


def test_held_until_released(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, hold=True)
    pay()
    assert [one["tries"] for one in sandbox.deliveries("stripe")] == [[], [], []]

    assert sandbox.release("stripe") == 3
    shop.events(3)

    pay()
    assert len(shop.seen) == 3
    sandbox.webhooks("stripe", shop.url)  # holds no more
    shop.events(6)


def test_a_delay(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, delay=0.2)
    pay()
    paid = time.monotonic()

    shop.events(3)
    assert time.monotonic() - paid > 0.15


def test_a_reset_forgets_targets_and_what_is_queued(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, hold=True)
    pay()
    sandbox.reset()
    assert (sandbox.release("stripe"), sandbox.deliveries()) == (0, [])

    pay()
    assert sandbox.deliveries() == []


def test_nowhere_is_a_target_too(sandbox: Sandbox, shop: Shop, pay: Pay) -> None:
    sandbox.webhooks("stripe", shop.url, hold=True)
    pay()
    sandbox.webhooks("stripe", None)

    assert sandbox.release("stripe") == 0
    assert shop.seen == []


def test_a_client_that_begins_anew_leaves_the_target(
    sandbox: Sandbox, shop: Shop, pay: Pay
) -> None:
    sandbox.webhooks("stripe", shop.url, hold=True, duplicates=2)
    sandbox.begin()
    pay()

    shop.events(3)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/webhooks",
        "http://10.0.0.1/webhooks",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "https://127.0.0.1/webhooks",
        "ftp://127.0.0.1/",
        "127.0.0.1:8080",
        "http://[::1/",
        "",
    ],
)
def test_nothing_is_sent_elsewhere(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(ValueError, match="is not on this machine"):
        sandbox.webhooks("stripe", url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:80/", "http://127.8.0.1/x"]
)
def test_targets_on_this_machine(url: str) -> None:
    webhooks.check(url)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"vendor": "nobody", "url": None},
        {"vendor": "stripe", "url": "http://127.0.0.1/", "duplicates": 0},
        {"vendor": "stripe", "url": "http://127.0.0.1/", "duplicates": "2"},
        {"vendor": "stripe", "url": "http://127.0.0.1/", "delay": -1},
        {"vendor": "stripe", "url": "http://127.0.0.1/", "hold": 1},
        {"vendor": "stripe", "url": "http://127.0.0.1/", "colour": "red"},
    ],
)
def test_what_cannot_be_understood_is_refused(sandbox: Sandbox, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{sandbox.url}/_sandbox/webhooks", json=body, trust_env=False)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_from_the_start_and_stopped_in_order_while_some_are_on_their_way(shop: Shop) -> None:
    shop.answering.clear()
    words = ("--port", "0", "--webhooks", f"http://127.0.0.1:{shop.port}/webhooks/")
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    sandbox = Sandbox(process.stdout.readline().removeprefix("sandbox: ").strip())
    sandbox.reset()  # the target is the start's, not forgotten
    url, headers = sandbox.base_url("stripe"), {"Authorization": f"Bearer {STRIPE_KEY}"}
    httpx.post(url + INTENTS, data=payment(), headers=headers, trust_env=False)
    assert len(sandbox.deliveries("stripe")) == 3
    sandbox.close()
    process.terminate()

    assert (*process.communicate(timeout=10), process.returncode) == ("", "", 0)


def test_another_machine_is_refused_at_the_start() -> None:
    words = ("--port", "0", "--webhooks", "http://example.com")
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox", *words],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ended.returncode == 1
    assert "--webhooks: url: 'http://example.com" in ended.stderr


async def test_patience_ends_and_each_try_is_signed_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "PAUSES", (0.01, 0.01))
    shop.statuses = [500] * 3
    signed: list[str] = []

    def sign(vendor: str, body: bytes, url: str) -> dict[str, str]:
        signed.append(vendor)
        return {"X-Try": str(len(signed))}

    sending = Webhooks(sign)
    sending.aim("stripe", Target(shop.url))
    sending.send("stripe", "evt_1", b'{"type": "ping"}')
    await asyncio.to_thread(until, lambda: len(sending.deliveries()[0]["tries"]) == 3)
    await sending.close()

    assert [headers["X-Try"] for headers, _ in shop.seen] == ["1", "2", "3"]
    with pytest.raises(BadTarget):
        sending.aim("stripe", Target("http://example.com"))
