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
            "template": "d-0123456789abcdef0123456789abcdef",
            "data": {"month": "January"},
            "unsubscribe_url": "https://shop.example.com/unsubscribe?mail={id}",
        },
        "key": "news-2030-01",
    },
    "send_sms": {
        "kind": "send_sms",
        "args": {"to": "+441632960961", "body": "Your parcel comes today."},
        "key": "parcel-77-comes",
        "expires_at": "2030-01-31T18:00:00Z",
    },
    "bulk_sms": {
        "kind": "bulk_sms",
        "args": {
            "recipients": [{"to": "+441632960961"}, {"to": "+441632960962"}],
            "body": "The shop is closed tomorrow.",
        },
        "key": "closed-2030-01-31",
    },
    "sync_objects": {
        "kind": "sync_objects",
        "args": {"source": "file:///srv/photos", "destination": "s3://backup/photos"},
    },
    "track_event": {
        "kind": "track_event",
        "args": {
            "user": "user-42",
            "event": "Order placed",
            "properties": {"plan": "pro", "items": 3},
            "at": "2026-11-28T10:00:00Z",
        },
        "key": "order-1042-placed",
    },
    "identify_user": {
        "kind": "identify_user",
        "args": {"user": "user-42", "traits": {"plan": "pro", "seats": 5}},
    },
    "upsert_contact": {
        "kind": "upsert_contact",
        "args": {
            "email": "ada@example.com",
            "fields": {"first_name": "Ada", "last_name": "Lovelace", "title": "Analyst"},
        },
    },
    "bulk_contacts": {
        "kind": "bulk_contacts",
        "args": {
            "contacts": [
                {"email": "ada@example.com", "fields": {"first_name": "Ada"}},
                {"email": "bob@example.com", "fields": {"first_name": "Bob"}},
            ]
        },
        "key": "newsletter-2026-11-28",
    },
}
# Other ways to ask for a kind.
MORE: dict[str, Row] = {
    "sync_objects, from one cloud to the other, exactly what is there": {
        "kind": "sync_objects",
        "args": {
            "source": "s3://exports/daily",
            "destination": "gs://exports-copy/daily",
            "exclude": ["*.tmp", "drafts/**"],
            "delete": True,
            "max_delete": 25,
            "bandwidth": 20_000_000,
        },
        "key": "exports-2030-01-31",
    },
    "sync_objects, only what would be done": {
        "kind": "sync_objects",
        "args": {
            "source": "s3://backup/photos",
            "destination": "file:///srv/restored",
            "compare": "checksum",
            "dry_run": True,
        },
    },
    "send_email, by a template": {
        "kind": "send_email",
        "args": {
            "to": "ada@example.com",
            "template": "d-0123456789abcdef0123456789abcdef",
            "data": {"name": "Ada"},
            "reply_to": "help@example.com",
            "categories": ["welcome"],
        },
        "key": "welcome-user-42",
    },
    "bulk_email, to the recipients of an upload": {
        "kind": "bulk_email",
        "args": {
            "upload": "019ab3f0-6d7e-8c2a-9f43-0d5be2a1c901",
            "subject": "We have moved",
            "text": "You find us in the High Street now.",
            "per_minute": 5000,
        },
        "key": "moved-2030",
        "run_at": "2030-01-31T08:00:00Z",
    },
    "bulk_sms, to the numbers of an upload": {
        "kind": "bulk_sms",
        "args": {
            "upload": "019ab3f0-6d7e-8c2a-9f43-0d5be2a1c901",
            "body": "The shop is closed tomorrow.",
        },
        "key": "closed-2030-01-31-all",
    },
    "track_event, several at once": {
        "kind": "track_event",
        "args": {
            "events": [
                {"user": "user-42", "event": "Signed in", "at": "2026-11-28T10:00:00Z"},
                {"user": "user-43", "event": "Signed in", "at": "2026-11-28T10:00:01Z"},
            ]
        },
        "vendor": "segment",
    },
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
