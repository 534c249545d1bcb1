"""A batch's recipients, or objects, as CSV: a page a transaction, so that a million of them hold
nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

Row = dict[str, Any]
# Those that follow what the last row of the page before is known by.
Pages = Callable[[Any], Awaitable[list[Row]]]

MEDIA_TYPE = "text/csv"
ROWS_AT_ONCE = 1000
# The heading of each column, and what of a recipient stands below it.
COLUMNS = {
    "line": "place",
    "to": "to",
    "status": "status",
    "reason": "reason",
    "delivery": "delivery",
    "delivery_at": "delivery_at",
    "delivery_reason": "delivery_reason",
    "sent_at": "sent_at",
    "opened_at": "opened_at",
    "clicked_at": "clicked_at",
    "complained_at": "complained_at",
    "unsubscribed_at": "unsubscribed_at",
    "vendor_reference": "vendor_reference",
    "id": "id",
    "data": "data",
}
# What a spreadsheet takes for a formula, also in its wide form.
# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
# A sign and digits can do nothing, and a number has to be found again as it was.
NUMBER = re.compile(r"\+[0-9]{1,15}")


def headers(batch: UUID, what: str = "recipients") -> dict[str, str]:
    """Of an answer that a browser saves, and does not show."""
    return {
        "Content-Disposition": f'attachment; filename="{what}-{batch}.csv"',
        "X-Content-Type-Options": "nosniff",
    }


async def table(
    first: list[Row], pages: Pages, columns: Mapping[str, str] = COLUMNS, *, last: str = "id"
) -> AsyncIterator[bytes]:
    """The whole of it, from its first page on. `pages` gives the one that follows what the last row
    has as `last`."""
    yield _written([columns])
    rows = first
    while rows:
        yield _written([cell(row[name]) for name in columns.values()] for row in rows)
        if len(rows) < ROWS_AT_ONCE:
            return
        rows = await pages(rows[-1][last])


def _written(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def cell(value: Any) -> str:
    """One cell. What a spreadsheet would work out, an address of somebody's invention as well, is
    kept from it by an apostrophe in front."""
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case dict():
            return orjson.dumps(value).decode()
    text = str(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text
