"""What each vendor's test file (`tests/adapters/test_<vendor>.py`) declares for the contract suite.

OPERATIONS: list[Operation]           every write that its adapter makes
WEBHOOKS: Webhooks                    how its webhooks are made; needed where it takes any
ENVIRONMENT: dict[str, str | None]    settings beside its secrets (None: absent); may be left out
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from adapters._base import Adapter, Delivery, Repeat, Unavailable, Unknown, VendorError, adapter
from adapters._http import HttpCall
from ferryman.policies import policies

ROOT = Path(__file__).resolve().parents[2]

# What an operation may put into its call. None of it may stay in a transcript.
SECRET = "planted-secret-of-the-contract"
ADDRESS = "planted.person@example.com"
METHOD = "pm_planted"
TEXT = "planted text"
PLANTED = (ADDRESS, METHOD, TEXT)


@dataclass(frozen=True)
class Operation:
    """A write of a vendor, and how its repeat is made harmless.

    `do` makes exactly one write, for the job `tests.adapters.doubles.JOB`.
    """

    name: str
    do: Callable[[HttpCall], Awaitable[object]]
    repeat: Repeat
    marks_itself: bool = True
    """Whether it marks the write; else its job does, once for many."""
    timed: bool = True
    """Whether the call's time limit holds for it; else a client of its own keeps another."""
    open: bool = False
    """Whether an address on plain http (an emulator) is asked without any credential."""
    aside: Mapping[str, bytes] = field(default_factory=dict)
    """What else may be asked on the way ("POST /v1/oauth2/token"), and what each time is answered:
    see `tests.faulty.answer`."""

    @property
    def in_doubt(self) -> tuple[type[VendorError], ...]:
        """What a lost answer may be called: where a repeat is harmless it is no more than that."""
        return (Unknown, Unavailable) if self.repeat is Repeat.NATURAL else (Unknown,)

    @property
    def on_500(self) -> type[VendorError]:
        return Unavailable if self.repeat in (Repeat.KEY, Repeat.NATURAL) else Unknown


class Sign(Protocol):
    """Makes the delivery of a body, as the vendor signs it; `age`: seconds since it did."""

    def __call__(self, body: bytes, *, age: float = 0) -> Delivery: ...


@dataclass(frozen=True)
class Secret:
    """One webhook secret, made anew each time. `value`: what the environment holds of it."""

    value: str
    sign: Sign
    hidden: str | None = None
    """What must not show in an error: the value, where it is a secret."""


@dataclass(frozen=True)
class Webhooks:
    """How a vendor's webhooks are made, from a body that the suite may change."""

    secret: Callable[[], Secret]
    body: bytes
    ids: tuple[str, ...]
    """Of the events within `body`, as the adapter tells them."""
    needs: tuple[str, ...]
    """The headers, in lower case, of which none may be missing or wrong."""
    tolerance: float | None = None
    """Seconds by which the signature's time may differ from now; None: it carries none."""
    around: Callable[[], AbstractContextManager[Mapping[str, str]]] = lambda: nullcontext({})
    """What must run meanwhile (a server of certificates), and the settings that it brings."""
    demands: tuple[str, ...] = ()
    """Settings beside the secrets without which the door is closed."""


class Vendor:
    """One vendor's part in the suite. Each of its accesses fails by the vendor's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def adapter(self) -> Adapter:
        assert (ROOT / f"adapters/{self.name}.py").exists(), (
            f"{self.name} has no adapter: adapters/{self.name}.py is missing"
        )
        return adapter(self.name)

    def kinds(self) -> tuple[str, ...]:
        assert self.name in policies(), (
            f"{self.name} has no settings table: [{self.name}] is missing in vendors.toml"
        )
        return policies()[self.name].kinds

    def tests(self) -> ModuleType:
        assert (ROOT / f"tests/adapters/test_{self.name}.py").exists(), (
            f"{self.name} has no tests: tests/adapters/test_{self.name}.py is missing"
        )
        return importlib.import_module(f"tests.adapters.test_{self.name}")

    def operations(self) -> list[Operation]:
        found: list[Operation] = getattr(self.tests(), "OPERATIONS", [])
        assert found or not self.kinds(), (
            f"{self.name} promises nothing: tests/adapters/test_{self.name}.py lacks OPERATIONS"
        )
        return found

    def webhooks(self) -> Webhooks | None:
        found: Webhooks | None = getattr(self.tests(), "WEBHOOKS", None)
        assert found or not self.adapter().webhook_secrets, (
            f"{self.name} promises nothing: tests/adapters/test_{self.name}.py lacks WEBHOOKS"
        )
        return found

    def environment(self) -> dict[str, str | None]:
        return {
            **dict.fromkeys(self.adapter().secrets, SECRET),
            **getattr(self.tests(), "ENVIRONMENT", {}),
        }

    def complete(self) -> None:
        """Raises AssertionError, with its name, where one of its parts is missing."""
        self.adapter(), self.kinds(), self.operations(), self.webhooks()


def vendors() -> list[Vendor]:
    """Every vendor that has an adapter or a settings table."""
    files = {path.stem for path in (ROOT / "adapters").glob("*.py")}
    named = {name for name in files if not name.startswith("_")} | set(policies())
    return [Vendor(name) for name in sorted(named)]


def complete() -> list[Vendor]:
    """Those of which nothing is missing: the others are named by a test of their own."""
    return [vendor for vendor in vendors() if _is_complete(vendor)]


def _is_complete(vendor: Vendor) -> bool:
    try:
        vendor.complete()
    except Exception:  # also whatever stops one of its files from being imported
        return False
    return True


def operations() -> list[Any]:
    """`(vendor, operation)` of all, to parametrize with."""
    return [(vendor, operation) for vendor in complete() for operation in vendor.operations()]
