"""What the readers of recipients' lists have in common."""

from __future__ import annotations

from io import StringIO
from typing import Any, Protocol

from ferryman.errors import InvalidArguments

# The line (of a JSON list: the entry) it began at, the address, and the data for it alone.
Row = tuple[int, str, dict[str, Any] | None]

# Characters that one recipient may take: what is read at once is bounded, whatever was sent.
LONGEST = 1_048_576
LONGEST_ADDRESS = 320
TOO_LONG = "is longer than 1 MiB"
NO_ADDRESS = "has no address in `to`"
LONG_ADDRESS = f"has more than {LONGEST_ADDRESS} characters in `to`"


class BadList(InvalidArguments):
    """The list of recipients has not the form it should have; `field` says at which line."""

    def __init__(self, number: int, message: str, unit: str = "line") -> None:
        super().__init__(f"{unit} {number}", message)
        self.number = number


class Form(Protocol):
    """One form of a list, read while its text comes. `number`: where the text yet to be read
    begins."""

    number: int

    def read(self, text: str, *, last: bool = False) -> list[Row]:
        """The recipients that are complete with this text. Raises BadList."""


def lines(text: str) -> list[str]:
    """The lines with their ends; not `splitlines`, for which a form feed is one as well."""
    return list(StringIO(text, newline=""))


def cut(text: str, *, last: bool) -> tuple[list[str], str]:
    """The lines that have ended, and what is left."""
    found = lines(text)
    # A line feed may still follow the carriage return.
    if last or not found or found[-1].endswith("\n"):
        return found, ""
    return found, found.pop()


def ill_addressed(to: str) -> str | None:
    """What is wrong with it at first sight: whether it is an address is found out later, and
    then it is one recipient's fault."""
    if not to.strip():
        return NO_ADDRESS
    return LONG_ADDRESS if len(to) > LONGEST_ADDRESS else None
