"""Become one of ferryman's services: the same process, in the foreground."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ferryman._root import command, environment


def module(name: str, *words: str) -> NoReturn:
    """Become `python -m NAME WORDS…`. Raises NotInstalled."""
    become(["-m", name, *words])


def become(words: Sequence[str]) -> NoReturn:
    """Become Python with these words. Raises NotInstalled."""
    argv = command(*words)
    sys.stdout.flush()
    os.execve(argv[0], argv, environment())  # noqa: S606  # our own interpreter
