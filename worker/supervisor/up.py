"""What `ferryman up` runs: migrations, the fake vendors, worker, API and Flower."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ferryman._root import root
from ferryman.policies import policies
from worker.supervisor.ports import LOOPBACK
from worker.supervisor.processes import Process
from worker.supervisor.readiness import http_answers, listens

# How much longer than its own grace a worker gets, to write down how its jobs ended.
MARGIN_SECONDS = 5.0
# The one that the fake S3 begins with.
BUCKET = "backup"
# No credential, but a choice of the application.
KEPT = ("FROM_EMAIL",)
# A port where nothing listens.
NOBODY = f"http://{LOOPBACK}:1"
S3_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_REGION": "us-east-1",
}


@dataclass(frozen=True)
class Addresses:
    """Which loopback port each service has; None for what does not run."""

    api: int
    flower: int
    sandbox: int | None = None
    s3: int | None = None

    @staticmethod
    def url(port: int | None) -> str | None:
        return None if port is None else f"http://{LOOPBACK}:{port}"


def vendor_environment(
    home: Path, addresses: Addresses, given: Mapping[str, str]
) -> dict[str, str]:
    """What points the adapters at the fake vendors, whatever was `given`: a real key has no
    business at a fake, which may not know it either. A sender's address alone is kept."""
    if addresses.sandbox is None or addresses.s3 is None:
        return {}
    from sandbox.state import fakes

    # Of a vendor without a fake none is reached either.
    made = {f"{name.upper()}_BASE_URL": NOBODY for name in policies()}
    made |= S3_CREDENTIALS | {"S3_BASE_URL": f"{addresses.url(addresses.s3)}"}
    for name, fake in fakes().items():
        made[f"{name.upper()}_BASE_URL"] = f"{addresses.url(addresses.sandbox)}/{name}"
        made |= {**fake.environment, **fake.webhook_environment(_sandbox_folder(home))}
    return {name: value for name, value in made.items() if name not in KEPT or not given.get(name)}


def public_environment(addresses: Addresses, given: Mapping[str, str]) -> dict[str, str]:
    """Where payers come back to, and vendors call: the API on this machine, unless `given`."""
    if addresses.sandbox is None or given.get("FERRYMAN_PUBLIC_URL"):
        return {}
    return {"FERRYMAN_PUBLIC_URL": f"{addresses.url(addresses.api)}"}


def _sandbox_folder(home: Path) -> Path:
    """Where the sandbox keeps files for the others: PayPal's root certificate."""
    return home / "sandbox"


def service_environment(
    home: Path, database_url: str, broker_url: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of every service: ours, `extra`, and where the servers are."""
    path = [str(root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **extra,
        "FERRYMAN_HOME": str(home),
        "FERRYMAN_DATABASE_URL": database_url,
        "FERRYMAN_BROKER_URL": broker_url,
        "PYTHONPATH": os.pathsep.join(path),
        # Or a folder named `tasks` where the user stands would be taken for ours.
        "PYTHONSAFEPATH": "1",
        # Otherwise a line shows up when 8 KiB are full.
        "PYTHONUNBUFFERED": "1",
    }


def services(
    home: Path, addresses: Addresses, env: dict[str, str], grace_seconds: float
) -> list[list[Process]]:
    """The stages above the servers. `grace_seconds` is the worker's own."""
    migrate = Process(name="migrate", argv=_python("models.migrate"), env=env, once=True)
    fakes = list(_fakes(home, addresses, env))
    api = Process(
        name="api",
        argv=_python("api", "--host", LOOPBACK, "--port", str(addresses.api)),
        env=env,
        ready=partial(http_answers, addresses.api, "/healthz"),
    )
    worker = _worker(home, env, grace_seconds + MARGIN_SECONDS)
    return [[migrate, *fakes], [worker, api], [_flower(home, addresses.flower, env)]]


def _python(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def _worker(home: Path, env: dict[str, str], grace_seconds: float) -> Process:
    # The worker makes this file once it consumes.
    ready = home / "worker.ready"
    ready.unlink(missing_ok=True)
    return Process(
        name="worker",
        argv=_python("worker"),
        env={**env, "FERRYMAN_READY_FILE": str(ready)},
        ready=ready.exists,
        grace_seconds=grace_seconds,
    )


def _fakes(home: Path, addresses: Addresses, env: dict[str, str]) -> Iterator[Process]:
    if addresses.sandbox is not None:
        words = (
            *("--port", str(addresses.sandbox)),
            *("--state", str(home / "sandbox.json")),
            *("--folder", str(_sandbox_folder(home))),
            *("--webhooks", f"{addresses.url(addresses.api)}/webhooks"),
        )
        yield Process(
            name="sandbox",
            argv=_python("sandbox", *words),
            env=env,
            ready=partial(listens, addresses.sandbox),
        )
    if addresses.s3 is not None:
        yield Process(
            name="s3",
            argv=_python("moto.server", "-H", LOOPBACK, "-p", str(addresses.s3)),
            env=env,
            # Ready with a bucket in it: the fake forgets all when it ends.
            ready=partial(http_answers, addresses.s3, f"/{BUCKET}", "PUT"),
            show=False,  # a line for every request
        )


def _flower(home: Path, port: int, env: dict[str, str]) -> Process:
    """Started last: a Flower that is there before the worker misses its first events."""
    options = [
        f"--address={LOOPBACK}",
        f"--port={port}",
        "--read-only",
        "--persistent",
        f"--db={home / 'flower'}",
        "--max-tasks=10000",
        "--purge-offline-workers=600",
    ]
    return Process(
        name="flower",
        argv=_python("celery", "-A", "worker", "flower", *options),
        env=env,
        cwd=root(),  # Celery looks for `worker` where it stands before anywhere else
        ready=partial(http_answers, port, "/healthcheck"),
    )
