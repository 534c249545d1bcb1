"""What the tests of this folder ask ferryman to do, and the workers that do it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from tests import moto
from tests.harness import Harness, until

BUCKET = "ferryman-chaos"
CHARGES = {"vendor": "stripe", "method": "POST", "path": "/v1/payment_intents"}
REFUNDS = {"vendor": "stripe", "method": "POST", "path": "/v1/refunds"}
MAILS = {"vendor": "sendgrid", "path": "/v3/mail/send"}
MESSAGES = {"vendor": "twilio", "path": "*/Messages.json"}
PAYPAL_CHARGES = {"vendor": "paypal", "method": "POST", "path": "/v2/checkout/orders/*"}
PAYPAL_REFUNDS = {"vendor": "paypal", "method": "POST", "path": "/v2/payments/captures/*"}

# Faults are what is tested here, not how soon ferryman gives up.
PATIENT = {
    "FERRYMAN_MAX_ATTEMPTS": "50",
    "FERRYMAN_MAX_CRASHES": "50",
    "FERRYMAN_BREAKER_FAIL_MAX": "10000",
    "FERRYMAN_BACKOFF_SECONDS": "0.1",
}


def mail(harness: Harness, n: int = 0, **changes: Any) -> UUID:
    letter = {"to": f"user{n}@example.com", "subject": f"Receipt {n}", "text": "Thank you"}
    return harness.enqueue("send_email", {**letter, **changes})


def bulk(harness: Harness, n: int, count: int) -> UUID:
    """A batch of mails, to people who get no other."""
    people = [{"to": f"reader{n}-{i}@example.com"} for i in range(count)]
    return harness.enqueue("bulk_email", {"subject": "News", "text": "Hello", "recipients": people})


def text(harness: Harness, n: int) -> UUID:
    """A text message like no other."""
    to = f"+44770090{n % 100:04}"
    return harness.enqueue("send_sms", {"to": to, "body": f"Your code is {n}"})


def both_banks(harness: Harness) -> Harness:
    """Credentials of all vendors beside those of Stripe, and what verifies their webhooks."""
    harness.env |= harness.sandbox.environment()
    return harness


def paypal(harness: Harness, n: int = 0, **changes: Any) -> UUID:
    """A charge at PayPal."""
    args = {
        "customer": f"user-{n}",
        "amount": 1000 + n,
        "currency": "usd",
        "payment_method": "vault_ok",
    }
    return harness.enqueue("charge", {**args, **changes}, vendor="paypal")


def listen(harness: Harness, url: str | None, **options: Any) -> None:
    """From now on the webhooks of all vendors go to that API, or to nobody. A text message's
    status goes where it asked for, in any case."""
    for vendor in ("stripe", "paypal", "sendgrid", "twilio"):
        target = url and f"{url}/webhooks/{vendor}"
        harness.sandbox.webhooks(vendor, target, **(options if target else {}))


def payers_agree(harness: Harness) -> int:
    """All who are asked; how many those are."""
    query = "SELECT * FROM ferryman.charges WHERE status = 'requires_action'"
    rows = harness.rows(query)
    for row in rows:
        # He may have agreed before.
        with contextlib.suppress(ValueError):
            if row["vendor"] == "paypal":
                harness.sandbox.dashboard("paypal", "approve", order=row["vendor_session"])
            else:
                named = {"payment_intent": row["vendor_reference"]}
                harness.sandbox.dashboard("stripe", "authenticate", **named)
    return len(rows)


def about(harness: Harness, kind: str, charge: UUID, **args: Any) -> UUID:
    """A job about a charge, at that charge's vendor."""
    return harness.enqueue(kind, {"charge": str(charge), **args})


def refund(harness: Harness, charge: UUID, amount: int | None = None) -> UUID:
    asked = {"charge": str(charge)} | ({"amount": amount} if amount else {})
    return harness.enqueue("refund", asked)


def bucket(harness: Harness, server: str) -> None:
    """An empty bucket for the harness' workers."""
    moto.reset(server)
    moto.oracle(server).create_bucket(Bucket=BUCKET)
    harness.env |= {**moto.ENVIRONMENT, "S3_BASE_URL": server, "AWS_EC2_METADATA_DISABLED": "true"}


def sync(harness: Harness, n: int, files: int = 3) -> UUID:
    """A folder of its own, copied to a place of its own in the bucket."""
    source = harness.folder / "sources" / str(n)
    source.mkdir(parents=True)
    for number in range(files):
        (source / f"{number}.txt").write_text(f"{n}/{number}")
    destination = f"s3://{BUCKET}/{n}"
    return harness.enqueue(
        "sync_objects", {"source": f"file://{source}", "destination": destination}
    )


def synced(harness: Harness, server: str) -> bool:
    """Whether the bucket holds what the folders do."""
    root = harness.folder / "sources"
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.txt")}
    return moto.holds(server, BUCKET) == files


def wrong_worker(harness: Harness, *, wait: bool = True, **env: str) -> subprocess.Popen[bytes]:
    """A worker with `INSIDE_…` twists (`tests.chaos.inside`)."""
    ready = harness.folder / f"ready-{len(harness.processes)}"
    process = harness.start("tests.chaos.inside", FERRYMAN_READY_FILE=str(ready), **env)
    if wait:
        until(lambda: _there(ready, process), what="the worker is ready")
        assert process.poll() is None, harness.logs()
    return process


def _there(ready: Path, process: subprocess.Popen[bytes]) -> bool:
    return ready.exists() or process.poll() is not None


def mark(harness: Harness, job_id: UUID, step: str) -> Callable[[], bool]:
    """Whether that step of the job may have left."""
    query = "SELECT FROM ferryman.sends WHERE job_id = %s AND step = %s AND answered_at IS NULL"
    return lambda: bool(harness.rows(query, (job_id, step)))


def outcomes(harness: Harness, job_id: UUID) -> list[str]:
    return [attempt["outcome"] for attempt in harness.attempts(job_id)]


def settled(harness: Harness, jobs: Sequence[UUID], seconds: float = 60) -> dict[str, int]:
    """How many ended in which status, once no worker will do any more about them."""
    open_jobs = """
    SELECT FROM ferryman.jobs WHERE id = ANY(%s)
       AND (status IN ('waiting', 'running') OR (status = 'unknown' AND look_at IS NOT NULL))
    """
    until(lambda: not harness.rows(open_jobs, (list(jobs),)), seconds, what="all is settled")
    return harness.all_ended(jobs)
