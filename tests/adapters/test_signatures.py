"""What the verification of webhooks has in common, with whatever a stranger may send."""

from __future__ import annotations

import time

import pytest

from adapters import _signatures
from adapters._base import Forged, NoEvent


@pytest.mark.parametrize("header", ["", " 1", "1 ", "+1", "-1", "1.0", "1e3", "\u0661", "9" * 12])
def test_seconds_are_plain_digits(header: str) -> None:
    with pytest.raises(Forged):
        _signatures.seconds(header)
    assert _signatures.seconds("1795556943") == 1795556943


@pytest.mark.parametrize(
    ("given", "ours", "same"),
    [
        ("abc", "abc", True),
        ("abc", "abd", False),
        ("", "abc", False),
        ("\u00fc\ud800", "abc", False),
    ],
)
def test_equal(given: str, ours: str, same: bool) -> None:
    assert _signatures.equal(given, ours) is same


def test_timely() -> None:
    _signatures.timely(time.time() - 299, 300)
    _signatures.timely(time.time() + 299, 300)
    with pytest.raises(Forged, match="too old"):
        _signatures.timely(time.time() - 301, 300)
    with pytest.raises(Forged, match="to come"):
        _signatures.timely(time.time() + 301, 300)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"1e999", b'"\\ud800"', b"\xff", b"[" * 999])
def test_what_is_no_document(body: bytes) -> None:
    with pytest.raises(NoEvent):
        _signatures.document(body)


@pytest.mark.parametrize("found", [None, 1, "", "a\0b", "a\nb", "x" * 201, ["evt_1"]])
def test_what_is_no_id(found: object) -> None:
    with pytest.raises(NoEvent):
        _signatures.event_id(found)
    assert _signatures.event_id("x" * 200) == "x" * 200
