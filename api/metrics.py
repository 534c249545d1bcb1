"""`/metrics`: the ledger's figures in Prometheus' text format, and this process's webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from adapters._base import adapter
from api import openapi
from api.doors import OUTCOMES
from api.ledger import Ledger
from ferryman.policies import policies
from models import metrics

router = APIRouter(tags=["health"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]
Figure = TypeVar("Figure")

FRESH_SECONDS = 1.0
# To count a million jobs takes the ledger 0.2 s, ten millions 2 s: so much of its time, at most.
SHARE = 0.04
COUNT_SECONDS = 60.0
# Then older figures must do; the count goes on.
PATIENCE_SECONDS = 2.0
BREAKER = {"closed": 0, "half-open": 1, "open": 2}
BOUNDS = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "+Inf")


class Text(PlainTextResponse):
    media_type = CONTENT_TYPE_LATEST


class Kept(Generic[Figure]):
    """A figure that is asked for again only when it is old, and by one request for all."""

    def __init__(self, ask: Callable[[], Awaitable[Figure]]) -> None:
        self._ask = ask
        self._figure: Figure | None = None
        self._good_until = 0.0
        self._asking: asyncio.Task[Figure] | None = None

    async def get(self) -> Figure:
        if self._figure is not None and time.monotonic() < self._good_until:
            return self._figure
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew())
            # Who asked may be gone by the time it fails; the next one asks anew.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._figure is None:
            return await asyncio.shield(self._asking)
        await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
        return self._asking.result() if self._asking.done() else self._figure

    async def _renew(self) -> Figure:
        begun = time.monotonic()
        self._figure = await self._ask()
        now = time.monotonic()
        self._good_until = now + max(FRESH_SECONDS, (now - begun) / SHARE)
        return self._figure


class Figures:
    """What one API process tells; two kinds of counts apart, since only one is urgent."""

    def __init__(self, ledger: Ledger, webhooks: Mapping[tuple[str, str], int]) -> None:
        self._ledger = ledger
        self._webhooks = webhooks
        self._open = Kept(partial(self._counts, metrics.OPEN))
        self._ended = Kept(partial(self._counts, metrics.ENDED))
        self._others = Kept(self._look)

    async def read(self) -> list[Metric]:
        counts = [*await self._open.get(), *await self._ended.get()]
        others = await self._others.get()
        return [*_of_jobs(counts), *others, _of_webhooks(self._webhooks)]

    async def _counts(self, statuses: tuple[str, ...]) -> list[Row]:
        return await self._ledger.run(
            lambda connection: metrics.jobs(connection, statuses), seconds=COUNT_SECONDS
        )

    async def _look(self) -> list[Metric]:
        until = time.monotonic() + PATIENCE_SECONDS
        while await self._ledger.run(metrics.add_up) and time.monotonic() < until:
            pass
        vendors = list(policies())
        oldest = await self._ledger.run(lambda connection: metrics.oldest(connection, vendors))
        states = await self._ledger.run(metrics.states)
        totals = await self._ledger.run(metrics.totals)
        return [_waits(oldest), *_of_vendors(states), _attempts(totals), _latency(totals)]


@router.get(
    "/metrics",
    response_class=Text,
    summary="Figures for Prometheus",
)
async def shown(request: Request) -> Text:
    """Needs the token like all the rest: Prometheus sends one with `authorization`. The figures
    are the ledger's, so every API process tells the same, but for the webhooks: each counts those
    that it has answered since its start."""
    figures: Figures = request.app.state.figures
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(await figures.read()))
    return Text(generate_latest(registry))


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_jobs(counts: list[Row]) -> list[Metric]:
    """A series for each pair that there may be, so that an empty queue is a 0 and not a gap."""
    found = {(row["status"], row["kind"], row["vendor"]): row["n"] for row in counts}
    unknown = dict.fromkeys(policies(), 0)
    for (status, _, vendor), n in found.items():
        if status == "unknown":
            unknown[vendor] = unknown.get(vendor, 0) + n
    for vendor, policy in policies().items():
        for kind in policy.kinds:
            for status in (*metrics.OPEN, *metrics.ENDED):
                found.setdefault((status, kind, vendor), 0)
    jobs = GaugeMetricFamily(
        "ferryman_jobs", "Jobs in the ledger", labels=("status", "kind", "vendor")
    )
    for labels in sorted(found):
        jobs.add_metric(labels, found[labels])
    return [
        jobs,
        _gauge("ferryman_unknown_jobs", "Jobs whose outcome nobody can tell yet", unknown),
    ]


def _waits(oldest: dict[str, float]) -> Metric:
    return _gauge(
        "ferryman_oldest_due_seconds", "How long the oldest due job has waited; 0: none", oldest
    )


def _of_vendors(states: dict[str, Row]) -> list[Metric]:
    breakers = dict.fromkeys(policies(), 0) | {
        vendor: BREAKER[state["breaker"]] for vendor, state in states.items()
    }
    left = {
        vendor: state["quota_remaining"]
        for vendor, state in states.items()
        if state["quota_remaining"] is not None
    }
    return [
        _gauge("ferryman_breaker_state", "0 closed, 1 half-open (probing), 2 open", breakers),
        _gauge("ferryman_quota_remaining", "Calls that the vendor's own window has left", left),
    ]


def _attempts(totals: list[Row]) -> Metric:
    made = CounterMetricFamily(
        "ferryman_attempts", "Attempts that ended, by their outcome", labels=("vendor", "outcome")
    )
    for row in totals:
        if row["metric"] == "attempts":
            made.add_metric((row["vendor"], row["label"]), row["n"])
    return made


def _latency(totals: list[Row]) -> Metric:
    made = HistogramMetricFamily(
        "ferryman_vendor_latency_seconds", "How long the vendor's calls took", labels=("vendor",)
    )
    rows = [row for row in totals if row["metric"] == "latency"]
    for vendor in sorted({row["vendor"] for row in rows}):
        own = {row["label"]: row for row in rows if row["vendor"] == vendor}
        buckets, n = [], 0
        for bound in BOUNDS:
            n += own[bound]["n"] if bound in own else 0
            buckets.append((bound, float(n)))
        made.add_metric((vendor,), buckets, sum(row["seconds"] for row in own.values()))
    return made


def _of_webhooks(counts: Mapping[tuple[str, str], int]) -> Metric:
    made = CounterMetricFamily(
        "ferryman_webhooks", "Webhooks answered, by their outcome", labels=("vendor", "outcome")
    )
    for vendor in policies():
        if adapter(vendor).webhook_secrets:
            for outcome in OUTCOMES:
                made.add_metric((vendor, outcome), counts.get((vendor, outcome), 0))
    return made


def _gauge(name: str, help: str, values: dict[str, Any]) -> Metric:
    made = GaugeMetricFamily(name, help, labels=("vendor",))
    for vendor, value in values.items():
        made.add_metric((vendor,), value)
    return made
