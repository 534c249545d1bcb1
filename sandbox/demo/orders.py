"""What does the shop of the demo want done? Charges, refunds, mails, messages, a folder copied.

Events and contacts: `sandbox.demo.records`.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = (
    *("charge", "refund", "send_email", "bulk_email", "bulk_email_part", "send_sms"),
    *("sync_objects", "sync_objects_part"),
    *("track_event", "identify_user", "upsert_contact"),
)
PARTS = ("bulk_email_part", "sync_objects_part")
# Jobs that travel in loads: Celery sees these only.
RIDING = ("track_event", "identify_user", "upsert_contact")
# Jobs that ferryman asks of itself.
OWN = ("refresh_charge", "poll_events", "sync_suppressions", *(f"{kind}_load" for kind in RIDING))
DECLINED = {7: "pm_card_chargeDeclined", 15: "pm_card_chargeDeclinedInsufficientFunds"}
CODES = {7: "card_declined", 15: "insufficient_funds"}
CHARGES = 20
USERS = 8
RECIPIENTS, INVALID, DUPLICATE = 2500, 20, 30
FILES = 300
BUCKET = "ferryman-demo"
PREFIX = "exports"
SUCCEEDED, UNKNOWN, SUPPRESSED = "succeeded", "unknown", "suppressed"
# A mail to the one comes back, and the other's carrier knows no such number.
BOUNCES, NO_NUMBER = "bounce-1@example.com", "+447700900990"


@dataclass(frozen=True)
class Order:
    """One job to be made. `outcome`: succeeded, unknown, or the code that it has to fail with.
    `vendor`: None, the usual one; not every door of the demo passes it on."""

    kind: str
    args: dict[str, Any]
    key: str | None = None
    outcome: str = SUCCEEDED
    vendor: str | None = None


def charge(number: int) -> Order:
    """Order number so and so of the shop. Its number goes along as metadata, by which the fault
    script finds it."""
    args = {
        "customer": f"user-{number % USERS}",
        "amount": 1000 + 50 * number,
        "currency": "usd",
        "payment_method": DECLINED.get(number, "pm_card_visa"),
        "metadata": {"order": name(number)},
    }
    return Order("charge", args, name(number), CODES.get(number, SUCCEEDED))


def name(number: int) -> str:
    return f"order-{number:02d}"


def by_paypal() -> Order:
    """A charge of a PayPal account that its owner has agreed to before."""
    return _charged_to("vault_ok", "paypal-1", vendor="paypal")


def by_bank() -> Order:
    """A debit, of which the bank decides later: a webhook tells."""
    return _charged_to("pm_usBankAccount_success", "bank-1")


def _charged_to(payment_method: str, key: str, vendor: str | None = None) -> Order:
    args = {
        "customer": "user-1",
        "amount": 4200,
        "currency": "usd",
        "payment_method": payment_method,
    }
    return Order("charge", args, key, vendor=vendor)


def paypal_refund(charge: str) -> Order:
    """A part of the charge that PayPal made."""
    return Order("refund", {"charge": charge, "amount": 1200}, "refund-paypal-1")


def refunds(charges: Mapping[str | None, str]) -> list[Order]:
    """Whole and in part; the last one is larger than its charge. `charges`: jobs by their keys."""
    whole = [_refund(charges, 1), _refund(charges, 4)]
    parts = [_refund(charges, 2, 500), _refund(charges, 3, 400), _refund(charges, 3, 450)]
    return [*whole, *parts, _refund(charges, 5, 999_999, outcome="amount_exceeds_rest")]


def _refund(
    charges: Mapping[str | None, str],
    number: int,
    amount: int | None = None,
    outcome: str = SUCCEEDED,
) -> Order:
    given = {"charge": charges[name(number)], "amount": amount}
    args = {argument: value for argument, value in given.items() if value is not None}
    return Order("refund", args, f"refund-{name(number)}-{amount or 'whole'}", outcome)


def receipt(number: int, outcome: str = SUCCEEDED, to: str | None = None) -> Order:
    """A single mail."""
    args = {
        "to": to or f"user-{number}@example.com",
        "subject": f"Receipt of {name(number)}",
        "text": f"Thank you for {name(number)}.\n",
    }
    return Order("send_email", args, f"receipt-{number:02d}", outcome)


def message(number: int, outcome: str = SUCCEEDED, to: str | None = None) -> Order:
    """A single text message."""
    args = {"to": to or f"+4477009001{number:02d}", "body": f"{name(number)} is on its way"}
    return Order("send_sms", args, f"message-{number:02d}", outcome)


def sync(source: Path, key: str) -> Order:
    where = {"source": f"file://{source}", "destination": f"s3://{BUCKET}/{PREFIX}"}
    return Order("sync_objects", where, key)


def write_people(path: Path) -> None:
    """2,500 recipients as CSV; some are no addresses, some stand there twice, one bounces."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["to", "name"])
        table.writerows(_people())


def _people() -> Iterator[tuple[str, str]]:
    good = RECIPIENTS - INVALID - DUPLICATE
    yield BOUNCES, "Moved away"
    for number in range(good - 1):
        yield f"reader-{number}@example.com", f"Reader {number}"
    for number in range(INVALID):
        yield f"reader-{number}.example.com", f"No address {number}"
    for number in range(DUPLICATE):
        yield f"Reader-{number}@example.com", f"Reader {number}"


def write_files(source: Path) -> None:
    """300 files in folders, of up to 32 KiB; the same bytes in every run."""
    chance = random.Random(1)
    for number in range(FILES):
        path = source / f"{number % 12 + 1:02d}" / f"invoice {number}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(32_768)))
