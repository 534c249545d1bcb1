"""Both sides of the money: the ledger at one moment, what the sandbox's log says has happened, and
what people, payers and banks can do at each vendor's. And a bank that many tests share."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from ferryman.policies import policies
from ferryman.testing import Sandbox
from models import vendors
from tests.money.bank import Bank, Purse, banking, environment
from worker.breakers import Breakers

Row = dict[str, Any]

TAKEN = ("succeeded", "partially_refunded", "refunded", "disputed")
OPEN = ("waiting", "running", "unknown")

# One look, so that all of it is of the same moment.
LOOK = """
SELECT (SELECT coalesce(jsonb_agg(to_jsonb(j) ORDER BY j.id), '[]') FROM (
          SELECT id, kind, args, status, reason, error, look_at FROM ferryman.jobs
           WHERE kind NOT IN ('refresh_charge', 'poll_events')) AS j) AS jobs,
       (SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.id), '[]') FROM ferryman.charges c)
         AS charges,
       (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.id), '[]') FROM ferryman.refunds f)
         AS refunds
"""


@dataclass(frozen=True)
class Books:
    """The ledger at one moment. Ids are strings."""

    jobs: dict[str, Row]
    charges: dict[str, Row]
    refunds: list[Row]

    def open(self) -> list[str]:
        """Jobs that are still at work."""
        return [job for job, row in self.jobs.items() if row["status"] in OPEN]

    def due(self) -> list[str]:
        """Jobs that a worker would run, sooner or later."""
        return [job for job in self.open() if _is_due(self.jobs[job])]

    def undecided(self) -> set[str]:
        """Charges about which a job is still at work."""
        return {self.jobs[job]["args"].get("charge", job) for job in self.open()}

    def refund(self, reference: str, job: str | None) -> Row | None:
        """By the vendor's reference; of one whose reference only a person knows, by its job."""
        for row in self.refunds:
            unknown = row["vendor_reference"] is None and row["id"] == job
            if row["vendor_reference"] == reference or unknown:
                return row
        return None

    def in_state(self, *states: str) -> list[Row]:
        """Charges."""
        return [row for row in self.charges.values() if row["status"] in states]

    def pending(self) -> list[Row]:
        """Refunds about which a bank has not decided. Vendors differ in whether they count."""
        return [row for row in self.refunds if row["status"] == "pending"]

    def balance(self) -> int:
        return sum(row["amount"] - row["refunded"] for row in self.in_state(*TAKEN))

    def check(self) -> None:
        """Its sums are right, and we have given back, or set aside, no more than was taken."""
        for charge, row in self.charges.items():
            refunds = [one for one in self.refunds if one["charge_id"] == charge]
            assert row["refunded"] == total(refunds, "succeeded"), row
            assert row["reserved"] == total(refunds, "reserved", "pending"), row
            # Those that had been given up are no doing of ours.
            ours = [one for one in refunds if self._is_kept(one["id"])]
            assert total(ours, "succeeded", "reserved", "pending") <= row["amount"], row
            if row["status"] in TAKEN:
                assert row["status"] == _stands(row), row

    def _is_kept(self, job: str) -> bool:
        return job in self.jobs and self.jobs[job]["status"] not in ("failed", "cancelled")


def _is_due(row: Row) -> bool:
    return row["status"] == "waiting" or row["look_at"] is not None


def total(refunds: Sequence[Row], *statuses: str) -> int:
    return sum(one["amount"] for one in refunds if one["status"] in statuses)


def _stands(row: Row) -> str:
    """What a charge that was taken has come to."""
    if row["disputed"]:
        return "disputed"
    if row["refunded"] >= row["amount"]:
        return "refunded"
    return "partially_refunded" if row["refunded"] else "succeeded"


async def look(bank: Bank) -> Books:
    (row,) = await bank.driver.rows(LOOK)
    jobs, charges = ({one["id"]: one for one in row[name]} for name in ("jobs", "charges"))
    return Books(jobs, charges, row["refunds"])


class Truth:
    """What the sandbox's log says has happened to our charges, by the ids of their jobs."""

    def __init__(self, effects: Sequence[Row]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.taken: Counter[str] = Counter()
        self.refunds: dict[str, Row] = {}
        """By their vendor's reference: of which `charge`, by which `job`, how much."""
        self.payments: list[Row] = []
        """As rows of the ledger, which may not have them yet."""
        payments: dict[str, str] = {}
        for effect in effects:
            kind, job = effect["kind"], effect["job"]
            if job:  # a person's refund names none
                self.counts[kind, job] += 1
            if kind == "charge":
                reference, amount = effect["reference"], effect["amount"]
                payments[reference] = job
                self.taken[job] += amount
                self.payments.append({"id": job, "vendor_reference": reference, "amount": amount})
            elif kind == "refund":
                paid = payments[effect.get("payment_intent") or effect["capture"]]
                found = {"charge": paid, "job": job, "amount": effect["amount"]}
                self.refunds[effect["reference"]] = found
            elif kind == "refund_failure":
                del self.refunds[effect["reference"]]

    def balance(self) -> int:
        return self.taken.total() - sum(one["amount"] for one in self.refunds.values())

    def twice(self) -> list[tuple[str, str]]:
        """What was done more than once for one job."""
        return [key for key, n in self.counts.items() if n > 1]


def effect_of(job: Row) -> tuple[str, str]:
    """What a job does at its vendor, as `Truth.counts` has it."""
    args = job["args"]
    match job["kind"]:
        case "capture_charge":
            return "charge", args["charge"]
        case "cancel_charge":
            return "cancellation", args["charge"]
        case "charge" if not args.get("capture", True):
            return "authorization", job["id"]
    return job["kind"], job["id"]


def explain(
    books: Books, truth: Truth, behind: Container[str], disputed: Container[str] = ()
) -> None:
    """What only one side says is what a job is still at work on, or, of the charges in `behind`,
    what the vendor has not told yet. `disputed`: the charges that are."""
    undecided = books.undecided()
    for charge, row in books.charges.items():
        sure = charge not in behind and charge not in undecided
        if row["status"] in TAKEN:
            assert truth.taken[charge] == row["amount"], row
        assert not sure or row["status"] in TAKEN or charge not in truth.taken, row
        assert not sure or row["disputed"] == (charge in disputed), row
    assert truth.taken.keys() - books.charges.keys() <= undecided
    _explain_refunds(books, truth, behind)
    if not (behind or undecided or books.pending()):
        assert truth.balance() == books.balance()


def _explain_refunds(books: Books, truth: Truth, behind: Container[str]) -> None:
    found: set[str] = set()
    for reference, told in truth.refunds.items():
        row = books.refund(reference, told["job"])
        if told["charge"] not in behind and not _at_work(books, told["job"]):
            assert row is not None, told
            assert row["status"] in ("succeeded", "pending"), row
            assert row["amount"] == told["amount"], row
        found |= {row["id"]} if row else set()
    for row in books.refunds:
        if row["status"] == "succeeded" and row["charge_id"] not in behind:
            assert row["id"] in found, row
        if row["status"] == "reserved":
            assert _at_work(books, row["id"]), row


def _at_work(books: Books, job: str | None) -> bool:
    return job in books.jobs and books.jobs[job]["status"] in OPEN


# --- one ledger for many tests: to make one takes longer than most of them

TABLES = "jobs job_keys attempts sends interactions interventions customers charges refunds events"


@asynccontextmanager
async def shared(purse: Purse, url: str, sandbox: Sandbox, **policy: float) -> AsyncIterator[Bank]:
    """A bank whose vendor's policy is another; `wipe` it between two tests."""
    with pytest.MonkeyPatch.context() as patch:
        environment(sandbox, patch)
        changed = policies()[purse.vendor].model_copy(update=policy)
        patch.setitem(policies(), purse.vendor, changed)
        async with banking(purse, url, sandbox) as bank:
            yield bank


async def wipe(bank: Bank) -> None:
    """Nothing has happened yet, neither here nor at the vendors."""
    bank.sandbox.reset()
    for table in TABLES.split():
        await bank.driver.rows(f"DELETE FROM ferryman.{table}")
    await calm(bank)


async def calm(bank: Bank) -> None:
    """A vendor that had refused or failed is asked again at once."""
    driver = bank.driver
    async with driver.ledger.transaction() as connection:
        state = (await vendors.states(connection))[bank.vendor]
    if state.failures or state.cool_for:
        await driver.rows("UPDATE ferryman.vendor_states SET cooldown_until = NULL, failures = 0")
        driver.runtime.breakers = Breakers(driver.ledger, policies())


# --- what reaches a vendor after all


async def arrives_late(bank: Bank, job: UUID, step: str) -> bool:
    """The request of a step that was lost on its way reaches the vendor after all, as it was sent.
    False: none was, or the vendor refuses it by now."""
    sent = await bank.driver.rows(
        "SELECT request, vendor_key FROM ferryman.sends WHERE job_id = :id AND step = :step"
        " AND request <> '{}' ORDER BY attempt LIMIT 1",
        id=job,
        step=step,
    )
    keys = {row["vendor_key"] for row in sent}
    seen = [one for one in bank.sandbox.requests(bank.vendor) if one["key"] in keys]
    if not seen:
        return False
    request = sent[0]["request"]
    bank.sandbox.script([])
    answer = await asyncio.to_thread(
        httpx.request,
        "POST",
        bank.sandbox.base_url(bank.vendor) + seen[0]["path"],
        content=request["body"],
        headers={**request["headers"], **_authorization(bank)},
    )
    return answer.status_code in (200, 201)


def _authorization(bank: Bank) -> dict[str, str]:
    if bank.vendor == "stripe":
        return {"Authorization": f"Bearer {os.environ['STRIPE_SECRET_KEY']}"}
    told = httpx.post(
        f"{bank.sandbox.base_url('paypal')}/v1/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(os.environ["PAYPAL_CLIENT_ID"], os.environ["PAYPAL_CLIENT_SECRET"]),
    )
    return {"Authorization": f"Bearer {told.json()['access_token']}"}


# --- what may be done in each vendor's own pages; ValueError where it would not let anybody


def _page(vendor: str, action: str, **more: Any) -> Callable[..., Any]:
    def act(bank: Bank, charge: Row, **_: Any) -> None:
        bank.sandbox.dashboard(vendor, action, **bank.payment(charge), **more)

    return act


def _give_back(bank: Bank, charge: Row, *, share: float) -> None:
    bank.give_back(charge, int(charge["amount"] * share))


def _settle_at_stripe(bank: Bank, _: Row, *, refund: Row, fails: bool) -> None:
    action = "fail_refund" if fails else "succeed_refund"
    bank.sandbox.dashboard("stripe", action, refund=refund["vendor_reference"])


def _settle_at_paypal(bank: Bank, _: Row, *, refund: Row, fails: bool) -> None:
    bank.sandbox.dashboard("paypal", "settle", id=refund["vendor_reference"], succeeds=not fails)


def _slow_at_stripe(bank: Bank, _: Row, **__: Any) -> None:
    names = {"payment_method": bank.purse.pays, "behaves_as": "pm_card_pendingRefund"}
    bank.sandbox.dashboard("stripe", "card", **names)


def _slow_at_paypal(bank: Bank, _: Row, **__: Any) -> None:
    bank.sandbox.dashboard("paypal", "settings", pending_refunds=True)


def _deny_at_paypal(bank: Bank, charge: Row) -> None:
    bank.sandbox.dashboard("paypal", "deny", order=charge["vendor_session"])


ACTIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "stripe": {
        "approve": Bank.approve,
        "deny": _page("stripe", "authenticate", succeeds=False),
        "refund": _give_back,
        "dispute": _page("stripe", "dispute"),
        "end_dispute": _page("stripe", "close_dispute", outcome="won"),
        "lapse": _page("stripe", "expire"),
        "settle": _settle_at_stripe,
        "slow_refunds": _slow_at_stripe,
    },
    "paypal": {
        "approve": Bank.approve,
        "deny": _deny_at_paypal,
        "refund": _give_back,
        "dispute": _page("paypal", "dispute"),
        "end_dispute": _page("paypal", "resolve", favour="SELLER"),
        "settle": _settle_at_paypal,
        "slow_refunds": _slow_at_paypal,
    },
}
