"""For tests of applications: the fake vendors in a process of their own.

`with running() as sandbox:` starts them; the pytest plugin (`ferryman.testing.plugin`) has them
as the fixture `ferryman_sandbox`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferryman.testing.sandbox import Sandbox, running

__all__ = ["Sandbox", "running"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: pytest imports this package with the plugin, in every project.
    if name in __all__:
        return getattr(import_module("ferryman.testing.sandbox"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
