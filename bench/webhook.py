"""Webhooks as Stripe sends them, and the two servers that take them."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256

import orjson
import urllib3

from bench.http_load import Make, request
from bench.measure import spawn, until

PATH = "/webhooks/stripe"


def secret() -> str:
    """A signing secret as Stripe's look, a new one each time."""
    return "_".join(("whsec", secrets.token_hex(16)))


def requests(key: str) -> Make:
    """Makes signed requests, each with an event of its own."""
    return partial(signed, key, secrets.token_hex(6))


def signed(key: str, run: str, n: int) -> bytes:
    body = orjson.dumps(event(f"evt_{run}{n:012}", n), option=orjson.OPT_INDENT_2)
    stamp = str(int(time.time()))
    code = hmac.new(key.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "*/*; q=0.5, application/xml",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": f"t={stamp},v1={code},v0={code[::-1]}",
    }
    return request(PATH, headers, body)


def event(id: str, n: int) -> dict[str, object]:
    """A payment's success, as long as such events are: about 2.5 KB."""
    payment = {
        "id": f"pi_{n:024}",
        "object": "payment_intent",
        "amount": 1250 + n,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 1250 + n,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "never", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"pi_{n:024}_secret_{n:025}",
        "confirmation_method": "automatic",
        "created": 1_893_456_000,
        "currency": "usd",
        "customer": f"cus_{n:014}",
        "description": "Order 1042",
        "last_payment_error": None,
        "latest_charge": f"ch_{n:024}",
        "livemode": False,
        "metadata": {"job": f"0190b5f2-7a3c-7cc1-8a51-{n:012}", "order": "1042"},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": f"pm_{n:024}",
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card", "link"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }
    return {
        "id": id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_893_456_000 + n,
        "data": {"object": payment},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": f"req_{n:014}", "idempotency_key": f"0190b5f2-{n:012}:charge"},
        "type": "payment_intent.succeeded",
    }


@contextlib.contextmanager
def server(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """A server in one process, told its port as the last word; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = spawn([*command, "--port", str(port)], environment)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or _answers(url))
        if process.poll() is not None:
            raise RuntimeError("the server ended; BENCH_SHOW=1 shows why")
        yield url
    finally:
        process.terminate()
        process.wait()


def ours(database: str, key: str) -> contextlib.AbstractContextManager[str]:
    """`python -m api` as it is."""
    environment = {
        "FERRYMAN_DATABASE_URL": database,
        "FERRYMAN_API_TOKEN": "bench",
        "FERRYMAN_BROKER_URL": "",
        "STRIPE_WEBHOOK_SECRET": key,
    }
    return server(("-m", "api"), environment)


def plain(way: str, database: str, key: str) -> contextlib.AbstractContextManager[str]:
    """The same endpoint as one writes it without a thought of its speed; `way` to the database:
    sqlalchemy or psycopg."""
    environment = {"BENCH_DATABASE": database, "BENCH_SECRET": key, "BENCH_WAY": way}
    command = ("-m", "uvicorn", "bench.webhook_plain:app", "--loop", "uvloop")
    options = ("--http", "httptools", "--log-level", "error", "--no-access-log")
    return server((*command, *options), environment)


def _answers(url: str) -> bool:
    try:
        urllib3.request("GET", f"{url}/healthz", retries=False, timeout=5)
    except urllib3.exceptions.HTTPError:
        return False
    return True
