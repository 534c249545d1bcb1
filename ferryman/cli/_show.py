"""What the command line prints, and which exit status a job or batch means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

Document = Mapping[str, Any]

DONE, FAILED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3
_BY_STATUS = {"failed": FAILED, "cancelled": FAILED, "unknown": UNKNOWN}
_FIELDS = (
    *("id", "kind", "vendor", "status", "reason", "priority", "attempts", "key", "batch_id"),
    *("run_at", "expires_at", "created_at", "finished_at", "result", "error"),
)
_COLUMNS = ("id", "kind", "vendor", "status", "attempts", "created_at", "why")


def document(found: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """A line beside the result: on standard error, so that scripts need not skip it."""
    click.echo(f"ferryman: {one_line(text)}", err=True)


def one_line(text: str) -> str:
    return " ".join(text.split())


def job(found: Document) -> None:
    """A job for people: a line for each field that says something."""
    _pairs([(name, _plain(found.get(name))) for name in _FIELDS])


def jobs(found: Sequence[Document]) -> None:
    """A table of jobs, a line each."""
    rows = [[*(_plain(one.get(name)) for name in _COLUMNS[:-1]), why(one)] for one in found]
    table = [list(_COLUMNS), *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(_COLUMNS))]
    for row in table:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def why(found: Document) -> str:
    """Why a job waits, or failed, on one line."""
    error = found.get("error") or {}
    words = f"{error.get('code')}: {error.get('message')}" if error else found.get("reason")
    return one_line(str(words or ""))


def batch(found: Document) -> None:
    _pairs([("id", found["id"]), ("status", found["status"]), ("recipients", counts(found))])


def counts(found: Document) -> str:
    """`2480 sent, 12 invalid, 8 duplicate of 2500`."""
    parts = [f"{number} {name}" for name, number in found["counts"].items() if number]
    return f"{', '.join(parts) or 'none'} of {found['total']}"


def result(found: Document) -> None:
    """The plain values of a job's result."""
    values = (found.get("result") or {}).items()
    _pairs([(name, _plain(value)) for name, value in values if not isinstance(value, dict | list)])


def job_status(found: Document) -> int:
    return _BY_STATUS.get(found["status"], DONE)


def batch_status(found: Document) -> int:
    """Unknown comes before failed: those must not simply be sent again."""
    if found["counts"].get("unknown"):
        return UNKNOWN
    failed = found["status"] == "cancelled" or found["counts"].get("failed")
    return FAILED if failed else DONE


def _pairs(pairs: Iterable[tuple[str, str]]) -> None:
    said = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in said), default=0)
    for name, value in said:
        click.echo(f"{name.ljust(width)}  {value}")


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return one_line(str(value))
