"""Become one of ferryman's services: the same process, in the foreground."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from ferryman._root import root
from ferryman.errors import FerrymanError


class NotInstalled(FerrymanError):
    """The services are not installed here: pip install 'ferryman[service]'"""


def module(name: str, *words: str) -> NoReturn:
    """Become `python -m NAME WORDS…`. Raises NotInstalled."""
    become(["-m", name, *words])


def become(words: Sequence[str]) -> NoReturn:
    """Become Python with these words. Raises NotInstalled."""
    if find_spec("celery") is None:
        raise NotInstalled
    argv = [sys.executable, *words]
    sys.stdout.flush()
    os.execve(argv[0], argv, environment())  # noqa: S606  # our own interpreter


def environment() -> dict[str, str]:
    """Ours, with the services' folder as the first place to import from."""
    path = [str(root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        # Or a folder named `tasks` where the user stands would be taken for ours.
        "PYTHONSAFEPATH": "1",
    }
