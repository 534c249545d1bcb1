"""Lists of recipients as they were given, in pieces: kept once for their content, and read again
by the worker that plans the batch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import Upload, UploadPiece

Row = dict[str, Any]

KEEP = text("SELECT ferryman.upload_piece(:id, :place, :content)")
DONE = text("SELECT ferryman.upload_done(:temporary, :id, :format, :rows, :bytes)")
DROP = text("SELECT ferryman.upload_dropped(:temporary)")


async def keep(connection: AsyncConnection, temporary: UUID, place: int, content: bytes) -> None:
    """A piece of a list whose own id is known only at its end. It may be kept again."""
    await connection.execute(KEEP, {"id": temporary, "place": place, "content": content})


async def done(
    connection: AsyncConnection, temporary: UUID, id: UUID, *, format: str, rows: int, bytes: int
) -> bool:
    """All pieces are there; whether the list is new. A DBAPIError with the state FE422 says that
    they are not."""
    given = {"temporary": temporary, "id": id, "format": format, "rows": rows, "bytes": bytes}
    return bool((await connection.execute(DONE, given)).scalar_one())


async def drop(connection: AsyncConnection, temporary: UUID) -> None:
    """Forget what was kept of a list that will not be complete."""
    await connection.execute(DROP, {"temporary": temporary})


async def known(connection: AsyncConnection, id: UUID) -> Row | None:
    """The list of that id: id, format, rows, bytes, created_at. None where it is not complete."""
    asked = select(Upload).where(Upload.id == id, Upload.rows.is_not(None))
    found = (await connection.execute(asked)).mappings().one_or_none()
    return None if found is None else dict(found)


async def piece(connection: AsyncConnection, id: UUID, place: int) -> bytes | None:
    """The piece at that place, from 0; None behind the last one."""
    asked = select(UploadPiece.content).where(
        UploadPiece.upload_id == id, UploadPiece.place == place
    )
    return (await connection.execute(asked)).scalar_one_or_none()


async def pieces(connection: AsyncConnection, id: UUID) -> AsyncIterator[bytes]:
    """The bytes of a list, a piece at a time."""
    place = 0
    while (found := await piece(connection, id, place)) is not None:
        yield found
        place += 1
