"""How did it end? A table a kind, the proof at the vendors' side, the breaker's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from sandbox.demo.checks import EFFECTS, mail_events
from sandbox.demo.facts import Facts
from sandbox.demo.faults import told
from sandbox.demo.ledger import Job
from sandbox.demo.orders import KINDS, OWN, SUCCEEDED, UNKNOWN

Row = tuple[str, ...]

# A column of numbers ends with a mark.
BY_KIND = (
    *("kind / why failed", "jobs#", "succeeded#", "failed#", "unknown#"),
    *("attempts#", "retries#", "throttled#"),
)
PROOF = ("what took effect", "by the ledger#", "at the vendor#", "doubled#", "counted by")
FAULTS = ("what the vendors did", "times#")
BREAKERS = ("breaker", "at (UTC)", "became")
WHAT = {
    "charge": "charges",
    "refund": "refunds",
    "send_email": "mails of send_email",
    "send_sms": "messages of send_sms",
    "track_event": "events of track_event",
}
# Their webhooks tell of several events each; how many HubSpot's do depends on what has changed.
SEVERAL = ("sendgrid", "hubspot")
# How an attempt ended that was not the job's last.
RETRIED = ("retry", "lease_lost", "handed_back")


def report(console: Console, facts: Facts) -> None:
    """All tables."""
    _print(console, BY_KIND, _kinds(facts))
    _print(console, PROOF, _proof(facts))
    _print(console, FAULTS, _faults(facts))
    _print(console, BREAKERS, _breakers(facts))


def notes(facts: Facts) -> Iterator[str]:
    """What the tables cannot say."""
    if killed := facts.jobs.get(facts.killed):
        runs = ", ".join(f"{place} {run}" for place, run in enumerate(killed.runs, 1))
        yield f"{killed.key}, whose worker was killed, by its attempts: {runs}."
    if debit := facts.jobs.get(facts.debit):
        yield (
            f"{debit.key} waited for a bank ({', '.join(debit.runs)}); a signed webhook told of its"
            f" decision, and the job is {debit.status}."
        )
    for settled in filter(None, map(facts.jobs.get, facts.settled)):
        yield (
            f"{settled.key} was `unknown`, since {settled.vendor}'s answer was lost; its webhook"
            f" told what came of it, and the job is {settled.status}."
        )
    for address, reason in facts.suppressed.items():
        yield f"{address} is suppressed ({reason}): what was to be sent there next was refused."
    for job in facts.jobs.values():
        if job.status == UNKNOWN:
            yield (
                f"{job.key or job.id} is `unknown`: the connection was cut, {job.vendor} knows no"
                " idempotency key, and no webhook tells. It is not sent again on a hunch."
            )
    workers = ", ".join(facts.flower.workers)
    yield f"Flower lists {workers} and {len(facts.flower.tasks)} tasks by the jobs' ids."


def _kinds(facts: Facts) -> Iterator[Row]:
    for kind in (*KINDS, *OWN):
        jobs = [job for job in facts.jobs.values() if job.kind == kind]
        yield _kind(kind, jobs)
        codes = Counter(str(job.code) for job in jobs if job.status == "failed")
        for code, number in codes.items():
            yield f"  {code}", "", "", str(number)


def _kind(kind: str, jobs: Sequence[Job]) -> Row:
    status = Counter(job.status for job in jobs)
    runs = Counter(run for job in jobs for run in job.runs)
    numbers = (
        len(jobs),
        *(status[name] for name in (SUCCEEDED, "failed", UNKNOWN)),
        sum(job.attempts for job in jobs),
        sum(runs[name] for name in RETRIED),
        runs["throttled"],
    )
    return kind, *map(str, numbers)


def _proof(facts: Facts) -> Iterator[Row]:
    for kind, effect in EFFECTS.items():
        jobs = {job.id: job.status for job in facts.jobs.values() if job.kind == kind}
        seen = Counter(str(e.job) for e in facts.effects if e.kind == effect and e.job in jobs)
        yield _counted(WHAT[kind], jobs.values(), SUCCEEDED, seen, "job id in each")
    mails = {mail.id: mail.status for mail in facts.mails if mail.batch_id}
    seen = Counter(str(e.mail) for e in facts.effects if e.mail in mails)
    yield _counted("mails of bulk_email", mails.values(), "sent", seen, "mail id in each")
    told = Counter(event.id for event in facts.events)
    twice = str(sum(number > 1 for number in told.values()))
    single = {one["id"] for one in facts.webhooks if one["vendor"] not in SEVERAL}
    sent = str(len(single) + mail_events(facts))
    ours = str(sum(event.vendor != "hubspot" for event in facts.events))
    yield "events by webhook", ours, sent, twice, "event id in each"
    same = sum(facts.folder.get(key) == digest for key, digest in facts.bucket.items())
    number = str(len(facts.folder))
    yield "objects in S3", number, str(len(facts.bucket)), "", f"{same} equal by bytes"


def _counted(what: str, ends: Iterable[str], done: str, seen: Counter[str], where: str) -> Row:
    """`ends`: how each ended; `seen`: how often each took effect."""
    count = Counter(ends)
    ledger = f"{count[done]}" + (f" + {count[UNKNOWN]} unknown" if count[UNKNOWN] else "")
    twice = sum(number > 1 for number in seen.values())
    return what, ledger, str(seen.total()), str(twice), where


def _faults(facts: Facts) -> Iterator[Row]:
    fired: Counter[str] = Counter()
    for rule in facts.faults:
        fired[told(rule)] += rule["fired"]
    for words, times in fired.items():
        yield words, str(times)


def _breakers(facts: Facts) -> Iterator[Row]:
    for vendor, changes in facts.breaker.items():
        for change in changes:
            yield vendor, change["at"].partition("T")[2].partition(".")[0], change["state"]


def _print(console: Console, columns: Row, rows: Iterable[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for column in columns:
        name = column.removesuffix("#")
        table.add_column(name, justify="right" if name != column else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
