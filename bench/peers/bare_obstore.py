"""A script with obstore: lists, compares sizes, puts. It has no ledger, no retries, and no proof of
what arrived; a file of the same size counts as the same."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from obstore.store import S3Store

from bench.sync import AT_ONCE, PREFIX, Run, command

PART = 8 * 1024 * 1024


def run(folder: Path, url: str, bucket: str) -> Run:
    return command([sys.executable, "-m", __name__, str(folder), url, bucket], {})


def files(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """Path, key and size of each."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            yield path, f"{PREFIX}/{path.relative_to(folder)}", path.stat().st_size


async def sync(folder: Path, url: str, bucket: str) -> None:
    store = S3Store(
        bucket,
        endpoint=url,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    there = {str(found["path"]): found["size"] for page in store.list(PREFIX) for found in page}
    free = asyncio.Semaphore(AT_ONCE)

    async def put(path: Path, key: str, size: int) -> None:
        async with free:
            if size > PART:
                await store.put_async(key, path, chunk_size=PART, max_concurrency=AT_ONCE)
            else:
                await store.put_async(key, await asyncio.to_thread(path.read_bytes))

    async with asyncio.TaskGroup() as group:
        for path, key, size in files(folder):
            if there.get(key) != size:
                group.create_task(put(path, key, size))


if __name__ == "__main__":
    asyncio.run(sync(Path(sys.argv[1]), *sys.argv[2:]))
