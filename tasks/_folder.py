"""A local folder as one end of a sync. All file access is in threads, never on the loop."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from functools import partial
from io import FileIO
from itertools import islice
from typing import ClassVar, Final, TypeVar
from uuid import UUID

from adapters._storage import PART_BYTES, SHA256, Expect, Piece, Placed, changed, mismatch
from tasks import _digests
from tasks._ends import Entry, Incoming, Sums
from tasks._landing import Landing
from tasks._listing import Listing
from tasks._parallel import Together
from tasks._part_sums import sums_of
from tasks._rooted import Root, split, version_of
from tasks._temporary import Temporary

# Entries listed in one turn of a thread.
BATCH: Final = 500

# What is no larger is read in no time where the disk is quick: a thread takes many such files, one
# after the other. Where one takes longer than that each is waited for by itself, side by side.
SHORT_BYTES: Final = 256 * 1024
SLOW_SECONDS: Final = 0.005
# What is hashed at once.
PIECE_BYTES: Final = 1024 * 1024
TOGETHER: Final = Together()

Span = tuple[int, int]
Answer = TypeVar("Answer")


class Folder:
    """One folder with all below it. `job_id`: whose unfinished files its target may hold."""

    place: ClassVar[str] = "file"

    def __init__(self, path: str, job_id: UUID, *, target: bool) -> None:
        self._root = Root(path)
        self._temporary = Temporary(job_id)
        self._listing = Listing(self._root, self._temporary, target=target)
        self._target = target
        self._seconds = 0.0
        """That a short file takes, lately."""

    def name(self, key: str) -> str:
        return key

    async def check(self) -> None:
        """Raises Refusal when this folder cannot be what it is meant to be."""
        root = self._root
        await asyncio.to_thread(root.check_target if self._target else root.check_source)

    def overlaps(self, other: Folder) -> bool:
        """Whether one of the two lies within the other, which no address may tell."""
        return self._root.overlaps(other._root)

    async def entries(self, after: str = "") -> AsyncIterator[Sequence[Entry]]:
        with closing(self._listing.entries(after)) as walk:
            while batch := await asyncio.to_thread(list, islice(walk, BATCH)):
                yield batch

    async def look(self, entry: Entry) -> Entry | None:
        return await asyncio.to_thread(self._look, entry)

    async def digest(self, entry: Entry, algorithm: str) -> str | None:
        return await self._soon(entry, partial(self._digest, entry, algorithm))

    async def sums(self, entry: Entry, part_bytes: int) -> Sums:
        return await asyncio.to_thread(self._sums, entry, part_bytes)

    async def read(self, entry: Entry, span: Span | None = None) -> Piece:
        """The whole file is taken as it is now, which may not be as it was listed; spans are of the
        listed version alone. What changes while it is read is never taken for whole."""
        if span is None:
            return await self._soon(entry, partial(self._whole, entry))
        return Piece(await asyncio.to_thread(self._span, entry, span))

    async def attributes(self, entry: Entry) -> Mapping[str, str]:
        return _attributes(entry.key)

    async def write(
        self, key: str, data: bytes, attributes: Mapping[str, str], expect: Expect
    ) -> Placed:
        landing = Landing(self._root, key, self._temporary)
        return await asyncio.to_thread(_place, landing, data, attributes.get(SHA256), expect)

    @asynccontextmanager
    async def landing(self, key: str, expect: Expect) -> AsyncIterator[Incoming]:
        landing = Landing(self._root, key, self._temporary)
        try:
            await asyncio.to_thread(landing.open)
            yield _Incoming(landing, expect)
        finally:
            # Also when cancelled: a thread may still be writing, and closing waits for it.
            await asyncio.shield(asyncio.to_thread(landing.close))

    async def delete(self, doomed: Sequence[Entry]) -> Mapping[str, Exception]:
        return await asyncio.to_thread(self._delete, doomed)

    async def _soon(self, entry: Entry, work: Callable[[], Answer]) -> Answer:
        if entry.size > SHORT_BYTES:
            return await asyncio.to_thread(work)
        if self._seconds > SLOW_SECONDS:
            return await asyncio.to_thread(self._timed, work)
        return await TOGETHER.run(partial(self._timed, work))

    def _timed(self, work: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += (time.perf_counter() - began - self._seconds) / 8

    def _look(self, entry: Entry) -> Entry | None:
        path = entry.path or entry.key
        parts, _ = split(path)
        with suppress(FileNotFoundError), self._root.folder(parts) as folder:
            found = self._listing.entry(folder, path)
            return found and replace(found, key=entry.key, path=entry.path)
        return None

    def _delete(self, doomed: Sequence[Entry]) -> Mapping[str, Exception]:
        failed: dict[str, Exception] = {}
        for entry in doomed:
            try:
                self._root.remove(entry.key, entry.version)
            except Exception as error:  # each is told of its own file
                failed[entry.key] = error
        return failed

    def _digest(self, entry: Entry, algorithm: str) -> str:
        with self._open(entry) as file:
            before = _version(file)
            digest, left = _digests.new(algorithm), os.fstat(file.fileno()).st_size
            # The standard library's own way would make a buffer of 256 KiB for each small file.
            while piece := file.read(min(PIECE_BYTES, left + 1)):
                digest.update(piece)
                # A file that grows as fast as it is read would have no end.
                if (left := left - len(piece)) < 0:
                    raise changed()
            _check(file, before)
        return digest.hexdigest()

    def _sums(self, entry: Entry, part_bytes: int) -> Sums:
        with self._open(entry) as file:
            before = entry.version or _version(file)
            sums = sums_of(file, entry.size, part_bytes)
            _check(file, before)
        return sums

    def _whole(self, entry: Entry) -> Piece:
        with self._open(entry) as file:
            before = _version(file)
            # As large as it is, and a byte that tells whether it has grown.
            data = file.read(min(os.fstat(file.fileno()).st_size, PART_BYTES) + 1)
            _check(file, before)
        if len(data) > PART_BYTES:
            raise changed()
        return Piece(data, _attributes(entry.key) | {SHA256: hashlib.sha256(data).hexdigest()})

    def _span(self, entry: Entry, span: Span) -> bytes:
        with self._open(entry) as file:
            before = entry.version or _version(file)
            data = os.pread(file.fileno(), span[1] - span[0], span[0])
            _check(file, before)
        if len(data) != span[1] - span[0]:
            raise changed()
        return data

    def _open(self, entry: Entry) -> FileIO:
        try:
            return self._root.open(entry.path or entry.key)
        except FileNotFoundError as error:
            raise changed() from error


class _Incoming:
    def __init__(self, landing: Landing, expect: Expect) -> None:
        self._landing = landing
        self._expect = expect

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(self._landing.write, data)

    async def land(self, size: int, sha256: str | None) -> Placed:
        return await asyncio.to_thread(_land, self._landing, size, sha256, self._expect)


def _place(landing: Landing, data: bytes, sha256: str | None, expect: Expect) -> Placed:
    with closing(landing):
        landing.open()
        landing.write(data)
        return _land(landing, len(data), sha256, expect)


def _land(landing: Landing, size: int, sha256: str | None, expect: Expect) -> Placed:
    """Verify against what was announced, then take the place."""
    if landing.size != size or sha256 not in (None, landing.sha256):
        raise mismatch()
    version = landing.land(expect.version)
    return Placed(None, version, {"sha256": landing.sha256})


def _attributes(key: str) -> dict[str, str]:
    # Not as an address: `data:…` would name its own type.
    kind, encoding = mimetypes.guess_type(f"/{key}")
    return {"Content-Type": kind} if kind and not encoding else {}


def _version(file: FileIO) -> str:
    return version_of(os.fstat(file.fileno()))


def _check(file: FileIO, before: str) -> None:
    if _version(file) != before:
        raise changed()
