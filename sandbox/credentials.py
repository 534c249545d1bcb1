"""Who asks? What stands in the header Authorization."""

import base64
from binascii import Error as NotBase64


def basic(header: str) -> tuple[str, str]:
    """Name and password; both empty where there are none."""
    scheme, _, given = header.partition(" ")
    try:
        both = base64.b64decode(given, validate=True).decode()
    except (NotBase64, UnicodeDecodeError):
        both = ""
    name, _, password = both.partition(":")
    return (name, password) if scheme.lower() == "basic" else ("", "")


def bearer(header: str) -> str:
    """The token, or nothing."""
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" else ""
