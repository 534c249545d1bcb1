"""Is this text an e-mail address, and how is it written in one way only? No DNS is asked."""

from __future__ import annotations

import re
from functools import lru_cache

from email_validator import EmailSyntaxError, validate_email

# Local parts that need no further look. All others go through email-validator as a whole.
_PLAIN = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_BREAKS = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
LONGEST = 254


def normalised(address: str) -> str:
    """The address with its domain in lower case.

    Names under `.test` are accepted, since that domain is reserved for trying things out. Raises
    ValueError whose message says what is wrong without repeating the address.
    """
    if _BREAKS.search(address):
        raise ValueError("must not contain line breaks")
    local, _, domain = address.rpartition("@")
    if _PLAIN.fullmatch(local) and len(local) <= 64 and len(address) <= LONGEST:
        return f"{local}@{_domain(domain)}"
    return _checked(address)


def problem(address: str) -> str | None:
    """What is wrong with the address, in words, or None."""
    try:
        normalised(address)
    except ValueError as error:
        return str(error)
    return None


# A list of recipients has few domains: with each looked at once, a million take seconds.
@lru_cache(maxsize=4096)
def _domain(domain: str) -> str:
    return _checked(f"a@{domain}").removeprefix("a@")


def _checked(address: str) -> str:
    try:
        found = validate_email(
            address, check_deliverability=False, test_environment=True, strict=True
        )
    except EmailSyntaxError:
        raise ValueError("must be an e-mail address such as ada@example.com") from None
    if len(found.normalized) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters")
    return found.normalized
