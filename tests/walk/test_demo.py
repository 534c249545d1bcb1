"""The demo's own judgement: it says what is wrong, whatever that is, and nothing else."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import home
from sandbox.demo.checks import BULK_COUNTS, SUPPRESSED, mail_events, problems
from sandbox.demo.facts import Asked, Facts
from sandbox.demo.ledger import Event, Job, Mail
from sandbox.demo.orders import (
    BOUNCES,
    CHARGES,
    CODES,
    FILES,
    SUCCEEDED,
    UNKNOWN,
    Order,
    by_bank,
    by_paypal,
    charge,
    message,
    receipt,
)
from sandbox.demo.records import contacts, events
from sandbox.demo.vendors import Effect, Flower

NEWSLETTER, KILLED, TEXT = "newsletter", "job-1", "text"
Change = Callable[[Facts], Facts]


def job(id: str, order: Order, **other: Any) -> Job:
    status = order.outcome if order.outcome in (SUCCEEDED, UNKNOWN) else "failed"
    return Job(
        id=id,
        kind=order.kind,
        vendor="vendor",
        reason=None,
        key=order.key,
        code=order.outcome if status == "failed" else None,
        **{
            "status": status,
            "attempts": 1,
            "result": {"amount": order.args["amount"]} if "amount" in order.args else None,
            "runs": ["lease_lost", SUCCEEDED] if id == KILLED else [status],
        }
        | other,
    )


def consistent() -> Facts:
    """A demo in which everything went as it had to."""
    numbers = count(1)
    placed = [charge(number) for number in range(1, CHARGES + 1)]
    placed += [
        receipt(1),
        receipt(2, UNKNOWN),
        by_paypal(),
        by_bank(),
        Order("sync_objects", {}),
        Order("sync_objects", {}),
    ]
    told_of = [next(events()), *contacts()]
    asked = [Asked(order, "HTTP", f"job-{next(numbers)}") for order in placed]
    jobs = {one.id: job(one.id, one.order) for one in asked}
    for one, copied in zip(asked[-2:], (FILES, 0), strict=True):
        jobs[one.id] = job(one.id, one.order, result={"copied": copied})
    debit = asked[-3].id
    jobs[debit] = job(debit, asked[-3].order, runs=["pending", "pending"])
    jobs["own"] = job("own", Order("poll_events", {}))
    jobs[NEWSLETTER] = job(NEWSLETTER, Order("bulk_email", {}))
    jobs["part"] = job("part", Order("bulk_email_part", {}))
    for place, order in enumerate(told_of):
        asked.append(Asked(order, "Python", f"told-{place}"))
        jobs[asked[-1].id] = job(asked[-1].id, order)
    text = Asked(message(1), "HTTP", TEXT)
    asked.append(text)
    jobs[TEXT] = job(TEXT, text.order, runs=["throttled", UNKNOWN])
    mails = [Mail(f"mail-{next(numbers)}", "part", NEWSLETTER, *s) for s in _states()]
    mails += [
        Mail(one.id, one.id, None, "sent", "delivered") for one in asked if one.order == receipt(1)
    ]
    mails += [
        Mail(one.id, one.id, None, UNKNOWN, None) for one in asked if one.order.outcome == UNKNOWN
    ]
    facts = Facts(
        asked=asked,
        rolled_back="nobody",
        killed=KILLED,
        settled=[TEXT],
        newsletter=NEWSLETTER,
        debit=debit,
        jobs=jobs,
        mails=mails,
        effects=_effects(asked, mails),
        webhooks=[
            {"vendor": "stripe", "id": f"evt_{number % 2}", "delivered": True}
            for number in range(4)
        ],
        events=[Event(f"evt_{number}", "stripe", "charge.succeeded", True) for number in range(2)],
        suppressed=SUPPRESSED,
        folder={str(number): "digest" for number in range(FILES)},
        bucket={str(number): "digest" for number in range(FILES)},
        breaker={"stripe": [{"state": s} for s in ("open", "half-open", "closed")]},
        faults=[{"do": "throttle", "fired": 1}],
        flower=Flower(["celery@here"], dict.fromkeys(jobs.keys() - {"own"}, "SUCCESS")),
    )
    told = [Event(f"mail-{n}", "sendgrid", "told", True) for n in range(mail_events(facts))]
    return replace(facts, events=[*facts.events, *told])


def _states() -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = [
        (status, "delivered" if status == "sent" else None)
        for status, number in BULK_COUNTS.items()
        for _ in range(number)
    ]
    return [("sent", "bounced"), *found[1:]]


def _effects(asked: list[Asked], mails: list[Mail]) -> list[Effect]:
    charges = [one for one in asked if one.order.kind == "charge"]
    users = {one.order.args["customer"] for one in charges if one.order.vendor is None}
    made = [Effect("stripe", "customer", None) for _ in users]
    made += [
        Effect(one.order.vendor or "stripe", "charge", one.id, amount=one.order.args["amount"])
        for one in charges
        if one.order.outcome == SUCCEEDED
    ]
    made.append(Effect("twilio", "message", TEXT))
    made.append(Effect("mixpanel", "event", "told-0"))
    made += [
        Effect(one.order.vendor, "contact", None, to=one.order.args["email"])
        for one in asked
        if one.order.kind == "upsert_contact"
        and one.order.vendor
        and one.order.outcome == SUCCEEDED
    ]
    # The mail in doubt did go out.
    sent = [mail for mail in mails if mail.status in ("sent", UNKNOWN)]
    return made + [Effect("sendgrid", "mail", mail.job_id, mail.id) for mail in sent]


def test_what_is_consistent_is_called_so() -> None:
    assert problems(consistent()) == []


def with_job(id: str, **changed: Any) -> Change:
    return lambda facts: replace(facts, jobs={**facts.jobs, id: replace(facts.jobs[id], **changed)})


def with_effect(*more: Effect) -> Change:
    return lambda facts: replace(facts, effects=[*facts.effects, *more])


def without_effect(job_id: str) -> Change:
    return lambda facts: replace(facts, effects=[e for e in facts.effects if e.job != job_id])


def with_mail(status: str) -> Change:
    """One of the newsletter's mails is in another state than it was sent in."""
    return lambda facts: replace(
        facts, mails=[replace(facts.mails[0], status=status), *facts.mails[1:]]
    )


DECLINED = f"job-{min(CODES)}"
SECOND_SYNC = f"job-{CHARGES + 6}"
DEBIT = f"job-{CHARGES + 4}"
PLANTED: dict[str, tuple[Change, str]] = {
    "doubled charge": (
        with_effect(Effect("stripe", "charge", "job-2", amount=1100)),
        "charge order-02 is succeeded and has 2 effects",
    ),
    "lost charge": (without_effect("job-2"), "charge order-02 is succeeded and has 0 effects"),
    "charged though declined": (
        with_effect(Effect("stripe", "charge", DECLINED)),
        "is failed and has 1 effects",
    ),
    "stranger at the vendor": (
        with_effect(Effect("stripe", "charge", "stranger")),
        "names job stranger, which is not in the ledger",
    ),
    "other amount": (
        with_job("job-2", result={"amount": 1}),
        "charge order-02: 1 in the ledger, 1100",
    ),
    "still open": (with_job("job-3", status="waiting"), "order-03 has not ended: waiting"),
    "failed unexpectedly": (
        with_job("job-3", status="failed", code="poison"),
        "charge order-03 by HTTP had to end as succeeded: it is poison",
    ),
    "doubled customer": (
        with_effect(Effect("stripe", "customer", None)),
        "had to have one customer each at Stripe: there are 9",
    ),
    "mail twice": (
        lambda facts: with_effect(facts.effects[-1])(facts),
        "send_email receipt-02 is unknown and has 2 effects",
    ),
    "mail sent but failed": (with_mail("failed"), "is failed and was sent 1 times"),
    "mail lost": (
        lambda facts: replace(facts, effects=[e for e in facts.effects if e.mail != "mail-27"]),
        "mail mail-27 is sent and was sent 0 times",
    ),
    "mail of which nobody tells": (
        lambda facts: replace(
            facts, mails=[facts.mails[0], replace(facts.mails[1], delivery=None), *facts.mails[2:]]
        ),
        "1 bounced, the others are {None: 1, 'delivered': 2449}",
    ),
    "mail's event lost": (
        lambda facts: replace(facts, events=facts.events[:-1]),
        "SendGrid had to tell of 4904 events: there are 4903",
    ),
    "not suppressed": (
        lambda facts: replace(facts, suppressed={BOUNCES: "bounce"}),
        "the suppressed had to be",
    ),
    "message twice": (
        with_effect(Effect("twilio", "message", TEXT)),
        "send_sms message-01 is succeeded and has 2 effects",
    ),
    "event twice": (
        with_effect(Effect("mixpanel", "event", "told-0")),
        "is succeeded and has 2 effects",
    ),
    "contact lost": (
        lambda facts: replace(facts, effects=[e for e in facts.effects if e.vendor != "hubspot"]),
        "contact buyer-1@example.com is saved, and hubspot does not have it",
    ),
    "contact that was refused": (
        with_effect(Effect("salesforce", "contact", None, to="buyer-7@example.com")),
        "contact buyer-7@example.com was sent to salesforce once too often",
    ),
    "settled without a doubt": (
        with_job(TEXT, runs=[SUCCEEDED]),
        "had to be in doubt, and to be settled: succeeded after succeeded",
    ),
    "counts": (with_mail("invalid"), "the newsletter had to be"),
    "object differs": (
        lambda facts: replace(facts, bucket={**facts.bucket, "7": "other"}),
        "object 7 is not in the bucket as it is in the folder",
    ),
    "object too many": (
        lambda facts: replace(facts, bucket={**facts.bucket, "more": "digest"}),
        "object more is not in the bucket",
    ),
    "copied again": (with_job(SECOND_SYNC, result={"copied": 3}), "then none: they copied"),
    "no lease lost": (with_job(KILLED, runs=[SUCCEEDED]), "had to lose its worker"),
    "bank seen by a look": (
        with_job(DEBIT, runs=["pending", SUCCEEDED]),
        "bank-1 had to wait, and to be ended by a webhook: succeeded after pending, succeeded",
    ),
    "webhook lost": (
        lambda facts: replace(facts, webhooks=[{"id": "evt_0", "delivered": False}]),
        "webhook evt_0 did not arrive",
    ),
    "webhook not stored": (
        lambda facts: replace(facts, events=facts.events[:1]),
        "webhook evt_1 is not in the ledger",
    ),
    "event not read": (
        lambda facts: replace(
            facts, events=[*facts.events, Event("evt_2", "paypal", "REFUNDED", False)]
        ),
        "event evt_2 (REFUNDED) was not handled once",
    ),
    "paid twice by PayPal": (
        with_effect(Effect("paypal", "charge", f"job-{CHARGES + 3}", amount=4200)),
        "charge paypal-1 is succeeded and has 2 effects",
    ),
    "rolled back, but there": (
        lambda facts: replace(facts, rolled_back="job-1"),
        "though its transaction was rolled back",
    ),
    "job of nobody": (
        lambda facts: replace(facts, asked=facts.asked[1:]),
        "charge order-01 is in the ledger, and nobody asked for it",
    ),
    "job lost": (
        lambda facts: replace(facts, asked=[*facts.asked, Asked(charge(1), "SQL", "another")]),
        "job another is not in the ledger",
    ),
    "key of two jobs": (
        lambda facts: replace(facts, asked=[*facts.asked, Asked(charge(1), "SQL", "another")]),
        "key order-01 names several jobs: another, job-1",
    ),
    "breaker stayed closed": (
        lambda facts: replace(facts, breaker={"stripe": []}),
        "had to open, probe and close: no change",
    ),
    "fault that never came": (
        lambda facts: replace(facts, faults=[{"do": "throttle", "fired": 0}]),
        "a fault never happened",
    ),
    "Flower blind": (
        lambda facts: replace(facts, flower=Flower([], {})),
        "Flower lists no worker",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_inconsistent_is_named(planted: str) -> None:
    change, told = PLANTED[planted]
    assert [problem for problem in problems(change(consistent())) if told in problem]


def test_nothing_of_the_callers_shell_leaks_in(tmp_path: Path) -> None:
    shell = {
        "PATH": "/bin",
        "FERRYMAN_ENV": "production",
        "STRIPE_SECRET_KEY": "theirs",
        "HTTPS_PROXY": "http://proxy.example",
        "FERRYMAN_HOME": str(tmp_path),
    }
    kept = home.environment(shell, home.folder(shell))
    assert kept["FERRYMAN_HOME"] == str(tmp_path / "demo")
    assert kept["PATH"] == "/bin"
    assert not kept.keys() & {"FERRYMAN_ENV", "STRIPE_SECRET_KEY", "HTTPS_PROXY"}


def test_the_home_is_emptied_with_the_database_that_is_kept_elsewhere(tmp_path: Path) -> None:
    kept, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    (kept / "logs").mkdir(parents=True)
    (kept / "up.json").touch()
    elsewhere.mkdir()
    (kept / "postgres").symlink_to(elsewhere)
    home.empty(kept)
    assert [entry.name for entry in kept.iterdir()] == ["lock"]
    assert not elsewhere.exists()


def test_a_home_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "up.json").touch()
    with (tmp_path / "lock").open("w") as lock:
        lock.write("1")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(home.HomeInUse, match="Another demo runs"):
            home.empty(tmp_path)
    assert (tmp_path / "up.json").exists()
