"""Which keys may become files and objects, how the others are shown, and which ones clash."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html; Cloud Storage the same.
LONGEST_BYTES = 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# At the end of what is shown in the place of a key that the ledger cannot hold. No key that is
# carried over may end so, else it could be made to look like another's.
MARK = re.compile(r"…[0-9a-f]{16}\Z")
MOST_SHOWN_BYTES = 900


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
    if MARK.search(key):
        return "the key ends as those do that cannot be shown"
    return _no_name(key)


def shown(key: str) -> str:
    """The key as the ledger can hold it: itself, where it may be carried over. What had to be
    written otherwise ends in a mark of its own, so that no two keys are shown alike."""
    text = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", text)
    encoded = text.encode()
    if text == key and len(encoded) <= LONGEST_BYTES and not MARK.search(key):
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{encoded[:MOST_SHOWN_BYTES].decode('utf-8', 'ignore')}…{digest}"


def _no_name(key: str) -> str | None:
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    return f"the key is longer than {LONGEST_BYTES} bytes" if len(encoded) > LONGEST_BYTES else None


def fold(key: str) -> int:
    """Equal for keys that a file system may take for the same name, since they differ only in case
    or in how Unicode composes their characters; else different, but for one chance in 2^64."""
    folded = key.lower()
    if not key.isascii():
        decomposed = unicodedata.normalize("NFD", key).casefold()
        folded = unicodedata.normalize("NFC", decomposed)
    digest = hashlib.blake2b(folded.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
