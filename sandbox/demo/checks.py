"""Is it consistent? What was asked for, what the ledger says and what the vendors did, compared.

Each check yields what is wrong, in words; nothing at all is the proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from sandbox.demo.facts import Facts
from sandbox.demo.ledger import Job
from sandbox.demo.orders import (
    BOUNCES,
    DUPLICATE,
    FILES,
    INVALID,
    NO_NUMBER,
    OWN,
    PARTS,
    RECIPIENTS,
    RIDING,
    SUCCEEDED,
    UNKNOWN,
)
from sandbox.demo.records import contacts_are_those_saved

# The kind of effect that a kind of job has at its vendor. A mail's effect names its mail as well.
EFFECTS = {"charge": "charge", "refund": "refund", "send_email": "mail", "send_sms": "message"}
EFFECTS |= {"track_event": "event"}
# No send may have been doubled, whatever became of the job; a failed one must not have happened.
ALLOWED = {SUCCEEDED: (1, 1), "failed": (0, 0), UNKNOWN: (0, 1), "cancelled": (0, 0)}
BULK_COUNTS = {
    "sent": RECIPIENTS - INVALID - DUPLICATE,
    "invalid": INVALID,
    "duplicate": DUPLICATE,
}
# Of a mail that is processed and then arrives, or comes back.
EVENTS_A_MAIL = 2
SUPPRESSED = {BOUNCES: "bounce", NO_NUMBER: "invalid"}


def problems(facts: Facts) -> list[str]:
    """Everything that is not as it has to be."""
    return [problem for check in CHECKS for problem in check(facts)]


def _all_ended(facts: Facts) -> Iterator[str]:
    for job in facts.jobs.values():
        if job.status in ("waiting", "running"):
            yield f"{_name(job)} has not ended: {job.status}, {job.reason}"


def _jobs_are_those_asked_for(facts: Facts) -> Iterator[str]:
    asked = {one.id for one in facts.asked} | {facts.newsletter}
    for missing in asked - facts.jobs.keys():
        yield f"job {missing} is not in the ledger"
    for job in facts.jobs.values():
        if job.id not in asked and job.kind not in (*PARTS, *OWN):
            yield f"{_name(job)} is in the ledger, and nobody asked for it"
    if facts.rolled_back in facts.jobs:
        yield f"job {facts.rolled_back} is in the ledger, though its transaction was rolled back"


def _one_key_is_one_job(facts: Facts) -> Iterator[str]:
    by_key: dict[str, set[str]] = {}
    for one in facts.asked:
        if one.order.key and one.door != "Celery":
            by_key.setdefault(one.order.key, set()).add(one.id)
    for key, ids in by_key.items():
        if len(ids) > 1:
            yield f"key {key} names several jobs: {', '.join(sorted(ids))}"


def _outcomes_are_as_planned(facts: Facts) -> Iterator[str]:
    for one in facts.asked:
        if (job := facts.jobs.get(one.id)) is None:
            continue
        found = job.code if job.status == "failed" else job.status
        if found != one.order.outcome:
            planned = f"{_name(job)} by {one.door} had to end as {one.order.outcome}"
            yield f"{planned}: it is {found}" + (f" ({job.reason})" if job.reason else "")


def _effects_are_those_of_succeeded_jobs(facts: Facts) -> Iterator[str]:
    """By the job's id, which every effect carries: in a payment's metadata, a mail's arguments."""
    seen = Counter((effect.kind, effect.job) for effect in facts.effects if effect.job)
    for job in facts.jobs.values():
        if job.kind in EFFECTS:
            least, most = ALLOWED.get(job.status, (0, 1))
            count = seen[EFFECTS[job.kind], job.id]
            if not least <= count <= most:
                yield f"{_name(job)} is {job.status} and has {count} effects at {job.vendor}"
    for kind, job_id in seen:
        if job_id not in facts.jobs:
            yield f"{kind} at a vendor names job {job_id}, which is not in the ledger"


def _amounts_agree(facts: Facts) -> Iterator[str]:
    for effect in facts.effects:
        job = facts.jobs.get(effect.job or "")
        if job and job.result and "amount" in job.result and job.result["amount"] != effect.amount:
            what = f"{job.result['amount']} in the ledger, {effect.amount} at {job.vendor}"
            yield f"{_name(job)}: {what}"


def _one_customer_a_user(facts: Facts) -> Iterator[str]:
    charges = [one.order for one in facts.asked if one.order.kind == "charge"]
    users = {order.args["customer"] for order in charges if order.vendor is None}
    made = sum(effect.kind == "customer" for effect in facts.effects)
    if made != len(users):
        yield f"{len(users)} users had to have one customer each at Stripe: there are {made}"


def _mails_are_those_sent(facts: Facts) -> Iterator[str]:
    """Each recipient has a row; its id comes back with the mail."""
    seen = Counter(effect.mail for effect in facts.effects if effect.kind == "mail")
    for mail in facts.mails:
        count = seen.pop(mail.id, 0)
        least, most = {"sent": (1, 1), UNKNOWN: (0, 1)}.get(mail.status, (0, 0))
        if not least <= count <= most:
            yield f"mail {mail.id} is {mail.status} and was sent {count} times"
    for stranger, count in seen.items():
        yield f"{count} mails at SendGrid name mail {stranger}, which is not in the ledger"


def _bulk_counts_sum_up(facts: Facts) -> Iterator[str]:
    counts = Counter(m.status for m in facts.mails if m.batch_id == facts.newsletter)
    if counts != BULK_COUNTS:
        yield f"the newsletter had to be {BULK_COUNTS}: it is {dict(counts)}"


def _what_became_of_mails_is_known(facts: Facts) -> Iterator[str]:
    """Of each that was sent: by events, which come many in a delivery."""
    told = Counter(mail.delivery for mail in facts.mails if mail.status == "sent")
    bounced = told.pop("bounced", 0)
    if bounced != 1 or told.keys() != {"delivered"}:
        yield f"all mails but one had to arrive: {bounced} bounced, the others are {dict(told)}"
    arrived = sum(event.vendor == "sendgrid" for event in facts.events)
    if arrived != (sent := mail_events(facts)):
        yield f"SendGrid had to tell of {sent} events: there are {arrived}"


def mail_events(facts: Facts) -> int:
    """How many events SendGrid has to tell of."""
    return EVENTS_A_MAIL * sum(effect.kind == "mail" for effect in facts.effects)


def _who_bounced_is_suppressed(facts: Facts) -> Iterator[str]:
    if facts.suppressed != SUPPRESSED:
        yield f"the suppressed had to be {SUPPRESSED}: they are {dict(facts.suppressed)}"


def _bucket_equals_folder(facts: Facts) -> Iterator[str]:
    if len(facts.folder) != FILES:
        yield f"the folder had to hold {FILES} files: it holds {len(facts.folder)}"
    for key in sorted(facts.folder.keys() | facts.bucket.keys()):
        if facts.folder.get(key) != facts.bucket.get(key):
            yield f"object {key} is not in the bucket as it is in the folder"


def _second_sync_copies_nothing(facts: Facts) -> Iterator[str]:
    syncs = [facts.jobs[one.id] for one in facts.asked if one.order.kind == "sync_objects"]
    copied = [(job.result or {}).get("copied") for job in syncs if job]
    if copied != [FILES, 0]:
        yield f"two syncs had to copy {FILES} objects, then none: they copied {copied}"


def _killed_worker_left_one_effect(facts: Facts) -> Iterator[str]:
    job = facts.jobs.get(facts.killed)
    if job and (job.runs[:1] != ["lease_lost"] or job.runs[-1:] != [SUCCEEDED]):
        runs = ", ".join(job.runs)
        yield f"{_name(job)} had to lose its worker and succeed in a later attempt: {runs}"


def _bank_s_decision_came_by_webhook(facts: Facts) -> Iterator[str]:
    job = facts.jobs.get(facts.debit)
    if job and (set(job.runs) != {"pending"} or job.status != SUCCEEDED):
        runs = ", ".join(job.runs)
        yield f"{_name(job)} had to wait, and to be ended by a webhook: {job.status} after {runs}"


def _doubts_were_settled_by_webhooks(facts: Facts) -> Iterator[str]:
    for job in filter(None, map(facts.jobs.get, facts.settled)):
        if job.runs[-1:] != [UNKNOWN] or job.status != SUCCEEDED:
            runs = ", ".join(job.runs)
            yield f"{_name(job)} had to be in doubt, and to be settled: {job.status} after {runs}"


def _webhooks_are_events_once(facts: Facts) -> Iterator[str]:
    for one in facts.webhooks:
        if not one["delivered"]:
            yield f"webhook {one['id']} did not arrive"
    known = Counter(event.id for event in facts.events)
    for missing in {one["id"] for one in facts.webhooks} - known.keys():
        yield f"webhook {missing} is not in the ledger"
    for event in facts.events:
        if known[event.id] > 1 or not event.handled:
            yield f"event {event.id} ({event.type}) was not handled once"


def _breaker_opened_and_closed(facts: Facts) -> Iterator[str]:
    states = [change["state"] for change in facts.breaker["stripe"]]
    if states[:2] != ["open", "half-open"] or states[-1:] != ["closed"]:
        yield f"Stripe's breaker had to open, probe and close: {', '.join(states) or 'no change'}"


def _every_fault_happened(facts: Facts) -> Iterator[str]:
    for rule in facts.faults:
        if not rule["fired"]:
            yield f"a fault never happened, so nothing is proven of it: {dict(rule)}"


def _flower_lists_them(facts: Facts) -> Iterator[str]:
    if not facts.flower.workers:
        yield "Flower lists no worker"
    for job in facts.jobs.values():
        # Flower starts after the worker, and misses what ferryman asks of itself at the start.
        if job.kind not in (*OWN, *RIDING) and job.id not in facts.flower.tasks:
            yield f"Flower does not list {_name(job)}"


def _name(job: Job) -> str:
    return f"{job.kind} {job.key or job.id}"


CHECKS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    _all_ended,
    _jobs_are_those_asked_for,
    _one_key_is_one_job,
    _outcomes_are_as_planned,
    _effects_are_those_of_succeeded_jobs,
    _amounts_agree,
    _one_customer_a_user,
    _mails_are_those_sent,
    _bulk_counts_sum_up,
    _what_became_of_mails_is_known,
    _who_bounced_is_suppressed,
    contacts_are_those_saved,
    _bucket_equals_folder,
    _second_sync_copies_nothing,
    _killed_worker_left_one_effect,
    _bank_s_decision_came_by_webhook,
    _doubts_were_settled_by_webhooks,
    _webhooks_are_events_once,
    _breaker_opened_and_closed,
    _every_fault_happened,
    _flower_lists_them,
)
