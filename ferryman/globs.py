"""Patterns of keys, as in a shell or a .gitignore: `*` and `?` within a part, `**` across parts.

A pattern without a slash is one of the last part, however deep; any other is one of the whole key.
One that ends in a slash means all that lies below such a folder. No library's: a dozen stars keep
pathspec busy for hours, and a pattern comes from whoever may enqueue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_TOKENS = re.compile(
    r"(?P<deep>(?:^|(?<=/))\*\*/|\*\*)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<set>[!^]?\]?[^\]/]*)\]|(?P<open>\[)|(?P<plain>.)",
    re.DOTALL,
)
_DEEP, _STAR, _ONE = "deep", "star", "one"
_WRITTEN = {"**/": "(?:.*?/)??", "**": ".*?", "*": "[^/]*?", "?": "[^/]"}
_Token = tuple[str, str]
"""What kind it is, and its regular expression."""


def check(pattern: str) -> None:
    """Raises ValueError saying what is wrong with it."""
    _expression(pattern)


def compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """What matches a key, wholly, that any of these patterns does."""
    joined = "|".join(_expression(pattern) for pattern in patterns)
    return re.compile(joined, re.DOTALL)


def _expression(pattern: str) -> str:
    if pattern.startswith("/"):
        raise ValueError("must not begin with a slash: keys do not")
    if "\0" in pattern:
        raise ValueError("must not contain NUL")
    whole = f"{pattern}**" if pattern.endswith("/") else pattern
    if "/" not in pattern.removesuffix("/"):
        whole = f"**/{whole}"
    tokens = [_token(found) for found in _TOKENS.finditer(whole)]
    made = _sequence(tokens, (_DEEP, _STAR), last=True)
    try:
        re.compile(made)
    except re.error:
        raise ValueError("has a set in brackets that cannot be read") from None
    return made


def _sequence(tokens: Sequence[_Token], kinds: Sequence[str], *, last: bool) -> str:
    """What lies between two wildcards of a kind is taken at the first place that fits, and at no
    other: the second one can stand for whatever is left out by that. Else a dozen stars would take
    hours with a key that they do not match."""
    if not kinds:
        return "".join(written for _, written in tokens)
    pieces: list[list[_Token]] = [[]]
    for token in tokens:
        if token[0] == kinds[0]:
            pieces.append([])
        pieces[-1].append(token)
    made = [_piece(piece, kinds, last=last and piece is pieces[-1]) for piece in pieces]
    return "".join(made)


def _piece(piece: Sequence[_Token], kinds: Sequence[str], *, last: bool) -> str:
    if not piece or piece[0][0] != kinds[0]:
        return _sequence(piece, kinds[1:], last=last)
    written = piece[0][1] + _sequence(piece[1:], kinds[1:], last=last)
    return written if last else f"(?>{written})"


def _token(found: re.Match[str]) -> _Token:
    if found["open"]:
        raise ValueError("has a `[` without its `]`")
    if (inner := found["set"]) is not None:
        return _ONE, _set(inner)
    kind = next((name for name in (_DEEP, _STAR, _ONE) if found[name]), _ONE)
    return kind, _WRITTEN[found[0]] if not found["plain"] else re.escape(found["plain"])


def _set(inner: str) -> str:
    negated = inner[:1] in ("!", "^")
    members = inner[1:] if negated else inner
    if not members:
        raise ValueError("has an empty set in brackets")
    escaped = re.sub(r"[\\\[\]&~|^]", lambda one: f"\\{one[0]}", members)
    return f"[^/{escaped}]" if negated else f"(?!/)[{escaped}]"
