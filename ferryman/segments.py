"""How many segments a text message is billed as: an estimate, since the vendor decides.

A message whose letters all stand in the GSM alphabet (3GPP TS 23.038, section 6.2.1) has 160 of
them; any other letter makes it UCS-2, which has 70. In several segments each gives some room to the
number that joins them again.
"""

from __future__ import annotations

# The first table, and the one whose letters take the escape in front of them. Backticks, curly
# quotes and most accents stand in neither.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "\f^{}\\[~]|€"
_SEPTETS = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENDED, 2)

_ALONE, _JOINED = 160, 153
_ALONE_UCS2, _JOINED_UCS2 = 70, 67
_LAST_OF_ONE_UNIT = "\uffff"


def segments(body: str) -> int:
    """Of how many segments the message will be, at least one."""
    sizes = [_SEPTETS.get(letter, 0) for letter in body]
    if all(sizes):
        return 1 if sum(sizes) <= _ALONE else _joined(sizes, _JOINED)
    units = [1 if letter <= _LAST_OF_ONE_UNIT else 2 for letter in body]
    return 1 if sum(units) <= _ALONE_UCS2 else _joined(units, _JOINED_UCS2)


def _joined(sizes: list[int], room: int) -> int:
    """No letter stands half in one segment and half in the next."""
    count, left = 1, room
    for size in sizes:
        if size > left:
            count, left = count + 1, room
        left -= size
    return count
