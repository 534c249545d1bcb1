"""What is known at the end? What was asked for, beside what the ledger and the vendors tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.demo.ledger import Event, Job, Mail
from sandbox.demo.orders import Order
from sandbox.demo.vendors import Effect, Flower


@dataclass(frozen=True)
class Asked:
    """An order that was placed, by which door, and the id of the job that this door named."""

    order: Order
    door: str
    id: str


@dataclass(frozen=True)
class Facts:
    """All that the demo found when everything had ended."""

    asked: Sequence[Asked]
    rolled_back: str
    """The job of a transaction that was rolled back."""
    killed: str
    """The job whose worker was killed in mid-call."""
    settled: Sequence[str]
    """Jobs whose answer was lost, and of which a webhook has told."""
    newsletter: str
    """The bulk job."""
    debit: str
    """The job that a webhook has ended."""
    jobs: Mapping[str, Job]
    mails: Sequence[Mail]
    effects: Sequence[Effect]
    webhooks: Sequence[Mapping[str, Any]]
    """Each delivery of the vendors: its `vendor`, the `id` of its first event, and whether it was
    `delivered`. SendGrid's hold many events each, all others one."""
    events: Sequence[Event]
    """What the ledger has of them."""
    suppressed: Mapping[str, str]
    """By address or number, why nothing more is sent there."""
    folder: Mapping[str, str]
    bucket: Mapping[str, str]
    breaker: Mapping[str, Sequence[Mapping[str, str]]]
    """By vendor, each change of its breaker: `at` and `state`, oldest first."""
    faults: Sequence[Mapping[str, Any]]
    flower: Flower
