"""A segment of a sync's plan: its objects, the parts that they are cut into, and how they are
stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """One object as the listings saw it. `key` and the columns as in `ferryman.objects`.

    `part`: the number of the part that deals with it; None: the plan itself has decided (refused,
    found the same, or whatever a dry run does not have to look into). `target_…`: what stands at
    the target; None: nothing. `fold`: for a folder as the target, a hash of the name without case
    and Unicode form.
    """

    key: str
    action: str  # 'copy', 'compare', 'keep', 'delete', 'refuse'
    outcome: str  # 'planned', 'done' (kept), 'refused'
    part: int | None = None
    reason: str | None = None
    size: int | None = None
    last_modified: datetime | None = None
    etag: str | None = None
    version: str | None = None
    checksum: str | None = None
    bucket: str | None = None
    path: str | None = None
    source_etag: str | None = None
    source_version: str | None = None
    digests: Row | None = None
    target_etag: str | None = None
    target_version: str | None = None
    target_digests: Row | None = None
    fold: int | None = None


COLUMNS = tuple(field.name for field in fields(Planned))
COPY = f"COPY ferryman.objects (job_id, {', '.join(COLUMNS)}) FROM STDIN"


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A child job. `part`: its number, counted on from `Plan.parts + 1`. `held`: not before
    `release()`. All its rows stand in the same segment: sizes and keys are taken from them."""

    id: UUID
    part: int
    action: str  # 'copy' (with 'compare'), 'delete'
    held: bool = False


@dataclass(frozen=True)
class Segment:
    """The next stretch of the listings, in key order. `after`: the cursor that it goes on from
    (`Plan.cursor`), `last`: the one behind it; they may be any string, also one that is no UTF-8.
    `targets`, `surplus`: how many of its objects the target has, and of which the source has
    none."""

    after: str
    last: str
    rows: Sequence[Planned]
    parts: Sequence[PartPlan]
    targets: int = 0
    surplus: int = 0


def quoted(cursor: str) -> str:
    """As a column can hold it: file names need be no UTF-8, and no key is free of anything."""
    return quote(cursor.encode("utf-8", "surrogateescape"), safe="/ ")


def unquoted(kept: str) -> str:
    return unquote(kept, errors="surrogateescape")


async def copy(connection: AsyncConnection, job: UUID, rows: Iterable[Planned]) -> None:
    """Store a row for each object: by COPY, since a million of them come."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(COPY) as into:
        for row in rows:
            values = (getattr(row, name) for name in COLUMNS)
            await into.write_row((job, *(dumps(v) if isinstance(v, dict) else v for v in values)))


def parts(made: Segment) -> list[Row]:
    """The parts as rows, with what their objects come to."""
    own: dict[int | None, list[Planned]] = {}
    for row in made.rows:
        own.setdefault(row.part, []).append(row)
    return [_part(plan, own[plan.part]) for plan in made.parts]


def _part(plan: PartPlan, rows: Sequence[Planned]) -> Row:
    # The order of code points is that of UTF-8, and of COLLATE "C".
    keys = [row.key for row in rows]
    copied = sum(row.size or 0 for row in rows) if plan.action == "copy" else 0
    sums = {"size": len(rows), "bytes": copied, "first_key": min(keys), "last_key": max(keys)}
    return {name: getattr(plan, name) for name in ("id", "part", "action", "held")} | sums


def sums(made: Segment) -> Row:
    """What a segment adds to its batch. Bytes: of what no part deals with (in a dry run)."""
    apart = [row for row in made.rows if row.part is None]
    return {
        "cursor": quoted(made.last),
        "total": len(made.rows),
        "kept": sum(row.action == "keep" for row in apart),
        "refused": sum(row.action == "refuse" for row in apart),
        "bytes": sum(row.size or 0 for row in apart if row.action == "copy"),
        "targets": made.targets,
        "surplus": made.surplus,
    }
