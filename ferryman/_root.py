"""Where are the service folders (`worker/`, `api/` …) and `vendors.toml`, and how is a service
started from there?"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from ferryman.errors import FerrymanError

PACKAGE = Path(__file__).resolve().parent


class NotInstalled(FerrymanError):
    """The services are not installed here: pip install 'ferryman[service]'"""


def root() -> Path:
    """The checkout's top, or, for an installed wheel, the folder that rides inside it."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "worker").is_dir() else PACKAGE / "_services"


def command(*words: str) -> list[str]:
    """`python WORDS…`, to be run with `environment()`. Raises NotInstalled."""
    if find_spec("celery") is None:
        raise NotInstalled
    return [sys.executable, *words]


def environment() -> dict[str, str]:
    """Ours, with the services' folder as the first place to import from."""
    path = [str(root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        # Or a folder named `tasks` where the user stands would be taken for ours.
        "PYTHONSAFEPATH": "1",
    }
