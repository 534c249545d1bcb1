"""Which end an address of a sync stands for."""

from __future__ import annotations

from typing import Any, cast

from adapters._storage import AS_THE_BUCKET, Manner, Storage
from ferryman import locations
from tasks._base import Attempt, Refusal
from tasks._bucket import BucketEnd
from tasks._ends import End
from tasks._folder import Folder


async def place(
    attempt: Attempt[Any], side: str, address: str, manner: Manner = AS_THE_BUCKET
) -> End:
    """`side`: the argument that holds the address, `source` or `destination`. Raises Refusal, which
    names the side, where it cannot be one."""
    location = locations.parse(address)
    if location.remote:
        try:
            adapter, call = await attempt.reach(location.scheme)
        except KeyError:
            message = f"{side}: there is no vendor that keeps {location.scheme}:// buckets"
            raise Refusal("not_supported", message) from None
        return BucketEnd(cast(Storage, adapter), call, location, side, manner)
    folder = Folder(location.path, attempt.id, target=side == "destination")
    await folder.check()
    return folder
