"""What a text message will be billed as."""

from __future__ import annotations

import pytest

from ferryman.segments import segments

EMOJI = "\N{PARTY POPPER}"
QUOTE = "\N{RIGHT SINGLE QUOTATION MARK}"
COMBINED = "e\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1600, 11),
        # Letters of the GSM alphabet beyond ASCII cost no more than others.
        ("ÄÖÜäöüßñàéèùìòÇØøÅåÆæÉΔΦΓΛΩΠΨΣΘΞ£¥§¿¡¤" * 4, 1),
        ("@$_\n\r" * 32, 1),
        # Those with an escape take two places.
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        ("^{}\\[~]|€\f" * 8, 1),
        # One that would be cut at the border goes over it whole.
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        # Any other letter turns all of them into UCS-2.
        ("ą" * 70, 1),
        ("ą" + "a" * 70, 2),
        ("ą" * 134, 2),
        ("ą" * 135, 3),
        ("`" + "a" * 70, 2),
        (QUOTE + "a" * 69, 1),
        ("ç" + "a" * 70, 2),
        (COMBINED * 35, 1),
        (COMBINED * 35 + "e", 2),
        # Beyond the first plane a letter takes two units, which stay together.
        (EMOJI * 35, 1),
        (EMOJI * 36, 2),
        (EMOJI * 66, 2),
        (EMOJI * 67, 3),
    ],
)
def test_segments(body: str, count: int) -> None:
    assert segments(body) == count
