"""A body of `POST /v1/jobs` for each kind, as `/openapi.json` shows them."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

EXAMPLES: dict[str, Row] = {
    "charge": {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "usd",
            "payment_method": "pm_card_visa",
        },
        "key": "order-1042",
    },
    "refund": {
        "kind": "refund",
        "args": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901", "amount": 250},
        "key": "return-77",
    },
    "capture_charge": {
        "kind": "capture_charge",
        "args": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901", "amount": 1000},
        "key": "shipped-1042",
    },
    "cancel_charge": {
        "kind": "cancel_charge",
        "args": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"},
        "key": "dropped-1042",
    },
    "send_email": {
        "kind": "send_email",
        "args": {
            "to": "ada@example.com",
            "subject": "Your order",
            "text": "It is on its way.",
        },
        "expires_at": "2030-01-31T12:00:00Z",
    },
    "bulk_email": {
        "kind": "bulk_email",
        "args": {
            "recipients": [
                {"to": "ada@example.com", "data": {"name": "Ada"}},
                {"to": "grace@example.com", "data": {"name": "Grace"}},
            ],
            "subject": "News",
            "text": "Hello {{ name }}",
        },
        "key": "news-2030-01",
    },
    "sync_objects": {
        "kind": "sync_objects",
        "args": {"source": "file:///srv/photos", "destination": "s3://backup/photos"},
    },
}
# Other ways to ask for a kind.
MORE: dict[str, Row] = {
    "charge, held until it is captured": {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "capture": False,
        },
        "key": "order-1043",
    },
    "charge, its payer may have to agree": {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "eur",
            "payment_method": "pm_card_threeDSecure2Required",
            "return_url": "https://shop.example.com/orders/1044/paid",
        },
        "key": "order-1044",
    },
    "charge, by PayPal": {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "eur",
            "payment_method": "paypal",
            "return_url": "https://shop.example.com/orders/1045/paid",
        },
        "key": "order-1045",
        "vendor": "paypal",
    },
}
