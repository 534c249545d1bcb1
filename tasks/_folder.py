"""A local folder as one end of a sync. All file access is in threads, never on the loop."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import BufferedReader
from typing import Final
from uuid import UUID

from adapters._base import Unavailable
from adapters._storage import PART_BYTES, SHA256, Content, mismatch
from tasks import _digests
from tasks._ends import Entry, Proof, Unsyncable, Written
from tasks._rooted import Landing, Root

# Entries listed in one turn of a thread.
BATCH: Final = 500
TEMPORARY = re.compile(r"\.(?P<job>[0-9a-f]{32})\.(?P<run>[0-9a-f]{12})-\d+\.ferryman")


class Folder:
    """One folder with all below it."""

    def __init__(self, path: str, job_id: UUID, *, target: bool) -> None:
        self._root = Root(path)
        self._job = job_id.hex
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._target = target

    async def check(self) -> None:
        """Raises Refusal when this folder cannot be what it is meant to be."""
        root = self._root
        await asyncio.to_thread(root.check_target if self._target else root.check_source)

    async def entries(self) -> AsyncIterator[Entry]:
        walk = self._walk((), "")
        while batch := await asyncio.to_thread(list, itertools.islice(walk, BATCH)):
            for entry in batch:
                yield entry

    async def matches(self, entry: Entry, proof: Proof) -> bool:
        known = {"sha256": proof.sha256, "md5": proof.md5, "crc32c": proof.crc32c}
        # The first that is known is the strongest.
        name, digest = next(((n, d) for n, d in known.items() if d), ("", ""))
        return bool(name) and await asyncio.to_thread(self._digest, entry, name) == digest

    async def read(self, entry: Entry) -> Content:
        """The file's content; what changes while it is read is never taken for whole."""
        if entry.size <= PART_BYTES:
            data = await asyncio.to_thread(self._whole, entry)
            digest = hashlib.sha256(data).hexdigest()
            return Content(len(data), data, _attributes(entry.key, digest))
        digest = await asyncio.to_thread(self._digest, entry, "sha256")
        return Content(entry.size, self._parts(entry, digest), _attributes(entry.key, digest))

    async def write(self, key: str, content: Content) -> Written:
        if isinstance(content.data, bytes):
            return await asyncio.to_thread(self._land, key, content.data, content)
        landing = await asyncio.to_thread(Landing, self._root, key, self._temporary())
        try:
            async for chunk in content.data:
                await asyncio.to_thread(landing.write, chunk)
            return await asyncio.to_thread(_land, landing, content)
        finally:
            # Also when cancelled: a thread may still be writing, and closing waits for it.
            await asyncio.shield(asyncio.to_thread(landing.__exit__))

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._root.remove, key)

    def _walk(self, parts: tuple[str, ...], prefix: str) -> Iterator[Entry]:
        try:
            with self._root.folder(parts) as folder, os.scandir(folder) as scan:
                for found in sorted(scan, key=_order):
                    if found.is_dir(follow_symlinks=False):
                        yield from self._walk((*parts, found.name), f"{prefix}{found.name}/")
                    elif mark := TEMPORARY.fullmatch(found.name):
                        self._clear(folder, mark)
                    else:
                        yield from self._entry(found, prefix + found.name)
        except FileNotFoundError:
            return  # gone since its parent was listed, or a target that is yet to be made
        except (PermissionError, Unsyncable):
            yield Entry(prefix.rstrip("/"), problem="the folder cannot be read")

    def _entry(self, found: os.DirEntry[str], key: str) -> Iterator[Entry]:
        with suppress(FileNotFoundError):
            path = self._behind(key) if found.is_symlink() else key
            if path is None:
                yield Entry(key, problem="a link that is not followed")
                return
            status = os.stat(os.path.join(self._root.path, path), follow_symlinks=False)
            problem = None if stat.S_ISREG(status.st_mode) else "it is not a regular file"
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            yield Entry(key, status.st_size, modified, problem=problem, path=path)

    def _behind(self, key: str) -> str | None:
        """The file a link leads to, if it lies below the root. At a target none is followed."""
        root = self._root.path
        with suppress(OSError):
            real = os.path.realpath(os.path.join(root, key), strict=True)
            if not self._target and real.startswith(f"{root}/") and os.path.isfile(real):
                return os.path.relpath(real, root)
        return None

    def _clear(self, folder: int, mark: re.Match[str]) -> None:
        """Remove what an earlier run of this job, killed on its way, left at the target."""
        if self._target and mark["job"] == self._job and mark["run"] != self._run:
            with suppress(FileNotFoundError):
                os.unlink(mark[0], dir_fd=folder)

    def _digest(self, entry: Entry, algorithm: str) -> str:
        with self._open(entry) as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, lambda: _digests.new(algorithm))
            _compare(before, file)
        return digest.hexdigest()

    def _whole(self, entry: Entry) -> bytes:
        with self._open(entry) as file:
            before = os.fstat(file.fileno())
            data = file.read(PART_BYTES + 1)
            _compare(before, file)
        if len(data) > PART_BYTES:
            raise _changed()
        return data

    def _open(self, entry: Entry) -> BufferedReader:
        try:
            return self._root.open(entry.path or entry.key)
        except FileNotFoundError as error:
            raise _changed() from error

    async def _parts(self, entry: Entry, expected: str) -> AsyncIterator[bytes]:
        """The last part is held back until all of them have proved to be what was announced."""
        digest, left = hashlib.sha256(), entry.size
        file = await asyncio.to_thread(self._open, entry)
        with file:
            ahead = await asyncio.to_thread(_next, file, digest)
            while part := ahead:
                left -= len(part)
                ahead = await asyncio.to_thread(_next, file, digest)
                # A file that grows as fast as it is read would have no end.
                if left < len(ahead) or (not ahead and (left, digest.hexdigest()) != (0, expected)):
                    raise _changed()
                yield part

    def _land(self, key: str, data: bytes, content: Content) -> Written:
        with Landing(self._root, key, self._temporary()) as landing:
            landing.write(data)
            return _land(landing, content)

    def _temporary(self) -> str:
        return f".{self._job}.{self._run}-{next(self._numbers)}.ferryman"


def _land(landing: Landing, content: Content) -> Written:
    """Verify against what the bucket announced, then take the place."""
    announced = content.attributes.get(SHA256)
    if landing.size != content.size or announced not in (None, landing.sha256):
        raise mismatch()
    landing.land()
    return Written(None, landing.sha256)


def _order(found: os.DirEntry[str]) -> bytes:
    """A folder stands where the keys below it do: `a.txt` comes before `a/b`."""
    return os.fsencode(found.name) + (b"/" if found.is_dir(follow_symlinks=False) else b"")


def _attributes(key: str, sha256: str) -> dict[str, str]:
    kind, encoding = mimetypes.guess_type(key)
    known = {"Content-Type": kind} if kind and not encoding else {}
    return known | {SHA256: sha256}


def _next(file: BufferedReader, digest: hashlib._Hash) -> bytes:
    part = file.read(PART_BYTES)
    digest.update(part)
    return part


def _compare(before: os.stat_result, file: BufferedReader) -> None:
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed()


def _changed() -> Unavailable:
    return Unavailable("a file changed since it was listed", code="source_changed")
