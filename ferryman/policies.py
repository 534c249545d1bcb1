"""A vendor's numbers: `vendors.toml`, overridden by the operator's environment."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ferryman._root import root
from ferryman.settings import settings

OVERRIDES = (
    "max_attempts",
    "backoff_seconds",
    "breaker_fail_max",
    "breaker_reset_seconds",
    "look_up_seconds",
    "rate_per_second",
    "action_seconds",
    "poll_seconds",
)


class Policy(BaseModel):
    """One vendor's table in `vendors.toml`, where each field is explained. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...]
    default: tuple[str, ...] = ()
    follows: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    timeout_seconds: float
    connect_seconds: float
    max_attempts: int
    backoff_seconds: float
    backoff_max_seconds: float
    retry_after_max_seconds: float
    throttle_max_seconds: float
    breaker_fail_max: int
    breaker_reset_seconds: float
    repeat_seconds: float
    repeat_seconds_of: dict[str, float] = {}
    action_seconds: float
    poll_seconds: float
    suppressions_seconds: float
    response_max_bytes: int
    rate_per_second: float
    rate_burst: int = Field(ge=1)
    max_in_flight: int
    look_up_seconds: float
    batch_size: int = 1
    batch_bytes: int = 1_000_000
    batch_in_flight: int = 0
    loads_in_flight: int = Field(4, ge=1)
    linger_seconds: float = 0.25
    concurrency: int = 1
    conditional_writes: bool = True
    fields: dict[str, str] = {}
    own_fields: tuple[str, ...] = ()
    id_field: str = ""
    day_ends: str = ""

    def repeats_for(self, step: str) -> float:
        """How long the vendor key of that step is trusted to dedupe."""
        return self.repeat_seconds_of.get(step, self.repeat_seconds)


@lru_cache
def policies() -> dict[str, Policy]:
    """Every vendor's policy by its name."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(Path(root() / "vendors.toml").read_text())
    defaults = tables.pop("defaults")
    given = settings().model_dump(include=set(OVERRIDES), exclude_none=True)
    return {name: Policy(**{**defaults, **table, **given}) for name, table in tables.items()}


def policy(vendor: str) -> Policy:
    """The policy of one vendor. Raises KeyError for a vendor without a table."""
    return policies()[vendor]


def reached(scheme: str) -> str:
    """The vendor whose addresses begin with `scheme://`. Raises KeyError where there is none."""
    for vendor, known in policies().items():
        if f"{scheme}://" in known.prefixes.values():
            return vendor
    raise KeyError(scheme)


def routes() -> list[dict[str, Any]]:
    """Rows of `ferryman.routes`: which vendors can do a kind, and what chooses one of them."""
    return [
        {
            "kind": kind,
            "vendor": vendor,
            "is_default": kind in policy.default,
            "follows": policy.follows.get(kind),
            "prefixes": policy.prefixes,
        }
        for vendor, policy in policies().items()
        for kind in policy.kinds
    ]
