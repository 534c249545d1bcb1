"""Where the service folders (`worker/`, `api/` …) and `vendors.toml` are."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The checkout's top, or, for an installed wheel, the folder that rides inside it."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "worker").is_dir() else PACKAGE / "_services"
