"""The secrets of all vendors, jobs that use each of them, and all that the ledger holds."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters._base import adapter
from ferryman.policies import policies
from tests import gcs, moto
from tests.harness import Harness

BUCKET = "of-the-secrets"
KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
# Asked for as credentials, and told to everybody.
PUBLIC = {"FROM_EMAIL", "TWILIO_FROM", "TWILIO_ACCOUNT_SID", "SENDGRID_WEBHOOK_PUBLIC_KEY"}
# A person's token at the fake, which no setting holds.
TOKEN = "00Dsandbox!"
FORWARD = {"paypal": "/v2/*", "salesforce": "/services/data/*"}
JOBS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "stripe": ("charge", {"payment_method": "pm_card_visa"}),
    "paypal": ("charge", {"payment_method": "vault_ok"}),
    "sendgrid": ("send_email", {"to": "reader@example.com", "subject": "News", "text": "Hello"}),
    "twilio": ("send_sms", {"to": "+447700900123", "body": "Hello"}),
    "mixpanel": ("track_event", {"user": "user-1", "event": "Order placed"}),
    "segment": ("track_event", {"user": "user-1", "event": "Order placed"}),
    "salesforce": ("upsert_contact", {"email": "a@example.com", "fields": {"last_name": "A"}}),
    "hubspot": ("upsert_contact", {"email": "a@example.com", "fields": {"last_name": "A"}}),
}
PAID = {"customer": "user-1", "amount": 1250, "currency": "usd"}
PACKED = re.compile(r"H4sI[A-Za-z0-9+/]{16,}={0,2}")
PACKED_BYTES = re.compile(r"\\x1f8b[0-9a-f]{16,}")


def plant(harness: Harness, s3: str, cloud: str) -> dict[str, str]:
    """Credentials of all vendors into the harness' environment; what must be seen nowhere."""
    harness.env |= harness.sandbox.environment() | moto.ENVIRONMENT
    harness.env |= {"AWS_SECRET_ACCESS_KEY": "planted/secret+of+s3", "S3_BASE_URL": s3}
    key, key_file = rsa.generate_private_key(65537, 2048), harness.folder / "key.json"
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    account = {"type": "service_account", "client_email": "tests@example.com"}
    account |= {"private_key_id": "k", "private_key": text, "token_uri": f"{cloud}/token"}
    key_file.write_text(json.dumps(account))
    harness.env |= {KEY_FILE: str(key_file), "GCS_BASE_URL": cloud}
    return {**dict(_secrets(harness.env)), "gcs": text.splitlines()[3], "salesforce token": TOKEN}


def _secrets(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """By the names that the adapters ask for, alone and as they stand in a header."""
    for vendor in policies():
        names = _names(vendor, env)
        assert names or vendor == "gcs", f"{vendor} has no secret here"
        yield from ((name, env[name]) for name in names)
        values = [env[name] for name in adapter(vendor).secrets if env.get(name)]
        for pair in [*permutations(values, 2), *((env[name], "") for name in names)]:
            header = base64.b64encode(":".join(pair).encode()).decode().rstrip("=")
            yield f"{vendor}, as a header", header


def _names(vendor: str, env: Mapping[str, str]) -> list[str]:
    asked = {*adapter(vendor).secrets, *adapter(vendor).webhook_secrets} - PUBLIC - {KEY_FILE}
    return sorted(name for name in asked if env.get(name))


def use(harness: Harness, s3: str, cloud: str) -> list[UUID]:
    """Two jobs of each vendor, of which the first one is answered with that vendor's secrets; and
    one more at each of the clouds."""
    harness.sandbox.script([_echo(vendor, harness.env) for vendor in JOBS])
    made = [
        harness.enqueue(kind, (PAID if kind == "charge" else {}) | args, vendor=vendor)
        for vendor, (kind, args) in JOBS.items()
        for _ in range(2)
    ]
    moto.reset(s3)
    moto.oracle(s3).create_bucket(Bucket=BUCKET)
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="in/1", Body=b"1")
    there = f"gs://{gcs.new_bucket(cloud)}/out"
    return [
        *made,
        harness.enqueue("sync_objects", {"source": f"s3://{BUCKET}/in", "destination": there}),
    ]


def _echo(vendor: str, env: Mapping[str, str]) -> dict[str, Any]:
    said = " ".join(env[name] for name in _names(vendor, env))
    body = {"error": {"type": "invalid_request_error", "message": said}, "message": said}
    rule = {"do": "status", "status": 400, "body": body, "when": {"first": 1}}
    return {"vendor": vendor, "path": FORWARD.get(vendor, "*"), **rule}


def ledger(harness: Harness) -> str:
    """All that the ledger holds, and what is packed in there."""
    tables = harness.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'ferryman'")
    text = "\n".join(
        row["t"]
        for table in tables
        for row in harness.rows(f"SELECT r::text AS t FROM ferryman.{table['tablename']} AS r")
    )
    packed = [base64.b64decode(found + "=" * (-len(found) % 4)) for found in PACKED.findall(text)]
    packed += [bytes.fromhex(found[2:]) for found in PACKED_BYTES.findall(text)]
    return text + "".join(gzip.decompress(one).decode(errors="replace") for one in packed)
