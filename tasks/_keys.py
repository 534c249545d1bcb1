"""Which keys may become files and objects, and how the others are shown."""

from __future__ import annotations

import hashlib
import re

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html; Cloud Storage the same.
LONGEST_BYTES = 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def refusal(key: str) -> str | None:
    """Why a key is not carried over, or None. The same in each direction: what one end would
    take, the other could not give back."""
    parts = key.split("/")
    if ".." in parts or "." in parts:
        return "a part of the key is `..` or `.`"
    if "" in parts:
        return "the key is absolute, or a part of it is empty"
    if "\\" in key:
        return "the key contains a backslash"
    if CONTROL.search(key):
        return "the key contains a control character"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    return f"the key is longer than {LONGEST_BYTES} bytes" if len(encoded) > LONGEST_BYTES else None


def shown(key: str) -> str:
    """The key as the ledger can hold it: itself, where it may be carried over."""
    text = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", text)
    if len(text.encode()) <= LONGEST_BYTES:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text.encode()[:900].decode('utf-8', 'ignore')}…{digest}"
