"""Five doors, one claim: Python, HTTP, command line, a foreign Celery app, SQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from celery import Celery

from tests.harness import ROOT, Harness, until

TOKEN = "a-token-of-the-tests"


def charge(n: int) -> dict[str, Any]:
    return {
        "customer": f"door-{n}",
        "amount": 1000 + n,
        "currency": "usd",
        "payment_method": "pm_card_visa",
    }


def client(harness: Harness, script: str) -> str:
    """A line of an application that has ferryman installed; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import ferryman\n{script}"],
        env={**os.environ, "FERRYMAN_DATABASE_URL": harness.database, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd=harness.folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def cli(harness: Harness, *args: str, url: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in harness.env.items() if not k.startswith("FERRYMAN_")}
    return subprocess.run(
        [Path(sys.executable).with_name("ferryman"), *args],
        env={**env, "FERRYMAN_URL": url, "FERRYMAN_API_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        cwd=harness.folder,
        check=False,
    )


def test_all_five_doors_end_at_the_same_claim(harness: Harness) -> None:
    harness.worker()
    url = harness.api(TOKEN)
    http = httpx.post(
        f"{url}/v1/jobs",
        json={"kind": "charge", "args": charge(1)},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert http.status_code == 201, http.text
    typed = cli(harness, "enqueue", "charge", "--args", json.dumps(charge(2)), url=url)
    assert typed.returncode == 0, typed.stderr
    foreign = Celery(broker=harness.broker)
    sent = foreign.send_task(
        "ferryman.charge", kwargs=charge(3), queue="ferryman", task_id=str(uuid4())
    )
    jobs = [
        UUID(http.json()["id"]),
        UUID(typed.stdout.strip().splitlines()[-1]),
        UUID(sent.id),
        UUID(client(harness, f"print(ferryman.enqueue('charge', **{charge(4)!r}).id)")),
        harness.enqueue("charge", charge(5)),
    ]
    until(lambda: len(harness.rows("SELECT FROM ferryman.jobs")) == 5, what="all are stored")

    assert harness.all_ended(jobs) == {"succeeded": 5}
    amounts = sorted(e["amount"] for e in harness.sandbox.effects(vendor="stripe", kind="charge"))
    assert amounts == [1001, 1002, 1003, 1004, 1005]
    assert all(len(harness.attempts(job)) == 1 for job in jobs)
    assert harness.redis().llen("ferryman") == 0


def test_one_key_is_one_job_at_every_door(harness: Harness) -> None:
    url = harness.api(TOKEN)
    first = harness.enqueue("charge", charge(1), key="order-42")
    again = client(
        harness, f"print(ferryman.enqueue('charge', **{charge(1)!r}, key='order-42').id)"
    )
    http = httpx.post(
        f"{url}/v1/jobs",
        json={"kind": "charge", "args": charge(1), "key": "order-42"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    other = cli(
        harness, "enqueue", "charge", "--key", "order-42", "--args", json.dumps(charge(2)), url=url
    )

    assert (again, http.status_code, http.json()["id"]) == (str(first), 200, str(first))
    assert other.returncode == 2
    assert "key" in other.stderr
    assert len(harness.rows("SELECT FROM ferryman.jobs")) == 1


def test_a_foreign_celery_app_reads_the_result(harness: Harness) -> None:
    harness.worker()
    sent = Celery(broker=harness.broker).send_task(
        "ferryman.charge", kwargs=charge(1), queue="ferryman"
    )
    until(lambda: harness.rows("SELECT FROM ferryman.jobs WHERE status = 'succeeded'"))

    script = (
        "from celery import Celery;from celery.result import AsyncResult;"
        "app = Celery(broker='memory://', backend='worker.results:LedgerBackend');"
        f"print(AsyncResult('{sent.id}', app=app).get(timeout=5)['amount'])"
    )

    assert client(harness, script) == "1001"


def test_garbage_at_celery_s_door_hinders_nobody(harness: Harness) -> None:
    harness.worker()
    with harness.redis() as broker:
        broker.lpush("ferryman", b"garbage", b'{"content-type": "application/x-python-serialize"}')
    foreign = Celery(broker=harness.broker)
    foreign.send_task("ferryman.charge", kwargs=charge(1), queue="ferryman", task_id="no-uuid")
    foreign.send_task("ferryman.nonsense", kwargs={}, queue="ferryman")
    good = foreign.send_task("ferryman.charge", kwargs=charge(2), queue="ferryman")

    until(lambda: harness.redis().llen("ferryman") == 0)

    assert harness.ended(UUID(good.id))["status"] == "succeeded"
    assert len(harness.rows("SELECT FROM ferryman.jobs")) == 1
    assert harness.logs().count("message.refused") == 4
