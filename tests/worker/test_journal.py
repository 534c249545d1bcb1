"""What is sent again is what was sent, and no more of it is shown than then."""

from __future__ import annotations

import gzip

import pytest

from adapters._base import Repeat, Request
from worker.journal import _restored, _stored

PATHS = "https://api.example.com/v1", "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "body", [b'{"a":1}', b"", "gr\u00fc\u00dfe".encode(), b"\0", gzip.compress(b"x", mtime=0)]
)
@pytest.mark.parametrize("opaque", [True, False])
def test_a_stored_request_is_restored(body: bytes, opaque: bool) -> None:
    first = Request("PATCH", PATHS[0], {"Content-Type": "x"}, body, opaque=opaque)
    newer = Request("POST", PATHS[1], {}, b"newer", opaque=opaque)

    again = _restored(_stored(first, Repeat.NATURAL), newer)

    # At the address of today.
    assert again == Request("PATCH", PATHS[1], {"Content-Type": "x"}, body, opaque=opaque)
