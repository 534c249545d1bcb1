"""How many parts is a text sent in? GSM 03.38 where all its characters are in there, else UCS-2.

Facts: https://www.twilio.com/docs/glossary/what-sms-character-limit
"""

PLAIN = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Each of these is an escape and a character.
ESCAPED = frozenset("\f^{}\\[~]|€")
GSM = 160, 153
UCS2 = 70, 67


def count(text: str) -> int:
    """The parts; one that is alone has room for more, since it needs no number."""
    is_gsm = set(text) <= PLAIN | ESCAPED
    alone, each = GSM if is_gsm else UCS2
    widths = [(2 if c in ESCAPED else 1) if is_gsm else (2 if c > "\uffff" else 1) for c in text]
    if sum(widths) <= alone:
        return 1
    parts, room = 1, each
    for width in widths:
        # No character is cut in two.
        if width > room:
            parts, room = parts + 1, each
        room -= width
    return parts
