"""The SHA-256 of a large file and of its parts, in one pass over it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from typing import Final

from adapters._storage import changed
from tasks._ends import Sums

# What is hashed at once: enough that to hand it over costs nothing beside it.
PIECE_BYTES: Final = 1024 * 1024


def sums_of(file: FileIO, size: int, part_bytes: int) -> Sums:
    """Of a file of that size, by two threads: each block is read once, and hashed for the whole
    beside its part. Raises Unavailable `source_changed` where it has another size."""
    whole, parts = hashlib.sha256(), [hashlib.sha256() for _ in range(0, size, part_bytes)]
    with ThreadPoolExecutor(1, "ferryman-sums") as beside:
        behind = None
        for number, block in _blocks(file, size, part_bytes):
            if behind is not None:
                # Two blocks are in memory at most, and a failure is not lost.
                behind.result()
            behind = beside.submit(parts[number].update, block)
            whole.update(block)
    if behind is not None:
        behind.result()
    return Sums(whole.hexdigest(), part_bytes, [part.hexdigest() for part in parts])


def _blocks(file: FileIO, size: int, part_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Each with the number of its part, from 0: none reaches into the next part."""
    at = 0
    while at < size:
        number = at // part_bytes
        block = file.read(min(PIECE_BYTES, (number + 1) * part_bytes - at, size - at))
        if not block:
            raise changed()
        yield number, block
        at += len(block)
    if file.read(1):
        raise changed()
