"""The checksums by which a file is compared with an object: hashlib's, and CRC32C."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from google_crc32c import Checksum

if TYPE_CHECKING:
    from hashlib import _Hash


class Crc32c:
    """What Cloud Storage tells of every object, in the shape of hashlib's own."""

    def __init__(self) -> None:
        self._checksum = Checksum()

    def update(self, data: memoryview) -> None:
        self._checksum.update(bytes(data))

    def hexdigest(self) -> str:
        return str(self._checksum.digest().hex())


def new(algorithm: str) -> _Hash:
    if algorithm == "crc32c":
        return cast("_Hash", Crc32c())
    return hashlib.new(algorithm, usedforsecurity=False)
