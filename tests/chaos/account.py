"""What became of a test's jobs, counted at both ends: in the ledger and at the vendors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.harness import ENDED, Harness

# What happens at vendors, as the sandbox's effect log calls it, and is to happen once for a job.
ONCE = ("charge", "authorization", "cancellation", "refund", "message")
PAYMENTS = ("stripe", "paypal")
Effects = Counter[tuple[str, str]]
"""How many effects of each kind name each job: `(kind, job)`."""


@dataclass(frozen=True)
class Account:
    """`lost`: jobs that are gone, that never ended, or that succeeded without an effect.
    `twice`: jobs (and customers) with more than one. `unexplained`: attempts without an end,
    effects that the ledger cannot tell the origin of, and money that only one side knows of."""

    jobs: int
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.unexplained)


def account(harness: Harness, jobs: Sequence[UUID]) -> Account:
    """Compare the ledger with the effect logs of the vendors."""
    rows = {row["id"]: row for row in _jobs(harness, jobs)}
    effects, mails = _effects(harness), _mails(harness)
    return Account(
        jobs=len(jobs),
        lost=[
            f"job {job}: {rows.get(job) or 'gone'}"
            for job in jobs
            if _is_lost(rows.get(job), effects)
        ]
        + _mails_lost(harness, mails),
        twice=[f"{kind} of {job}" for (kind, job), n in effects.items() if n > 1]
        + [f"mail {mail}" for mail, n in mails.items() if n > 1]
        + _customers_twice(harness),
        unexplained=[
            *_open_attempts(harness, jobs),
            *_missing_attempts(harness, jobs),
            *_effects_of_none(harness, effects),
            *_mails_of_none(harness, mails),
            *_money_of_nobody(harness),
        ],
        statuses=Counter(row["status"] for row in rows.values()),
    )


def _jobs(harness: Harness, jobs: Sequence[UUID]) -> list[dict[str, Any]]:
    query = "SELECT id, kind, status, reason, error, args FROM ferryman.jobs WHERE id = ANY(%s)"
    return harness.rows(query, (list(jobs),))


def _effects(harness: Harness) -> Effects:
    found = [effect for effect in harness.sandbox.effects() if effect["kind"] in ONCE]
    return Counter((effect["kind"], effect["job"] or "nobody") for effect in found)


def _mails(harness: Harness) -> Counter[str]:
    """How many mails name each of ours, be it alone or one of a request's."""
    sent = harness.sandbox.effects(vendor="sendgrid", kind="mail")
    return Counter(effect["custom_args"].get("ferryman_email", "nobody") for effect in sent)


def _mails_lost(harness: Harness, mails: Counter[str]) -> list[str]:
    query = "SELECT id::text, status FROM ferryman.emails"
    return [
        f"mail {row['id']}: {row['status']}"
        for row in harness.rows(query)
        if row["status"] in ("waiting", "sending")
        or (row["status"] == "sent" and not mails[row["id"]])
    ]


def _mails_of_none(harness: Harness, mails: Counter[str]) -> list[str]:
    """A mail at the vendor is one that was sent, or that may have been, and its request left."""
    query = """
    SELECT m.id::text, m.status,
           EXISTS (SELECT FROM ferryman.sends s WHERE s.job_id = m.job_id) AS marked
      FROM ferryman.emails m WHERE m.id::text = ANY(%s)
    """
    known = {row["id"]: row for row in harness.rows(query, (list(mails),))}
    return [f"a mail {mail}, which is gone" for mail in mails if mail not in known] + [
        f"a mail {mail}: {row['status']}, marked: {row['marked']}"
        for mail, row in known.items()
        if not row["marked"] or row["status"] not in ("sent", "unknown")
    ]


def _is_lost(row: dict[str, Any] | None, effects: Effects) -> bool:
    if row is None or row["status"] not in ENDED:
        return True
    expected = _effect_of(row)
    return row["status"] == "succeeded" and expected is not None and effects[expected] == 0


def _effect_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """What a job does at its vendor. One about a held charge is known there by the charge's."""
    args = row["args"]
    match row["kind"]:
        case "charge":
            return ("charge" if args.get("capture", True) else "authorization", str(row["id"]))
        case "refund":
            return ("refund", str(row["id"]))
        case "send_sms":
            return ("message", str(row["id"]))
        case "capture_charge":
            return ("charge", args["charge"])
        case "cancel_charge":
            return ("cancellation", args["charge"])
    return None


def _customers_twice(harness: Harness) -> list[str]:
    """A customer is created for whoever comes first, once for all jobs of that user."""
    created = harness.sandbox.effects(vendor="stripe", kind="customer")
    keys = Counter(effect["key"] for effect in created)
    return [f"customer {key}" for key, count in keys.items() if count > 1]


def _open_attempts(harness: Harness, jobs: Sequence[UUID]) -> list[str]:
    query = """
    SELECT job_id, number FROM ferryman.attempts
     WHERE job_id = ANY(%s) AND (finished_at IS NULL OR outcome IS NULL)
    """
    found = harness.rows(query, (list(jobs),))
    return [f"attempt {row['number']} of {row['job_id']} has no end" for row in found]


def _missing_attempts(harness: Harness, jobs: Sequence[UUID]) -> list[str]:
    """Each run that counts has a row; and no run ended a job twice."""
    query = """
    SELECT j.id FROM ferryman.jobs j LEFT JOIN ferryman.attempts a ON a.job_id = j.id
     WHERE j.id = ANY(%s) GROUP BY j.id, j.attempts
    HAVING count(a.number) < j.attempts
        OR count(*) FILTER (WHERE a.outcome = 'succeeded') > 1
    """
    found = harness.rows(query, (list(jobs),))
    return [f"job {row['id']}: its attempts do not add up" for row in found]


def _effects_of_none(harness: Harness, effects: Effects) -> list[str]:
    """An effect has a mark that it may have left, and no job that ended without one."""
    query = """
    SELECT j.id::text, j.status,
           EXISTS (SELECT FROM ferryman.sends s WHERE s.job_id = j.id) AS marked
      FROM ferryman.jobs j WHERE j.id::text = ANY(%s)
    """
    done = {job for kind, job in effects if kind != "cancellation"}
    known = {row["id"]: row for row in harness.rows(query, (list(done),))}
    strangers = [f"an effect of job {job}, which is gone" for job in done if job not in known]
    return strangers + [
        f"an effect of job {job}: {row['status']}, marked: {row['marked']}"
        for job, row in known.items()
        if not row["marked"] or row["status"] in ("failed", "cancelled")
    ]


def _money_of_nobody(harness: Harness) -> list[str]:
    """What a vendor holds for us is what the ledger says, once no payment is in doubt."""
    doubts = "SELECT FROM ferryman.jobs WHERE status = 'unknown' AND kind ~ 'charge|refund'"
    if harness.rows(doubts):
        return []
    query = """
    SELECT coalesce(sum(amount - refunded), 0)::bigint AS n FROM ferryman.charges
     WHERE vendor = %s AND status IN ('succeeded', 'partially_refunded', 'refunded', 'disputed')
    """
    ours = {vendor: harness.row(query, (vendor,))["n"] for vendor in PAYMENTS}
    theirs = {vendor: _balance(harness, vendor) for vendor in PAYMENTS}
    return [
        f"{vendor} holds {theirs[vendor]}, the ledger says {ours[vendor]}"
        for vendor in PAYMENTS
        if ours[vendor] != theirs[vendor]
    ]


def _balance(harness: Harness, vendor: str) -> int:
    """In cents: all of these tests pay in dollars."""
    found = harness.sandbox.dashboard(vendor, "balance")
    return int(found.get("usd", found.get("USD", 0)))
