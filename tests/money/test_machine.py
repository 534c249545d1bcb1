"""Whatever happens to payments, in whatever order: after every step the ledger and the vendor
agree, but for what is in doubt or was not told yet; and at rest they agree to the cent.

`CHAOS=1` (as `make chaos` sets it) tries more, from `CHAOS_SEED`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from adapters._base import Event
from ferryman.testing import Sandbox
from tasks import _inbox, _settle
from tests.money.bank import PURSES, Bank, Purse
from tests.money.books import (
    ACTIONS,
    OPEN,
    TAKEN,
    Books,
    Row,
    Truth,
    arrives_late,
    calm,
    effect_of,
    explain,
    look,
    shared,
    wipe,
)
from worker.verdict import LeaseLost

SOAK = os.environ.get("CHAOS") == "1"
# In `make test` a course that sees everything; others are for `make chaos`.
SEED = int(os.environ.get("CHAOS_SEED") or 1)
EXAMPLES, STEPS = (60, 60) if SOAK else (7, 30)
ROUNDS_TO_REST = 25

Found = TypeVar("Found")
Draw = Callable[..., Any]
RUNS = st.sampled_from([1, 2, 0])
REFUNDABLE = ("succeeded", "partially_refunded")
STOPPABLE = ("waiting", "unknown", "failed")

# The steps by which money moves: not those that make customers and orders.
WRITES = {"stripe": "/v1/[pr]*", "paypal": "/v2/*/*/*"}
FAULTS: list[Row] = [
    {"do": "drop_before"},
    {"do": "drop_after"},
    {"do": "error_before"},
    {"do": "error_after"},
    {"do": "garble"},
    {"do": "status", "status": 503},
    {"do": "throttle"},
]
OFTEN = {"approve": 3, "refund": 3, "settle": 3, "dispute": 2, "end_dispute": 2}
DUE = """
SELECT FROM ferryman.events WHERE due_at IS NOT NULL
 UNION ALL SELECT FROM ferryman.jobs WHERE kind = 'refresh_charge' AND status = 'waiting'
"""
NOT_NOW = "not to be had"
# What the runs of a vendor must have been through, together: who does nothing tests nothing.
SEEN = """
charge succeeded, charge failed, charge cancelled, refund succeeded, refund failed, attempt retry,
attempt pending
"""
SEEN_IN_MANY = """
charge partially_refunded, charge refunded, capture_charge succeeded, capture_charge failed,
cancel_charge succeeded, cancel_charge failed, attempt unknown, attempt absent, attempt throttled,
refund of a person, approve, settle, dispute, end_dispute, deny
"""


class Payments(RuleBasedStateMachine):
    """One application at one vendor."""

    bank: ClassVar[Bank]
    runner: ClassVar[asyncio.Runner]
    seen: ClassVar[Counter[str]]
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.books = Books({}, {}, [])
        self.effects: list[Row] = []
        self.truth = Truth([])
        self.behind: set[str] = set()
        """Charges about which the vendor has news that it has not told."""
        self.disputed: set[str] = set()
        self.heard: set[str] = set()
        self.sound = True
        type(self).examples += 1

    def do(self, work: Coroutine[Any, Any, Found]) -> Found:
        """Whatever fails leaves the machine unsound: then nothing is driven to rest."""
        self.sound = False
        found = self.runner.run(work)
        self.sound = True
        return found

    @initialize()
    def begin(self) -> None:
        self.do(wipe(self.bank))

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One rule for all: hypothesis switches whole rules off, and few runs would see little."""
        # The first is what hypothesis does all the time in the first run.
        possible = {
            self.events_come: 3,
            self.charge: 4,
            self.about_a_charge: 6 if self.books.jobs else 0,
            self.attempts: 5 if self.books.due() else 0,
            self.intervene: 3 if self.jobs(*STOPPABLE) else 0,
            self.arrives: 1 if self.given_up() else 0,
            self.at_the_vendor: 5 if self.doable() else 0,
            self.weeks_pass: 1,
        }
        moves = [move for move, weight in possible.items() for _ in range(weight)]
        numbers = {move.__name__: number for number, move in enumerate(moves)}
        name = data.draw(st.sampled_from([move.__name__ for move in moves]), label="move")
        moves[numbers[name]](data.draw)

    # --- what an application asks for

    def charge(self, draw: Draw) -> None:
        how = draw(
            st.sampled_from(["pays", "pays", "pays", "asks", "asks", "declines"]), label="how"
        )
        args = {
            "customer": f"user-{self.examples}-{draw(st.integers(1, 2), label='user')}",
            "amount": draw(st.sampled_from([500, 1000, 1234]), label="amount"),
            "currency": "usd",
            "payment_method": getattr(self.bank.purse, how),
            "capture": draw(st.booleans(), label="capture"),
        }
        self._maybe_wrong(draw)
        self.do(self._ask("charge", args, draw(RUNS, label="runs")))

    def about_a_charge(self, draw: Draw) -> None:
        """Most often one that bears it, if there is one. `share` of its amount; None: the rest."""
        kinds = ["refund", "refund", "capture_charge", "cancel_charge"]
        kind = draw(st.sampled_from(kinds), label="kind")
        fits = self.books.in_state(*(REFUNDABLE if kind == "refund" else ["authorized"]))
        charges = [row["id"] for row in fits]
        if not charges or draw(st.sampled_from([False, False, False, True]), label="any"):
            charges = [job for job, row in self.books.jobs.items() if row["kind"] == "charge"]
        charge = charges[draw(st.integers(0, len(charges) - 1), label="charge")]
        share = draw(st.sampled_from([0.3, None, 0.5, 0.6, 1.1]), label="share")
        args = {"charge": charge}
        if share and kind != "cancel_charge":
            args["amount"] = int(self.books.jobs[charge]["args"]["amount"] * share)
        self._maybe_wrong(draw)
        self.do(self._ask(kind, args, draw(RUNS, label="runs")))

    async def _ask(self, kind: str, args: Row, runs: int) -> None:
        job = str(await self.bank.enqueue(kind, args))
        for _ in range(runs):
            if job in (await look(self.bank)).due():
                await self._attempts([job])

    def attempts(self, draw: Draw) -> None:
        """Or look-ups, of jobs that are in doubt; of several at once, while events come in."""
        jobs = draw(st.permutations(self.books.due()), label="jobs")
        jobs = jobs[: draw(st.sampled_from([1, 1, 4]), label="most")]
        told = len(jobs) > 1 and draw(st.booleans(), label="told")

        async def work() -> None:
            await asyncio.gather(self._attempts(jobs), *([self._hear_all()] if told else []))

        self.do(work())

    def jobs(self, *statuses: str) -> list[str]:
        return [job for job, row in self.books.jobs.items() if row["status"] in statuses]

    def intervene(self, draw: Draw) -> None:
        """A person cancels a job, sends it again, or has found out what became of it."""
        job = draw(st.sampled_from(self.jobs(*STOPPABLE)), label="job")
        what = draw(st.sampled_from(["cancel", "retry", "resolve"]), label="what")
        self.do(self._intervene(job, what))

    async def _intervene(self, job: str, what: str) -> None:
        had_effect = self.truth.counts[effect_of(self.books.jobs[job])] > 0
        with suppress(_settle.NotAllowed):
            if what == "cancel":
                await self.bank.cancel(UUID(job))
                return
            async with self.bank.driver.ledger.transaction() as connection:
                if what == "retry":
                    await _settle.retry(connection, UUID(job), who="a test")
                    return
                outcome: Any = "succeeded" if had_effect else "failed"
                await _settle.resolve(connection, UUID(job), outcome, who="a test", note="seen")

    def arrives(self, draw: Draw) -> None:
        """A request that was lost, of a job that was given up, has its effect after all; and the
        vendor tells."""
        row = self.books.jobs[draw(st.sampled_from(self.given_up()), label="job")]
        if self.do(arrives_late(self.bank, UUID(row["id"]), row["kind"])):
            self.seen["late effect"] += 1
            self.behind.add(row["args"].get("charge", row["id"]))
            self.do(self._hear_all())

    def given_up(self) -> list[str]:
        """Jobs without an effect so far."""
        rows = [self.books.jobs[job] for job in self.jobs("failed", "cancelled")]
        rows = [row for row in rows if row["kind"] in ("charge", "refund")]
        return [row["id"] for row in rows if not self.truth.counts[effect_of(row)]]

    # --- what payers, banks and people do at the vendor's

    def at_the_vendor(self, draw: Draw) -> None:
        doable = self.doable()
        actions = [action for action in sorted(doable) for _ in range(OFTEN.get(action, 1))]
        action = draw(st.sampled_from(actions), label="action")
        row = doable[action][draw(st.integers(0, len(doable[action]) - 1), label="which")]
        named: Row = {}
        if action == "refund":
            named["share"] = draw(st.sampled_from([0.2, 0.5, 1.0]), label="share")
        if action == "settle":
            # Also a refund that had succeeded fails later, where the vendor knows that.
            named |= {"refund": row, "fails": draw(st.booleans(), label="fails")}
            row = self.books.charges[row["charge_id"]]
        if done := self.at_vendor(row, action, **named):
            self.disputed |= {row["id"]} if action == "dispute" else set()
            self.disputed -= {row["id"]} if action == "end_dispute" else set()
        self.seen[action] += done

    def doable(self) -> dict[str, list[Row]]:
        """The rows about which each action makes sense."""
        of = self.books.in_state
        taken, asks, held = self.truth.payments, of("requires_action"), of("authorized")
        refunds = [row for row in self.books.refunds if row["vendor_reference"]]
        rows = {
            **dict.fromkeys(("approve", "deny"), asks),
            **dict.fromkeys(("refund", "dispute", "end_dispute", "slow_refunds"), taken),
            "lapse": held,
            "settle": refunds,
        }
        known = ACTIONS[self.bank.vendor]
        return {action: found for action, found in rows.items() if found and action in known}

    def at_vendor(self, charge: Row, action: str, **named: Any) -> bool:
        """False: the vendor would not let anybody do that."""
        try:
            ACTIONS[self.bank.vendor][action](self.bank, charge, **named)
        except ValueError:
            return False
        self.behind.add(charge["id"])
        return True

    # --- what goes wrong on the way

    def _maybe_wrong(self, draw: Draw) -> None:
        """The next write that leaves, most often of the job that is asked for now."""
        if fault := draw(st.sampled_from([None] * len(FAULTS) + FAULTS), label="fault"):
            vendor = self.bank.vendor
            place = {"vendor": vendor, "method": "POST", "path": WRITES[vendor]}
            self.bank.sandbox.script([{**place, **fault, "times": 1}])

    def weeks_pass(self, draw: Draw) -> None:
        """For what is in doubt: no key means anything any more."""
        self.bank.sandbox.dashboard(self.bank.vendor, "forget_keys")
        self.do(self._sql("UPDATE ferryman.sends SET repeat_until = now() WHERE repeat = 'key'"))

    # --- what the vendor tells

    def events_come(self, draw: Draw) -> None:
        """Now, or reversed, or some of them, and the others later."""
        order = draw(st.sampled_from(["now", "reversed", "some"]), label="order")
        if order == "now":
            self.do(self._hear_all())
            return
        told = self.do(self.bank.told())
        chosen = [event for event in told if event.id not in self.heard][-12:]
        if order == "some":
            which = draw(st.lists(st.integers(0, 11), max_size=6), label="which")
            chosen = [chosen[n] for n in which if n < len(chosen)]
        self.do(self._hear([*reversed(chosen)]))

    async def _hear_all(self) -> None:
        about = set(self.behind)
        await self._hear([e for e in await self.bank.told() if e.id not in self.heard])
        if not await self._due():
            self.behind -= about

    async def _hear(self, events: list[Event]) -> None:
        if await self._due():
            await self._sql("UPDATE ferryman.events SET due_at = now() WHERE due_at IS NOT NULL")
        try:
            await self.bank.read_again()
            await self.bank.hear(events)
        except AssertionError as error:
            if NOT_NOW not in str(error):
                raise
            return
        self.heard |= {event.id for event in events}

    async def _due(self) -> bool:
        """Whether some are put off, since their job runs, or the vendor takes no requests now."""
        return bool(await self.bank.driver.rows(DUE))

    # --- what holds at all times

    @invariant()
    def vendor_and_ledger_agree(self) -> None:
        self.sound = False
        self.books = self.runner.run(look(self.bank))
        last = self.effects[-1]["seq"] if self.effects else 0
        self.effects += self.bank.sandbox.effects(self.bank.vendor, after=last)
        self.truth = Truth(self.effects)
        assert self.bank.balance() == self.truth.balance(), "the sandbox contradicts itself"
        assert not self.truth.twice()
        self.books.check()
        explain(self.books, self.truth, self.behind, self.disputed)
        self.sound = True

    # --- at last

    def teardown(self) -> None:
        if self.sound:
            self.do(self._come_to_rest())
            self.behind.clear()
            self.vendor_and_ledger_agree()
            self.do(self._hear_again())
            self.vendor_and_ledger_agree()
            self.sound = False
            self._nothing_is_left()
            self.runner.run(self._note())

    async def _come_to_rest(self) -> None:
        """All faults end, everybody decides, what was not told yet is told, people find out."""
        self.bank.sandbox.script([])
        for n in range(ROUNDS_TO_REST):
            self.books = await look(self.bank)
            if n and not (self.behind or self.books.open() or self.books.pending()):
                break
            for row in self.books.in_state("requires_action"):
                self.at_vendor(row, "deny" if n % 2 else "approve")
            for row in self.books.pending():
                charge = self.books.charges[row["charge_id"]]
                self.at_vendor(charge, "settle", refund=row, fails=False)
            for job in self.books.open():
                if job not in self.books.due():
                    await self._intervene(job, "resolve")
            await self._attempts(self.books.due())
            await self._hear_all()

    async def _hear_again(self) -> None:
        """Every event once more, each alone, in the wrong order."""
        told = await self.bank.told()
        for event in reversed(told[-25:]):
            again = "UPDATE ferryman.events SET due_at = now() WHERE event_id = :id"
            await self.bank.driver.rows(again, id=event.id)
            await self._hear([])
            await _inbox.drain(self.bank.driver.ledger)
            await self.bank.read_again()

    def _nothing_is_left(self) -> None:
        for row in self.books.jobs.values():
            assert row["status"] not in OPEN, row
        for row in (*self.books.charges.values(), *self.books.refunds):
            job = self.books.jobs.get(row["id"])
            if job and row["status"] in TAKEN:
                assert job["status"] == "succeeded" or "took effect" in job["reason"], job
        for row in self.books.charges.values():
            if row["status"] not in TAKEN:
                assert row["status"] in ("failed", "cancelled", "authorized"), row
            assert (row["reserved"], row["taken_by"]) == (0, None), row

    async def _note(self) -> None:
        """What this example was through."""
        outcomes = await self.bank.driver.rows("SELECT DISTINCT outcome FROM ferryman.attempts")
        self.seen.update(f"attempt {row['outcome']}" for row in outcomes)
        self.seen.update(f"{row['kind']} {row['status']}" for row in self.books.jobs.values())
        self.seen.update(f"charge {row['status']}" for row in self.books.charges.values())
        foreign = [row for row in self.books.refunds if row["id"] not in self.books.jobs]
        self.seen["refund of a person"] += len(foreign)

    # --- the parts

    async def _attempts(self, jobs: Sequence[str]) -> None:
        """One of each, all at once. Some are not to be had any more: events end jobs as well."""
        await calm(self.bank)
        runs = (self.bank.run(UUID(job)) for job in jobs)
        for end in await asyncio.gather(*runs, return_exceptions=True):
            lost = isinstance(end, LeaseLost) or NOT_NOW in str(end)
            if isinstance(end, BaseException) and not lost:
                raise end

    async def _sql(self, statement: str) -> None:
        await self.bank.driver.rows(statement)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize("purse", PURSES, ids=lambda purse: purse.vendor)
@pytest.mark.timeout(3600 if SOAK else 120)
def test_the_ledger_and_the_vendor_agree_after_every_step(
    purse: Purse,
    ledger_url: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    runner: asyncio.Runner,
) -> None:
    monkeypatch.setattr("worker.breaker.HOLD_SECONDS", 0.0)
    opened = shared(purse, ledger_url, sandbox)
    bank = runner.run(opened.__aenter__())
    facts = {"bank": bank, "runner": runner, "seen": Counter()}
    machine = type(f"{purse.vendor.title()}Payments", (Payments,), facts)

    run_state_machine_as_test(
        seed(SEED)(machine),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if SOAK else [])],
        ),
    )

    runner.run(opened.__aexit__(None, None, None))
    names = SEEN + (f", {SEEN_IN_MANY}" if SOAK else "")
    wanted = {" ".join(name.split()) for name in names.split(",")}
    missing = wanted - {name for name, n in machine.seen.items() if n}
    assert not missing, (missing, dict(machine.seen))
