"""What became of a test's jobs, counted at both ends: in the ledger and at the vendors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.harness import ENDED, Harness

# What each kind does at its vendor, as the sandbox's effect log calls it.
EFFECTS = {"charge": "charge", "refund": "refund", "send_email": "mail"}


@dataclass(frozen=True)
class Account:
    """`lost`: jobs that are gone, that never ended, or that succeeded without an effect.
    `twice`: jobs (and customers) with more than one. `unexplained`: attempts without an end, and
    effects that the ledger cannot tell the origin of."""

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
    effects = _effects(harness)
    return Account(
        jobs=len(jobs),
        lost=[
            f"job {job}: {rows.get(job) or 'gone'}"
            for job in jobs
            if _is_lost(rows.get(job), effects[str(job)])
        ],
        twice=[f"job {job}" for job in rows if effects[str(job)] > 1] + _customers_twice(harness),
        unexplained=[
            *_open_attempts(harness, jobs),
            *_missing_attempts(harness, jobs),
            *_effects_of_none(harness, effects),
        ],
        statuses=Counter(row["status"] for row in rows.values()),
    )


def _jobs(harness: Harness, jobs: Sequence[UUID]) -> list[dict[str, Any]]:
    query = "SELECT id, kind, status, reason, error FROM ferryman.jobs WHERE id = ANY(%s)"
    return harness.rows(query, (list(jobs),))


def _effects(harness: Harness) -> Counter[str]:
    """How many effects name each job."""
    return Counter(
        (effect.get("custom_args") or effect.get("metadata") or {}).get("job", "nobody")
        for effect in harness.sandbox.effects()
        if effect["kind"] in EFFECTS.values()
    )


def _is_lost(row: dict[str, Any] | None, effects: int) -> bool:
    if row is None or row["status"] not in ENDED:
        return True
    return row["status"] == "succeeded" and row["kind"] in EFFECTS and effects == 0


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


def _effects_of_none(harness: Harness, effects: Counter[str]) -> list[str]:
    """An effect has a mark that it may have left, and no job that ended without one."""
    query = """
    SELECT j.id::text, j.status,
           EXISTS (SELECT FROM ferryman.sends s WHERE s.job_id = j.id) AS marked
      FROM ferryman.jobs j WHERE j.id::text = ANY(%s)
    """
    known = {row["id"]: row for row in harness.rows(query, (list(effects),))}
    strangers = [f"an effect of job {job}, which is gone" for job in effects if job not in known]
    return strangers + [
        f"an effect of job {job}: {row['status']}, marked: {row['marked']}"
        for job, row in known.items()
        if not row["marked"] or row["status"] in ("failed", "cancelled")
    ]
