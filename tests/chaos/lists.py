"""A list of recipients as a CSV, and what is to become of each of its lines."""

from __future__ import annotations

import csv
from pathlib import Path

DOMAINS = 50
HUNDRED = 100
# Of each hundred lines, by the last two digits of their number.
AGAIN = (10, 43, 76)
SUPPRESSED = (20, 70)
INVALID = (50,)

Line = tuple[str, str]
"""The address in small letters, and `sent`, `invalid`, `duplicate` or `suppressed`."""


def write(path: Path, count: int) -> None:
    """3 % stand in the list already, in other letters and far above; 1 % are no addresses."""
    with path.open("w") as out:
        out.write("to,name,points\n")
        out.writelines(f"{_to(n)},N{n},{n * 7 % 1000}\n" for n in range(count))


def _to(n: int) -> str:
    last = n % HUNDRED
    if last in INVALID:
        return f"nobody-{n}"
    if last in AGAIN:
        return address(n // 2 // HUNDRED * HUNDRED + 1).upper()
    return address(n)


def address(n: int) -> str:
    return f"user{n}@example{n % DOMAINS}.com"


def suppressed(count: int) -> list[str]:
    """2 % of such a list."""
    return [address(n) for n in range(count) if n % HUNDRED in SUPPRESSED]


def expected(path: Path, stopped: set[str]) -> dict[int, Line]:
    """By the line's number, as a person would tell it with the file and those who are suppressed:
    nothing of ferryman's is asked."""
    seen: set[str] = set()
    told: dict[int, Line] = {}
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            to = row["to"].lower()
            told[number] = (to, _ends(to, seen, stopped))
            seen.add(to)
    return told


def _ends(to: str, seen: set[str], stopped: set[str]) -> str:
    if "@" not in to:
        return "invalid"
    if to in seen:
        return "duplicate"
    return "suppressed" if to in stopped else "sent"
