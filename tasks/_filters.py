"""Which keys a sync is about: what is left out is neither copied nor deleted, at both ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ferryman import globs

# Stands for all that may lie below a folder: only a pattern that means everything matches it.
ANYTHING = "\0/\0/\0"


class Filter:
    """Takes a key that any of `include` matches, or all where there is none of it, unless one of
    `exclude` matches it as well. The patterns are those of `ferryman.globs`, of keys below the
    end's root or prefix."""

    def __init__(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)

    def takes(self, key: str) -> bool:
        if self._include is not None and not self._include.fullmatch(key):
            return False
        return not self._leaves_out(key)

    def takes_below(self, folder: str) -> bool:
        """Whether any key below a folder, given with its slash, may be taken. Where nobody could
        see what lies in it, that decides: else what stands at the other end would look as if it had
        to go."""
        return not self._leaves_out(folder + ANYTHING)

    def _leaves_out(self, key: str) -> bool:
        return self._exclude is not None and self._exclude.fullmatch(key) is not None


def _compiled(patterns: Sequence[str] | None) -> re.Pattern[str] | None:
    return globs.compiled(patterns) if patterns else None
