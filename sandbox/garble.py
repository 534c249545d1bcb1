"""What may stand in an answer that no client expects? Bodies that break parsers and databases."""

import json
from collections.abc import Callable
from typing import Any

HTML = b"<html><body>Bad gateway</body></html>"
NUL = "before\0after"
HALF_A_PAIR = "before\ud800after"
"""One half of a surrogate pair: JSON can write it, UTF-8 cannot."""


def _with_text(body: bytes, text: str) -> bytes:
    """The answer, still JSON and still true, with `text` in its messages and in a `note`."""
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        document = {}
    return json.dumps(_spoken(document, text) | {"note": text}).encode()


def _spoken(value: Any, text: str) -> Any:
    match value:
        case dict():
            return {
                name: text if name in ("message", "description") else _spoken(inner, text)
                for name, inner in value.items()
            }
        case list():
            return [_spoken(inner, text) for inner in value]
        case _:
            return value


def _in_the_middle(body: bytes, intruder: bytes) -> bytes:
    place = len(body) // 2
    return body[:place] + intruder + body[place:]


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda body: HTML,
    "invalid_utf8": lambda body: _in_the_middle(body, b"\xff\xfe"),
    "nul_bytes": lambda body: _in_the_middle(body, b"\0\0"),
    "nul_escapes": lambda body: _with_text(body, NUL),
    "surrogates": lambda body: _with_text(body, HALF_A_PAIR),
}
"""From the vendor's own body to what is sent in its place."""
