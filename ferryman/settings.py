"""Ferryman's own settings, from the environment or a `.env` file.

A vendor's secrets and base URL are not here: its adapter reads them by their customary names.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ferryman.errors import InvalidSetting, MissingSetting

STATE_FILE = "up.json"


class Settings(BaseSettings):
    """One field per `FERRYMAN_*` variable. None means: the default of `vendors.toml` holds."""

    model_config = SettingsConfigDict(env_prefix="FERRYMAN_", env_file=".env", extra="ignore")

    database_url: str | None = Field(None, description="plain postgresql://… of the ledger")
    database_direct_url: str | None = Field(
        None, description="past a PgBouncer: for LISTEN and migrations"
    )
    database_pool: int = Field(10, ge=3, description="connections of one API process")
    broker_url: str | None = Field(None, description="plain redis://… of Redis or Valkey")
    home: Path = Field(Path(".ferryman"), description="data folder of the embedded servers")
    env: str = Field("development", description="`production` allows live keys, nothing else does")
    url: str | None = Field(None, description="address of the HTTP API, for clients")
    api_token: str | None = Field(None, description="bearer tokens, comma-separated")
    public_url: str | None = Field(None, description="what vendors see, for signatures")
    concurrency: int = Field(200, ge=1, description="calls in flight in one worker process")
    lease_seconds: float = Field(30.0, gt=0, description="life of a worker's lease")
    grace_seconds: float = Field(25.0, ge=0, description="time for jobs in flight after SIGTERM")
    max_crashes: int = Field(3, ge=1, description="crashes until a job counts as poison")
    max_wait_seconds: float = Field(259_200.0, gt=0, description="longest wait past `run_at`")
    retention_days: float = Field(
        90.0, ge=0, description="what ended so long ago is removed; 0: nothing is"
    )
    relay_window: int = Field(1000, ge=1, description="messages in one vendor's queue")
    max_attempts: int | None = Field(None, ge=1)
    backoff_seconds: float | None = Field(None, gt=0)
    breaker_fail_max: int | None = Field(None, ge=1)
    breaker_reset_seconds: float | None = Field(None, gt=0)
    rate_per_second: float | None = Field(None, ge=0, description="of every vendor; 0: no rate")
    look_up_seconds: float | None = Field(None, gt=0)
    action_seconds: float | None = Field(None, gt=0)
    poll_seconds: float | None = Field(None, ge=0, description="between event polls; 0: none")
    api_rate: float = Field(1000, ge=0, description="requests a second of one token; 0: no limit")

    @property
    def production(self) -> bool:
        return self.env == "production"

    def tokens(self) -> list[str]:
        """The API's bearer tokens; several while they are rotated."""
        return [token.strip() for token in (self.api_token or "").split(",") if token.strip()]

    def running(self) -> dict[str, Any] | None:
        """What a living `ferryman up` wrote into the home folder, or None."""
        if self.production:
            return None
        try:
            state: dict[str, Any] = json.loads((self.home / STATE_FILE).read_text())
        except (OSError, ValueError):
            return None
        return state if alive(int(state.get("pid", 0))) else None

    def resolve_database_url(self) -> str:
        """The ledger's URL. Raises MissingSetting when there is none to be had."""
        return self._resolve(self.database_url, "database_url", "FERRYMAN_DATABASE_URL")

    def resolve_broker_url(self) -> str:
        """The broker's URL. Raises MissingSetting when there is none to be had."""
        return self._resolve(self.broker_url, "broker_url", "FERRYMAN_BROKER_URL")

    def _resolve(self, given: str | None, name: str, variable: str) -> str:
        if given:
            return given
        state = self.running()
        if state is None:
            raise MissingSetting(
                variable,
                "production needs it"
                if self.production
                else f"set it, or start `ferryman up` (looked for in {self.home})",
            )
        return str(state[name])


def adopt_env_file() -> None:
    """Bring `.env` into this process's environment, below what is set there already: adapters read
    their vendors' secrets from it. For service processes; a library leaves its host's alone."""
    from dotenv import load_dotenv

    load_dotenv(Settings.model_config.get("env_file"))  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Whether the process runs. One in state Z is dead, though it can still be signalled."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises InvalidSetting naming the first variable that has no good value.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = error.errors(include_input=False)[0]
        variable = f"FERRYMAN_{str(found['loc'][0]).upper()}"
        raise InvalidSetting(variable, f"is not acceptable: {found['msg']}") from None
