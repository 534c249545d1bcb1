"""A list from its CSV to the vendor, through three kills: each recipient exactly once.

Two thousand in every run, in requests of ten; a million, in those of a thousand, by `make chaos`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import lists
from tests.chaos.account import Account
from tests.chaos.campaign import IN_DOUBT_FOR_NOTHING, SETTLED, Campaign
from tests.chaos.conftest import SOAK, Scale, Tabled
from tests.chaos.people import MAILS
from tests.harness import Harness

LEASE_SECONDS = 1.0
# How long each step may take.
PATIENCE = 600.0 if SOAK else 40.0
# Above what a worker has when it begins: the same, however long the list is.
MEMORY_MIB = 50
ASIDE = ("invalid", "duplicate", "suppressed")


def settings() -> dict[str, str]:
    many = {"FERRYMAN_CONCURRENCY": "32", "FERRYMAN_LEASE_SECONDS": str(LEASE_SECONDS)}
    return many if SOAK else {**many, "INSIDE_SMALL": "10"}


def test_a_list_through_three_kills(
    harness: Harness, tmp_path: Path, scale: Scale, tabled: Tabled
) -> None:
    count, path = scale(2_000, 1_000_000), tmp_path / "list.csv"
    lists.write(path, count)
    stopped = lists.suppressed(count)
    wanted = lists.expected(path, set(stopped))
    begun = time.monotonic()
    campaign = sent(harness, path, stopped, many=Counter(end for _, end in wanted.values()))
    seconds = time.monotonic() - begun

    made = compared(campaign, wanted)
    tabled(made)
    assert made.clean, made
    assert harness.rows(IN_DOUBT_FOR_NOTHING) == []
    # Of the requests that the killed ones had at the vendor only events could tell.
    assert len(harness.rows(SETTLED)) >= 2
    starts = campaign.starts(LEASE_SECONDS)
    p95 = starts[int(0.95 * len(starts)) - 1]
    print(
        f"{count} in {seconds:.0f} s; {len(starts)} beside: p95 {p95:.2f} s, most {starts[-1]:.2f}"
    )
    print(f"memory of a worker: {campaign.idle:.0f} MiB, at most {campaign.memory:.0f}")
    assert len(starts) >= 10
    assert p95 <= 1
    assert campaign.memory - campaign.idle <= MEMORY_MIB


def sent(harness: Harness, path: Path, stopped: list[str], many: Counter[str]) -> Campaign:
    """The list, planned by one of two workers and sent by the others: one is killed while it plans,
    two while they send, and each time a new one is started."""
    harness.env |= harness.sandbox.environment()
    harness.sandbox.webhooks("sendgrid", f"{harness.api()}/webhooks/sendgrid")
    harness.sandbox.script([{**MAILS, "do": "latency", "seconds": 0.1 if SOAK else 0.3}])
    campaign = Campaign(harness, path, stopped, **settings())
    with campaign.held():
        campaign.start(wait=False)
        campaign.start()
        campaign.kill_planner(PATIENCE)
        # One is ahead of its time: to start takes long beside so short a batch.
        campaign.start(wait=False)
        campaign.start()
    campaign.beside = True
    for share in (0.2, 0.5):
        campaign.kill_sender(int(share * many["sent"]), PATIENCE)
        campaign.start(wait=False)
    campaign.done(PATIENCE)
    return campaign


def compared(campaign: Campaign, wanted: dict[int, lists.Line]) -> Account:
    """The list, the ledger and the vendor.

    The vendor has told of every mail that it took. So what is in doubt to the end are exactly those
    whose request was killed before it left, and of no other mail may it have told nothing.
    """
    ends, counts, tally = campaign.ends(), campaign.look()["counts"], campaign.tally()
    taken = ends["sent", "delivered"]
    allowed = {("sent", "delivered"), ("unknown", None)} | {(aside, None) for aside in ASIDE}
    unexplained = [f"{n} mails are {end}" for end, n in ends.items() if end not in allowed]
    if not taken == tally["effects"] == tally["addresses"]:
        unexplained.append(f"{taken} mails are sent, at the vendor: {tally}")
    # A million would be looked at for minutes.
    if not SOAK and (theirs := campaign.reached()) != (ours := campaign.sent_to()):
        unexplained.append(f"to others: {theirs - ours}, {ours - theirs}")
    if (told := _counted(counts)) != (listed := Counter(end for _, end in wanted.values())):
        unexplained.append(f"the batch counts {told}, the list {listed}")
    return Account(
        jobs=len(wanted) + len(campaign.singles),
        lost=list(_other(campaign, wanted)),
        twice=[f"{tally['repeated']} addresses"] if tally["repeated"] else [],
        unexplained=unexplained,
        statuses=+Counter(counts),
    )


def _counted(counts: dict[str, int]) -> Counter[str]:
    """Of a batch, as the list tells it: what is in doubt was to be sent."""
    told = Counter(counts)
    told["sent"] += told.pop("unknown")
    return +told


def _other(campaign: Campaign, wanted: dict[int, lists.Line]) -> Iterator[str]:
    """The lines of which the ledger says something else, or nothing."""
    left = dict(wanted)
    for place, (to, status) in campaign.lines():
        line = (to, "sent" if status == "unknown" else status)
        if left.pop(place, None) != line:
            yield f"line {place}: {line}, not {wanted.get(place)}"
    yield from (f"line {place}: {line} is nowhere" for place, line in left.items())
