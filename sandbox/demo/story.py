"""What happens in the demo, act by act?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ferryman.testing import Sandbox
from ferryman.testing.up import State
from sandbox.demo import checks, faults, ledger, orders, records, vendors
from sandbox.demo.doors import Doors, spread
from sandbox.demo.facts import Asked, Facts
from sandbox.demo.ledger import Ledger
from sandbox.demo.orders import Order
from sandbox.demo.vendors import Bucket, Flower
from sandbox.demo.watch import Stuck, Watch

FLOWER_SECONDS = 10.0


class Story:
    """The acts. Call them in their order, then `facts`."""

    def __init__(
        self,
        watch: Watch,
        state: State,
        home: Path,
        *,
        doors: Doors,
        sandbox: Sandbox,
        bucket: Bucket,
        ledger: Ledger,
    ) -> None:
        self._watch, self._state = watch, state
        self._doors, self._sandbox, self._bucket, self._ledger = doors, sandbox, bucket, ledger
        self._files, self._people = home / "exports", home / "people.csv"
        self._asked: list[Asked] = []
        self._rolled_back = self._newsletter = self._killed = self._debit = ""
        self._paypal = ""
        self._settled: list[str] = []

    def a_day_of_orders(self) -> None:
        """Everything the shop has to do, while the vendors have an ordinary bad day."""
        self._watch.act("Orders come in by five doors, and the vendors have a bad day")
        self._prepare()
        self._sandbox.script(faults.everyday())
        placed = [orders.charge(number) for number in range(1, orders.CHARGES + 1)]
        self._asked += [Asked(*made) for made in spread(self._doors, placed)]
        self._say("20 charges: 4 each by Python, HTTP, Celery's send_task, SQL, command line")
        self._ask("HTTP", self._doors.http, placed[0])
        self._say(f"{placed[0].key} once more, by another door: the same job, since it has a key")
        self._rolled_back = self._doors.rolled_back(orders.charge(0))
        self._say("one charge in a transaction that is rolled back: the job is gone with it")
        self._mails()
        self._messages()
        self._ask("HTTP", self._doors.http, orders.sync(self._files, "sync-1"))
        self._say(f"a folder of {orders.FILES} files, to S3")
        self._paypal = self._ask("HTTP", self._doors.http, orders.by_paypal())
        self._say("a charge by PayPal, which cuts the connection after it has taken the money")
        self._records()
        self._a_bank_decides()
        self._settle("the day's work")

    def a_worker_dies(self) -> None:
        """kill -9 in the middle of a call that has had its effect already."""
        self._watch.act("A worker is killed while it waits for Stripe's answer to a charge")
        # Or a webhook would tell at once what the dead worker cannot.
        self._webhooks(hold=True)
        order = orders.charge(faults.CUT_IN_WORK)
        self._killed = self._ask("HTTP", self._doors.http, order)
        self._watch.until(self._charged, self._ledger, "the charge whose worker is to be killed")
        pid = self._doors.worker()
        os.kill(pid, signal.SIGKILL)
        self._say(f"{order.key} has been charged; kill -9 of worker {pid} before it knows")
        self._say("a new one is started; it takes the job over when the dead one's lease is out")

    def stripe_is_down(self) -> None:
        """The breaker opens; what is not for Stripe goes on."""
        self._watch.act("Meanwhile Stripe is down")
        self._sandbox.script(faults.outage(), append=True)
        doors = [("Python", self._doors.python), ("HTTP", self._doors.http)] * 3
        charges = {one.order.key: one.id for one in self._asked}
        for (door, enqueue), order in zip(doors, orders.refunds(charges), strict=True):
            self._ask(door, enqueue, order)
        self._say("6 refunds, one of them larger than its charge")
        self._ask("HTTP", self._doors.http, orders.paypal_refund(self._paypal))
        self._say("one at PayPal, which Stripe's outage does not concern")
        self._ask("Python", self._doors.python, orders.sync(self._files, "sync-2"))
        self._say("the same folder to S3 again, where nothing is left to copy")
        self._to_the_suppressed()
        self._settle("the refunds, and the charge of the dead worker")
        self._webhooks(hold=False)
        self._watch.until(self._told, self._ledger, "the webhooks that are still on their way")
        self._say("Stripe's late webhooks tell what is known already: nothing changes")

    def facts(self) -> Facts:
        """Everything that can be known now."""
        self._watch.act("What came of it")
        jobs = {job.id: job for job in self._ledger.jobs()}
        unseen = (*orders.OWN, *orders.RIDING)
        return Facts(
            asked=self._asked,
            rolled_back=self._rolled_back,
            killed=self._killed,
            settled=self._settled,
            newsletter=self._newsletter,
            debit=self._debit,
            jobs=jobs,
            mails=self._ledger.mails(),
            effects=vendors.effects(self._sandbox),
            webhooks=self._sandbox.deliveries(),
            events=self._ledger.events(),
            suppressed=self._ledger.suppressed(),
            folder=vendors.digests_of(self._files),
            bucket=self._bucket.digests(),
            breaker=vendors.breaker_changes(self._state["api_url"]),
            faults=self._sandbox.faults(),
            flower=self._flower({job.id for job in jobs.values() if job.kind not in unseen}),
        )

    def _prepare(self) -> None:
        orders.write_files(self._files)
        orders.write_people(self._people)
        self._bucket.create()

    def _mails(self) -> None:
        self._ask("Celery", self._doors.celery, orders.receipt(1))
        cut = self._ask("HTTP", self._doors.http, orders.receipt(faults.CUT_RECEIPT))
        self._settled.append(cut)
        self._ask("SQL", self._doors.sql, orders.receipt(3))
        lost = orders.receipt(faults.LOST_RECEIPT, orders.UNKNOWN)
        self._ask("Python", self._doors.python, lost)
        self._newsletter = self._doors.mails_of(self._people)
        self._say(f"4 receipts, and a newsletter to {orders.RECIPIENTS:,} people of a CSV")

    def _messages(self) -> None:
        self._ask("Celery", self._doors.celery, orders.message(1))
        cut = self._ask("SQL", self._doors.sql, orders.message(faults.CUT_MESSAGE))
        self._settled.append(cut)
        self._ask("Python", self._doors.python, orders.message(3, to=orders.NO_NUMBER))
        self._say("3 text messages; one of the mails and one of these go to who is not there")

    def _records(self) -> None:
        for order in (*records.events(), *records.people(), *records.contacts()):
            self._ask("Python", self._doors.python, order)
        self._say(
            f"{records.EVENTS} events each for Mixpanel and Segment, {records.CONTACTS} contacts"
            " each for HubSpot and Salesforce: jobs that travel together"
        )

    def _to_the_suppressed(self) -> None:
        """Once more to the mailbox and the number that are not there."""
        self._watch.until(self._both_known, self._ledger, "the webhooks of who is not there")
        mail = orders.receipt(5, orders.SUPPRESSED, orders.BOUNCES)
        self._ask("HTTP", self._doors.http, mail)
        message = orders.message(5, orders.SUPPRESSED, orders.NO_NUMBER)
        self._ask("Python", self._doors.python, message)
        self._say("a mail and a message to who was not there before: both are suppressed by now")

    def _both_known(self) -> bool:
        """Whether the webhooks have told that there is no such mailbox, and no such number."""
        return len(self._ledger.suppressed()) == len(checks.SUPPRESSED)

    def _a_bank_decides(self) -> None:
        """A debit waits for the bank, until a webhook tells."""
        self._debit = self._ask("Python", self._doors.python, orders.by_bank())
        self._watch.until(lambda: bool(self._debited()), self._ledger, "the debit of an account")
        self._say("a debit of a bank account: Stripe is processing it, and the job waits")
        self._sandbox.dashboard("stripe", "settle", payment_intent=self._debited())
        self._say("the bank has paid; Stripe tells so by a webhook")

    def _debited(self) -> str | None:
        """The payment that waits for the bank, as soon as its job says so."""
        job = next(job for job in self._ledger.jobs() if job.id == self._debit)
        waits = job.runs == ["pending"] and job.result
        return str(job.result["vendor_reference"]) if waits and job.result else None

    def _webhooks(self, *, hold: bool) -> None:
        """Stripe's go to the API; held ones later."""
        url = f"{self._state['api_url']}/webhooks/stripe"
        self._sandbox.webhooks("stripe", url, hold=hold)

    def _told(self) -> bool:
        """Whether every webhook has arrived and was read."""
        sent = {one["id"] for one in self._sandbox.deliveries() if one["delivered"]}
        all_sent = all(one["delivered"] for one in self._sandbox.deliveries())
        # Also those that a poll has found meanwhile.
        events = self._ledger.events()
        return all_sent and all(e.handled for e in events) and {e.id for e in events} >= sent

    def _ask(self, door: str, enqueue: Callable[[Order], str], order: Order) -> str:
        made = enqueue(order)
        self._asked.append(Asked(order, door, made))
        return made

    def _settle(self, what: str) -> None:
        self._watch.until(self._ended, self._ledger, what)
        self._say("all have ended")

    def _ended(self) -> bool:
        return self._ledger.ended({one.id for one in self._asked} | {self._newsletter})

    def _charged(self) -> bool:
        return any(e.job == self._killed for e in vendors.effects(self._sandbox, "charge"))

    def _flower(self, jobs: set[str]) -> Flower:
        """As soon as it lists all: events are a moment on their way."""
        seen = Flower([], {})

        def all_seen() -> bool:
            nonlocal seen
            seen = Flower.look(self._state["flower_url"])
            return seen.tasks.keys() >= jobs

        with suppress(Stuck):  # what is missing is told by its check
            self._watch.until(all_seen, self._ledger, "Flower's list", FLOWER_SECONDS)
        return seen

    def _say(self, words: str) -> None:
        self._watch.say(words)


@contextmanager
def opened(watch: Watch, state: State, home: Path) -> Iterator[Story]:
    """A story with its connections, which are closed at the end."""
    with ExitStack() as stack:
        doors = Doors(state)
        stack.callback(doors.close)
        sandbox = Sandbox(state["sandbox_url"])
        stack.callback(sandbox.close)
        bucket = Bucket(state["s3_url"])
        stack.callback(bucket.close)
        found = stack.enter_context(ledger.opened(state["database_url"], state["api_url"]))
        yield Story(watch, state, home, doors=doors, sandbox=sandbox, bucket=bucket, ledger=found)
