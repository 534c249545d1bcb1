"""What the command line prints, and which exit status a job or batch means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

Document = Mapping[str, Any]

# Of a batch's recipients, those who got nothing, or of whom that is not known.
ASIDE = ("invalid", "duplicate", "suppressed", "failed", "unknown")
# The kind whose batch is of objects, and not of recipients.
SYNC = "sync_objects"
# The kind whose recipients are contacts.
CONTACTS = "bulk_contacts"
DONE, FAILED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3
_BY_STATUS = {"failed": FAILED, "cancelled": FAILED, "unknown": UNKNOWN}
_FIELDS = (
    *("id", "kind", "vendor", "status", "reason", "priority", "attempts", "key", "batch_id"),
    *("run_at", "expires_at", "created_at", "finished_at", "result", "error"),
)
_SUPPRESSION = ("channel", "address", "reason", "source", "at")
_COLUMNS = ("id", "kind", "vendor", "status", "attempts", "created_at", "why")


def document(found: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """A line beside the result: on standard error, so that scripts need not skip it."""
    click.echo(f"ferryman: {one_line(text)}", err=True)


def one_line(text: str) -> str:
    return " ".join(text.split())


def printable(text: str) -> str:
    """What others have named, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def job(found: Document) -> None:
    """A job for people: a line for each field that says something."""
    _pairs([(name, _plain(found.get(name))) for name in _FIELDS])


def jobs(found: Sequence[Document]) -> None:
    """A table of jobs, a line each."""
    rows = [[*(_plain(one.get(name)) for name in _COLUMNS[:-1]), why(one)] for one in found]
    _table([list(_COLUMNS), *rows])


def why(found: Document) -> str:
    """Why a job waits, or failed, on one line."""
    error = found.get("error") or {}
    words = f"{error.get('code')}: {error.get('message')}" if error else found.get("reason")
    return one_line(str(words or ""))


def batch(found: Document) -> None:
    """A batch for people: how it is, how its recipients are, and what the vendor told of them."""
    times = ("created_at", "planned_at", "finished_at")
    _pairs(
        [
            ("id", found["id"]),
            ("status", batch_state(found)),
            ("per minute", _plain(found.get("per_minute"))),
            *((name, _plain(found.get(name))) for name in times),
        ]
    )
    if not found["total"]:
        return
    click.echo()
    if found["kind"] == SYNC:
        _objects(found)
        return
    title = "contacts" if found["kind"] == CONTACTS else "recipients"
    counted(title, found["total"], found["counts"])
    told = found.get("delivery") or {}
    if any(told.values()):
        click.echo()
        counted("sent", found["counts"]["sent"], told)


def _objects(found: Document) -> None:
    """A sync's objects; of their bytes those that are copied, and of how many."""
    told = dict(found["objects"])
    size, done = told.pop("bytes"), told.pop("bytes_done")
    told["cancelled"] = found["counts"].get("cancelled", 0)
    # What a dry run would do is neither done nor waiting.
    told["planned"] = max(found["total"] - sum(told.values()), 0)
    counted("objects", found["total"], told)
    if size:
        click.echo()
        counted("bytes", size, {"copied": done})


def batch_state(found: Document) -> str:
    """How a batch is, and why: `paused by itself: …`, `paused: the price is wrong`."""
    status, reason = found["status"], one_line(found.get("reason") or "")
    if not reason or reason.startswith(status):
        return reason or status
    return f"{status}: {reason}"


def counts(found: Document) -> str:
    """`2480 sent, 12 invalid, 8 duplicate of 2500`."""
    parts = [f"{number} {name}" for name, number in found["counts"].items() if number]
    return f"{', '.join(parts) or 'none'} of {found['total']}"


def suppressions(found: Sequence[Document]) -> None:
    """A table, a line each."""
    rows = [[one_line(str(one[name] or "")) for name in _SUPPRESSION] for one in found]
    _table([list(_SUPPRESSION), *rows])


def result(found: Document) -> None:
    """The plain values of a job's result."""
    values = (found.get("result") or {}).items()
    _pairs([(name, _plain(value)) for name, value in values if not isinstance(value, dict | list)])


def vendors(found: Sequence[Document]) -> None:
    """The scorecard: a line each, times in UTC, the calls of the last hour."""
    rows = [[_CARD[name](one) for name in _CARD] for one in found]
    _table([list(_CARD), *rows])


def vendor(found: Document) -> str:
    """How a vendor is, in words."""
    if pause := found["paused"]:
        return f"paused by {pause['by']}: {pause['note']}"
    if found["breaker"] != "closed":
        return f"{found['breaker']} since {_clock(found['unavailable_since'])}"
    if day := _reached(found):
        return f"daily limit reached, until {_clock(day)}"
    if found["cooldown_until"]:
        return f"cooling down until {_clock(found['cooldown_until'])}"
    return "ok"


def job_status(found: Document) -> int:
    return _BY_STATUS.get(found["status"], DONE)


def batch_status(found: Document) -> int:
    """Unknown comes before failed: those must not simply be sent again."""
    if found["counts"].get("unknown"):
        return UNKNOWN
    failed = found["status"] == "cancelled" or found["counts"].get("failed")
    return FAILED if failed else DONE


def counted(title: str, total: int, numbers: Mapping[str, int]) -> None:
    """A total, and below it the numbers that are not 0, with their share of it."""
    said = {title: total, **{f"  {name}": number for name, number in numbers.items() if number}}
    width, digits = max(map(len, said)), max(len(f"{number:,}") for number in said.values())
    for name, number in said.items():
        share = f"  {number / total:6.1%}" if total and name != title else ""
        click.echo(f"{name.ljust(width)}  {number:>{digits},}{share}")


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def _quota(found: Document) -> str:
    """What is left of the vendor's window, and of its day."""
    said = []
    for name, unit in (("quota", ""), ("daily", " a day")):
        told = found.get(name) or {}
        left, limit = told.get("remaining"), told.get("limit")
        if left is not None:
            said.append(f"{left} of {limit}{unit}" if limit else f"{left}{unit}")
    return ", ".join(said)


def _reached(found: Document) -> str | None:
    """Until when nobody calls a vendor whose day has nothing left."""
    daily = found.get("daily") or {}
    day: str | None = daily.get("resets_at") if daily.get("remaining") == 0 else None
    return day if found["cooldown_until"] else None


def _latency(found: Document) -> str:
    p50, p95 = (found["last_hour"][f"latency_p{part}_ms"] for part in (50, 95))
    return "" if p50 is None else f"{p50}/{p95} ms"


def _clock(at: str | None) -> str:
    """`12:03:04` of a time in JSON, with its day where that is not today."""
    if at is None:
        return ""
    day, _, clock = at.partition("T")
    short = clock[:8]
    return short if day == datetime.now(UTC).date().isoformat() else f"{day} {short}"


# The columns of the scorecard, and what stands in each.
_CARD: dict[str, Callable[[Document], str]] = {
    "vendor": lambda one: str(one["vendor"]),
    "waiting": lambda one: str(one["waiting"]),
    "in flight": lambda one: str(one["in_flight"]),
    "unknown": lambda one: str(one["unknown"]),
    "oldest due": lambda one: _clock(one["oldest_due_at"]),
    "calls/h": lambda one: str(one["last_hour"]["calls"]),
    "errors": lambda one: f"{one['last_hour']['error_rate']:.1%}",
    "p50/p95": _latency,
    "limit": lambda one: f"{one['limit']['per_second']:g}/s" if one["limit"]["per_second"] else "",
    "quota": _quota,
    "state": lambda one: one_line(vendor(one)),
}


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
