"""All of it at once, for as long as the run is to last: jobs of every kind, and faults drawn from
the seed. Soak only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx

from ferryman._root import environment
from ferryman.testing import Sandbox
from ferryman.testing.up import up
from tests.chaos.conftest import Accounted, Scale
from tests.chaos.people import (
    CHARGES,
    MAILS,
    MESSAGES,
    PATIENT,
    PAYPAL_CHARGES,
    PAYPAL_REFUNDS,
    REFUNDS,
    about,
    both_banks,
    bucket,
    bulk,
    listen,
    mail,
    payers_agree,
    paypal,
    refund,
    settled,
    sync,
    synced,
    text,
    wrong_worker,
)
from tests.chaos.servers import Breakable
from tests.harness import Harness, free_port, suspended, until

WORKERS = 2
MOST_OPEN = 150
SHORTEST_SECONDS = 120
TO_SETTLE_SECONDS = 60
BANKS = (Harness.charge, paypal)
PLACES: tuple[dict[str, Any], ...] = (
    CHARGES,
    REFUNDS,
    PAYPAL_CHARGES,
    PAYPAL_REFUNDS,
    MAILS,
    MESSAGES,
    {"vendor": "stripe", "method": "POST", "path": "/v1/payment_intents/*"},
    {"vendor": "paypal", "method": "POST", "path": "/v2/payments/authorizations/*"},
    {"vendor": "paypal", "method": "POST", "path": "/v1/oauth2/token"},
)
ASKS = {Harness.charge: "pm_card_threeDSecure2Required", paypal: "paypal"}
WEATHER = [
    {"do": "latency", "seconds": 0.2},
    {"do": "status", "status": 503, "when": {"probability": 0.06}},
    {"do": "throttle", "retry_after": 1, "when": {"probability": 0.02}},
    {"do": "drop_before", "when": {"probability": 0.03}},
    {"do": "drop_after", "when": {"probability": 0.05}},
    {"do": "silent_after", "when": {"probability": 0.03}},
    {"do": "error_after", "when": {"probability": 0.02}},
    {"do": "garble", "when": {"probability": 0.02}},
]


class Storm:
    """What happens to the workers and servers of one harness."""

    def __init__(self, harness: Harness, servers: Breakable, random: Random) -> None:
        self.harness = harness
        self.servers = servers
        self.random = random
        self.jobs: list[UUID] = []
        self.env = PATIENT | {
            "FERRYMAN_CONCURRENCY": "8",
            "FERRYMAN_LOOK_UP_SECONDS": "2",
            "INSIDE_TIMEOUT": "1.5",
            "INSIDE_SMALL": "10",
        }
        # Always the same: text messages that are under way name it.
        self.port = free_port()
        harness.env["FERRYMAN_PUBLIC_URL"] = f"http://127.0.0.1:{self.port}"
        self.workers = [self.start() for _ in range(WORKERS)]
        self.open_api()

    def open_api(self) -> None:
        """Its webhooks come twice and in any order."""
        self.api = self.harness.api(port=self.port)
        self.api_process = self.harness.processes[-1]
        self.listen()

    def listen(self, **options: Any) -> None:
        listen(self.harness, self.api, **{"duplicates": 2, "shuffle": True, **options})

    def kill_api(self) -> None:
        self.harness.kill(self.api_process)
        time.sleep(self.random.uniform(0, 2))
        self.open_api()

    def lose_webhooks(self) -> None:
        """For good: only the vendor's own list knows of them."""
        listen(self.harness, None)
        time.sleep(self.random.uniform(0, 2))
        self.listen()

    def delay_webhooks(self) -> None:
        self.listen(delay=self.random.uniform(0.5, 5))

    def poll(self) -> None:
        for vendor in ("stripe", "paypal"):
            with contextlib.suppress(httpx.TransportError):
                httpx.post(f"{self.api}/v1/vendors/{vendor}/poll-events")

    def start(self) -> subprocess.Popen[bytes]:
        return wrong_worker(self.harness, wait=False, **self.env)

    def keep(self) -> None:
        """No worker may end on its own, but for the one whose database was away at its start."""
        self.workers = [w if w.poll() is None else self.start() for w in self.workers]

    def one(self) -> int:
        return self.random.randrange(WORKERS)

    def kill(self) -> None:
        place = self.one()
        self.harness.kill(self.workers[place])
        self.workers[place] = self.start()

    def ask_to_stop(self) -> None:
        place = self.one()
        self.workers[place].terminate()
        self.workers[place] = self.start()

    def freeze(self) -> None:
        """For longer than its lease."""
        with suspended(self.workers[self.one()]):
            time.sleep(self.random.uniform(2.5, 5))

    def wipe_broker(self) -> None:
        self.harness.redis().flushall()

    def kill_broker(self) -> None:
        self.servers.kill_broker()
        time.sleep(self.random.uniform(0, 2))
        self.servers.start_broker()

    def stop_database(self) -> None:
        self.servers.stop_database()
        time.sleep(self.random.uniform(0, 5))
        self.servers.start_database(self.harness)

    def cut_off(self) -> None:
        """All connections to the ledger, but for this one."""
        self.harness.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def cancel(self) -> None:
        for job in self.random.sample(self.jobs, min(5, len(self.jobs))):
            with contextlib.suppress(httpx.TransportError):
                httpx.post(f"{self.api}/v1/jobs/{job}/cancel", json={})

    def enqueue(self) -> None:
        """Some of each kind, unless there are many already."""
        if len(self.harness.rows(OPEN)) > MOST_OPEN:
            return
        n = len(self.jobs)
        for pay in BANKS:
            self.pay(n, pay)
        self.jobs += [mail(self.harness, n + i) for i in range(6)]
        self.jobs += [text(self.harness, n + i) for i in range(4)]
        self.jobs += [bulk(self.harness, n, 25), sync(self.harness, n)]

    def pay(self, n: int, pay: Callable[..., UUID]) -> None:
        """Some at once, some held, some that their payers must agree to."""
        harness = self.harness
        charges = [pay(harness, n + i, customer=f"user-{i}") for i in range(6)]
        held = [pay(harness, n + i, capture=False) for i in range(3)]
        self.jobs += charges + held
        self.jobs += [refund(harness, charge, 500) for charge in charges[:4]]
        self.jobs += [about(harness, "capture_charge", charge, amount=700) for charge in held[:2]]
        self.jobs += [about(harness, "cancel_charge", charge) for charge in held[2:]]
        self.jobs += [pay(harness, n + i, payment_method=ASKS[pay]) for i in range(2)]


UNREAD = """
SELECT FROM ferryman.jobs WHERE kind IN ('poll_events', 'refresh_charge') AND status = 'waiting'
 UNION ALL SELECT FROM ferryman.events WHERE due_at IS NOT NULL
"""
TOLD = """
SELECT FROM ferryman.jobs j JOIN ferryman.events e ON e.payload ->> 'ferryman_job' = j.id::text
 WHERE j.status = 'unknown'
"""
ASKED = """
SELECT FROM ferryman.jobs WHERE kind = 'charge' AND status IN ('waiting', 'running')
   AND args ->> 'payment_method' = ANY(%s)
"""
PARTS = "SELECT id FROM ferryman.jobs WHERE kind = 'bulk_email_part'"
OPEN = "SELECT FROM ferryman.jobs WHERE status IN ('waiting', 'running')"
FAULTS: list[Callable[[Storm], None]] = [
    Storm.kill,
    Storm.kill,
    Storm.ask_to_stop,
    Storm.freeze,
    Storm.wipe_broker,
    Storm.kill_broker,
    Storm.stop_database,
    Storm.cut_off,
    Storm.cancel,
    Storm.kill_api,
    Storm.lose_webhooks,
    Storm.delay_webhooks,
    Storm.poll,
]


def test_everything_at_once(
    broken: Harness, servers_to_break: Breakable, s3_server: str, scale: Scale, accounted: Accounted
) -> None:
    bucket(both_banks(broken), s3_server)
    broken.sandbox.script([{**place, **fault} for place in PLACES for fault in WEATHER])
    storm = Storm(broken, servers_to_break, scale.random)
    end = time.monotonic() + max(SHORTEST_SECONDS, scale.seconds_left() - TO_SETTLE_SECONDS)
    while time.monotonic() < end:
        storm.enqueue()
        time.sleep(scale.random.uniform(0.2, 2))
        fault = scale.random.choice(FAULTS)
        fault(storm)
        payers_agree(broken)
        storm.keep()

    broken.sandbox.script([])
    storm.listen()
    until(lambda: all_agreed(broken), 120, what="every payer was asked, and has agreed")
    ends = settled(broken, storm.jobs, 180)
    parts = [row["id"] for row in broken.rows(PARTS)]
    settled(broken, parts, 180)
    storm.poll()
    until(lambda: not broken.rows(UNREAD), 60, what="every event is read")
    until(lambda: not broken.rows(TOLD), what="no mail is in doubt of which the vendor told")

    accounted(broken, storm.jobs + parts)
    assert set(ends) <= {"succeeded", "cancelled", "unknown", "failed"}
    unknown = broken.rows("SELECT DISTINCT kind FROM ferryman.jobs WHERE status = 'unknown'")
    # Only what its vendor can neither dedupe nor look up, and what no event told of.
    assert {row["kind"] for row in unknown} <= {"send_email", "bulk_email_part"}
    # A refund of a charge that was cancelled, and nothing else.
    codes = broken.rows(
        "SELECT DISTINCT error ->> 'code' AS c FROM ferryman.jobs WHERE status = 'failed'"
    )
    assert [row["c"] for row in codes] in ([], ["charge_cancelled"])
    assert storm_synced(broken, s3_server)


def all_agreed(harness: Harness) -> bool:
    payers_agree(harness)
    return not harness.rows(ASKED, (list(ASKS.values()),))


def storm_synced(harness: Harness, s3_server: str) -> bool:
    """A sync that was cancelled leaves its folder half copied, or not at all."""
    cancelled = harness.rows(
        "SELECT FROM ferryman.jobs WHERE kind = 'sync_objects' AND status = 'cancelled'"
    )
    return bool(cancelled) or synced(harness, s3_server)


def test_ferryman_up_brings_back_the_worker_that_was_killed(
    tmp_path: Path, accounted: Accounted
) -> None:
    """The supervisor waits longer before each start, since they follow so soon."""
    settings = {"FERRYMAN_LEASE_SECONDS": "2", "FERRYMAN_CONCURRENCY": "8", **PATIENT}
    home, logs = tmp_path / "home", tmp_path / "logs"
    home.mkdir()
    logs.mkdir()
    with up(home, env=environment() | settings) as state:
        sandbox = Sandbox(state["sandbox_url"])
        slow = {"do": "latency", "seconds": 0.3}
        cut = {"do": "drop_after", "when": {"probability": 0.1}}
        sandbox.script([slow, {**CHARGES, **cut}, {**PAYPAL_CHARGES, **cut}])
        with Harness(state["database_url"], state["broker_url"], sandbox, logs) as harness:
            kinds = (mail, paypal, Harness.charge)
            jobs = [kinds[n % 3](harness, n) for n in range(300)]
            for n in range(4):
                done = 40 * (n + 1)
                until(lambda least=done: ended(harness) >= least, 60, what=f"{done} ended")
                os.kill(worker_of(state["pid"]), signal.SIGKILL)

            settled(harness, jobs, 120)
            accounted(harness, jobs)


def ended(harness: Harness) -> int:
    return len(harness.rows("SELECT FROM ferryman.jobs WHERE status IN ('succeeded', 'unknown')"))


def worker_of(supervisor: int) -> int:
    """The process of the worker, once it has one again."""

    def look() -> int | None:
        for task in Path(f"/proc/{supervisor}/task").iterdir():
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    if words[1:3] == [b"-m", b"worker"]:
                        return int(pid)
        return None

    found: int = until(look, 60, what="the supervisor has a worker")
    return found
