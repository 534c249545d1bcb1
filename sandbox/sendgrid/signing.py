"""What proves that events are SendGrid's? A signature with a key of this sandbox's own.

The key lies in the sandbox's folder, so that whoever is told the public one beforehand, or before
a restart, still has the right one.
"""

import os
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY_FILE = "sendgrid.key"
ALGORITHM = ec.ECDSA(hashes.SHA256())


@lru_cache(maxsize=16)
def _key(folder: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return _load(folder / KEY_FILE)
    except (OSError, ValueError):
        return _make(folder / KEY_FILE)


def _load(file: Path) -> ec.EllipticCurvePrivateKey:
    """Raises OSError or ValueError where there is no such key."""
    key = serialization.load_der_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of an elliptic curve")
    return key


def _make(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    passing = file.with_suffix(".new")
    passing.touch(0o600)
    passing.write_bytes(secret)
    os.replace(passing, file)
    return key


def public_key(folder: Path) -> str:
    """As SendGrid's settings show it: Base64 of DER."""
    shown = (
        _key(folder)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return b64encode(shown).decode()


def headers(folder: Path, body: bytes) -> Mapping[str, str]:
    """Those of one delivery, signed now."""
    at = str(int(time.time()))
    signature = _key(folder).sign(at.encode() + body, ALGORITHM)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "SendGrid Event API",
        "X-Twilio-Email-Event-Webhook-Signature": b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": at,
    }
