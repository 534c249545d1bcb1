"""What goes wrong at the vendors? The fault script, by what the shop has ordered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.demo.orders import name

Rule = dict[str, Any]

PAYMENTS = {"vendor": "stripe", "method": "POST", "path": "/v1/payment_intents"}
CAPTURES = {"vendor": "paypal", "method": "POST", "path": "/v2/checkout/orders/*/capture"}
MAILS = {"vendor": "sendgrid", "method": "POST", "path": "/v3/mail/send"}
MESSAGES = {"vendor": "twilio", "method": "POST", "path": "*/Messages.json"}
EVENTS = {"vendor": "mixpanel", "method": "POST", "path": "/import"}
CONTACTS = {"vendor": "hubspot", "method": "POST", "path": "/crm/v3/objects/contacts/batch/upsert"}
# Enough for the breaker to open, and for its first probe to fail.
OUTAGE_REQUESTS = 6
# Longer than the demo: the worker dies while it waits for this answer.
LATE_SECONDS = 120.0
CUT_RECEIPT, LOST_RECEIPT, CUT_MESSAGE, CUT_IN_WORK = 2, 4, 2, 21


def everyday() -> list[Rule]:
    """What vendors do on an ordinary day. Failures in a row are fewer than open a breaker."""
    return [
        _once(3, do="throttle", retry_after=1),
        _once(8, do="throttle", retry_after=1),
        _once(6, do="status", status=500),
        _once(10, do="status", status=500),
        _once(9, do="drop_after"),
        _once(13, do="drop_after", reset=True),
        _once(CUT_IN_WORK, do="late", seconds=LATE_SECONDS),
        {**CAPTURES, "do": "drop_after", "times": 1},
        {**MAILS, "do": "throttle", "retry_after": 1, "when": {"first": 2}},
        {**MAILS, "do": "drop_after", "contains": f"Receipt of {name(CUT_RECEIPT)}", "times": 1},
        {**MAILS, "do": "drop_before", "contains": f"Receipt of {name(LOST_RECEIPT)}", "times": 1},
        {**EVENTS, "do": "drop_after", "times": 1},
        {**CONTACTS, "do": "status", "status": 503, "times": 1},
        {**MESSAGES, "do": "drop_after", "contains": name(CUT_MESSAGE), "times": 1},
    ]


def outage() -> list[Rule]:
    """Stripe is down. Counted in requests, so that the breaker's history is the same each time."""
    return [{"vendor": "stripe", "do": "status", "status": 503, "when": {"first": OUTAGE_REQUESTS}}]


def _once(order: int, **what: Any) -> Rule:
    return {**PAYMENTS, "contains": name(order), "times": 1, **what}


def told(rule: Mapping[str, Any]) -> str:
    """A rule in words."""
    names = {
        **{"stripe": "Stripe", "paypal": "PayPal", "sendgrid": "SendGrid", "twilio": "Twilio"},
        **{"mixpanel": "Mixpanel", "hubspot": "HubSpot"},
    }
    words = {
        "throttle": "429 with Retry-After",
        "status": f"{rule.get('status')}",
        "drop_after": "cut after the effect",
        "drop_before": "cut before the effect",
        "late": "an answer that the worker did not live to see",
    }
    return f"{names[rule['vendor']]}: {words[rule['do']]}"
