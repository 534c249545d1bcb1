"""The content of a large object, read part by part and proven at its end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from adapters._storage import PART_BYTES, changed, mismatch
from tasks import _digests
from tasks._ends import End, Entry
from tasks._parallel import in_order

# Bytes of one large object in memory: what is read ahead, waits for its proof, and is being sent.
HOLDS = 8 * PART_BYTES
# Parts read ahead of those that are sent.
READ_AHEAD = 2
# What a bucket that was just asked about an object may know of it besides our own.
PROVEN_BY = ("crc32c", "md5")


@dataclass(frozen=True)
class Span:
    """A stretch of the content: the `number`th part, from 1."""

    number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Meter:
    """`take`: wait for leave to move so many bytes; `sent`: so many have arrived."""

    take: Callable[[int], Awaitable[None]]
    sent: Callable[[int], None]


@dataclass
class Reading:
    """The content of one entry, as it is read."""

    end: End
    entry: Entry
    meter: Meter
    expected: str | None
    """Its SHA-256, where it is known before."""
    parts: Sequence[str] = ()
    """The SHA-256 of each part, where the vendor is told them and refuses what is otherwise. Then
    no sum is taken here again, which for a large file takes as long as to send it. The price: with
    a server that does not check them (S3 does), a change since they were taken is found by what
    `stat` tells alone."""
    whole: bool = True
    """Whether all of it is read, so that its digests say something."""
    arrived: int = 0
    """Bytes of it that are at the target by now, also since an earlier run."""
    ahead: int = READ_AHEAD
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        told = () if self.expected else self.entry.digests
        name = next((name for name in PROVEN_BY if name in told), None)
        self._other = (name, _digests.new(name)) if name else None

    async def pieces(self, spans: Iterable[Span]) -> AsyncGenerator[tuple[Span, bytes]]:
        """The last is held back until all of them have proved to be what was announced, so that
        nothing half old and half new is ever complete."""
        held: tuple[Span, bytes] | None = None
        async for span, data in in_order(_each(spans), self._read, self.ahead):
            if not self.parts:
                await asyncio.to_thread(self._add, data)
            if held is not None:
                yield held
            held = span, data
        self._prove()
        if held is not None:
            yield held

    @property
    def sha256(self) -> str | None:
        return self.digest.hexdigest() if self.whole and not self.parts else self.expected

    def arrives(self, size: int) -> None:
        self.arrived += size
        self.meter.sent(size)

    async def _read(self, span: Span) -> tuple[Span, bytes]:
        await self.meter.take(span.size)
        starts = range(span.start, span.end, PART_BYTES)
        stretches = [await self._stretch(at, min(at + PART_BYTES, span.end)) for at in starts]
        return span, stretches[0] if len(stretches) == 1 else b"".join(stretches)

    async def _stretch(self, start: int, end: int) -> bytes:
        """No answer is longer than this, however large the parts of a huge object are."""
        data = (await self.end.read(self.entry, (start, end))).data
        if len(data) != end - start:
            raise changed()
        return data

    def _add(self, data: bytes) -> None:
        self.digest.update(data)
        if self._other:
            self._other[1].update(data)

    def _prove(self) -> None:
        if self.parts or not self.whole:
            return
        if self.expected and self.digest.hexdigest() != self.expected:
            raise changed() if self.end.place == "file" else mismatch()
        if self._other and self._other[1].hexdigest() != self.entry.digests[self._other[0]]:
            raise mismatch()


def spans(size: int, part_bytes: int, offset: int = 0) -> list[Span]:
    """`offset`: what has arrived, a multiple of `part_bytes`."""
    return [
        Span(start // part_bytes + 1, start, min(start + part_bytes, size))
        for start in range(offset, size, part_bytes)
    ]


async def _each(spans: Iterable[Span]) -> AsyncIterator[Span]:
    for span in spans:
        yield span
