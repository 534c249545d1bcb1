"""The Celery application: `celery -A worker worker` in the checkout is `ferryman worker`."""

from __future__ import annotations

import ssl
import sys
from typing import Any

from celery import Celery
from celery.signals import celeryd_init
from kombu.entity import Queue

from adapters._live import LiveKey, check_keys
from ferryman.policies import policies
from ferryman.settings import adopt_env_file, settings
from tasks._base import jobs
from worker.events import EventsStep
from worker.relay import RelayStep
from worker.task import task_for


def create() -> Celery:
    """An application with one task a kind and one queue a vendor."""
    made = Celery("ferryman")
    made.config_from_object("celeryconfig")
    made.conf.broker_url = url = settings().resolve_broker_url()
    if url.startswith(("redis://", "rediss://")):
        made.conf.broker_transport = "worker.transport:Transport"
    if url.startswith("rediss://"):
        made.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    made.conf.worker_concurrency = settings().concurrency
    made.conf.task_queues = [
        Queue(queue(vendor), routing_key=queue(vendor))  # type: ignore[no-untyped-call]
        for vendor in policies()
    ]
    for job in jobs():
        made.register_task(task_for(job))
    made.steps["worker"].add(RelayStep)
    made.steps["consumer"].add(EventsStep)
    return made


@celeryd_init.connect
def _begin(**_: Any) -> None:
    adopt_env_file()
    try:
        check_keys(production=settings().production)
    except LiveKey as error:
        print(f"ferryman: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def queue(vendor: str) -> str:
    """The name of a vendor's queue, a plain list in Redis."""
    return f"ferryman.{vendor}"


app = create()
