"""A payment vendor reduced to its latency: the same for every contestant."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from urllib.parse import parse_qs

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LATENCY = float(os.environ.get("BENCH_LATENCY", "0.05"))
numbers = itertools.count(1)
served = 0


async def customers(request: Request) -> Response:
    return _answer({"id": "cus_bench", "object": "customer"})


async def payment_intents(request: Request) -> Response:
    global served  # noqa: PLW0603 - one process, one count
    form = parse_qs((await request.body()).decode())
    await asyncio.sleep(LATENCY)
    served += 1
    return _answer(
        {
            "id": f"pi_{next(numbers)}",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": int(form["amount"][0]),
            "currency": form["currency"][0],
            "created": int(time.time()),
        }
    )


async def count(request: Request) -> Response:
    return _answer({"served": served})


def _answer(body: dict[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


app = Starlette(
    routes=[
        Route("/v1/customers", customers, methods=["POST"]),
        Route("/v1/payment_intents", payment_intents, methods=["POST"]),
        Route("/served", count),
    ]
)
