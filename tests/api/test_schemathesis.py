"""The whole OpenAPI document, tried by a machine: no 5xx, no answer that it does not tell of."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create
from api.examples import EXAMPLES
from models.engine import async_engine
from tests.api.conftest import NOWHERE, empty
from tests.harness import until

TOKEN = "-".join(("the", "token"))
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
STATUSES = ("waiting", "running", "succeeded", "failed", "unknown", "cancelled")
PLACES = {"vendor": ["stripe", "paypal", "sendgrid"], "address": ["ada@example.com"]}
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
LINES = st.lists(st.binary(max_size=50) | st.just(b'{"kind": "charge"}'), max_size=3)

schemathesis.openapi.media_type("application/x-ndjson", LINES.map(b"\n".join))


def application(database: str) -> Any:
    return create(async_engine(database, connections=5), broker_url=None, tokens=[TOKEN])


schema = schemathesis.openapi.from_dict(application(f"postgresql://{NOWHERE}/x").openapi())


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    """The API over a ledger with a job in every status of every kind."""
    secrets = {"STRIPE_WEBHOOK_SECRET": "a secret", "STRIPE_SECRET_KEY": "a key"}
    empty(database_url)
    with mock.patch.dict(os.environ, secrets), served(database_url) as address:
        PLACES["id"] = seed(database_url)
        yield address
    empty(database_url)


@contextmanager
def served(database: str) -> Iterator[str]:
    """By a server of its own, in a thread."""
    app = application(database)
    app.state.stopping = True  # so that no long poll takes its time
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def seed(database: str) -> list[str]:
    """The ids of the jobs."""
    ids = []
    with psycopg.connect(database, autocommit=True) as ledger:
        for status in STATUSES:
            for kind, example in EXAMPLES.items():
                row = ledger.execute(
                    "SELECT ferryman.enqueue(%s, %s)", (kind, Jsonb(example["args"]))
                ).fetchone()
                assert row
                ids.append(str(row[0]))
                ledger.execute("UPDATE ferryman.jobs SET status = %s WHERE id = %s", (status, *row))
    return ids


@schema.parametrize()
@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: Any, url: str) -> None:
    """What is acceptable cannot all be said in JSON Schema: that it is accepted is not asked."""
    _lead_somewhere(case)
    case.call_and_validate(
        base_url=url, headers=HEADERS, excluded_checks=[positive_data_acceptance]
    )


def _lead_somewhere(case: Any) -> None:
    """Most of the made-up names in the path become those of what is there."""
    for name, there in PLACES.items():
        made_up = (case.path_parameters or {}).get(name)
        if isinstance(made_up, str) and _fits(name, made_up):
            lot, place = hashlib.sha256(made_up.encode("utf-8", "replace")).digest()[:2]
            case.path_parameters[name] = there[place % len(there)] if lot % 4 else made_up


def _fits(name: str, made_up: str) -> bool:
    """What is no id is left as it is: it must be refused."""
    return name != "id" or bool(UUID_TEXT.fullmatch(made_up))
