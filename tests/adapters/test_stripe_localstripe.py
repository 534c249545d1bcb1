"""Stripe's adapter against the fake that others wrote: no proof of idempotency, but a second
opinion on requests."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from adapters._base import Request, Response
from adapters._http import Client, HttpCall
from adapters._payments import ChargeOrder, Known, RefundOrder
from adapters.stripe import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.stripe_double import KEY, kept_nothing


@pytest.fixture
def localstripe() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("localstripe"), "--port", str(port), "--from-scratch"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            assert process.poll() is None
            try:
                httpx.get(f"{url}/v1/customers", auth=(KEY, ""))
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


class Older(Client):
    """localstripe is older than these parameters, and refuses what it does not know."""

    async def send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        kept = [
            part
            for part in request.body.split(b"&")
            if not part.startswith((b"automatic_payment_methods", b"error_on_requires_action"))
        ]
        return await super().send(replace(request, body=b"&".join(kept)), credentials)


async def test_charge_and_refund(localstripe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.setenv("STRIPE_BASE_URL", localstripe)
    client = Older(policy("stripe"))
    call = HttpCall("stripe", client, policy("stripe"), doubles.Notes())
    stripe = Adapter()
    customer = await stripe.create_customer(call, key="row:customer")
    method = await _card(localstripe, customer)

    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", method)
    payment = await stripe.charge(call, order, kept_nothing)
    assert payment.vendor_reference
    refund = await stripe.refund(
        call, RefundOrder(doubles.JOB, payment.vendor_reference, 500, "usd")
    )
    seen = await stripe.resume(call, order, Known(payment=payment.vendor_reference))
    await client.close()

    assert (payment.status, payment.amount) == ("succeeded", 1250)
    assert (refund.status, refund.amount) == ("succeeded", 500)
    assert (seen.status, seen.vendor_reference) == ("succeeded", payment.vendor_reference)


async def _card(url: str, customer: str) -> str:
    card = {
        "type": "card",
        "card[number]": "4242" * 4,
        "card[exp_month]": "12",
        "card[exp_year]": "2040",
        "card[cvc]": "123",
    }
    async with httpx.AsyncClient(auth=(KEY, "")) as web:
        made = await web.post(f"{url}/v1/payment_methods", data=card)
        method = str(made.raise_for_status().json()["id"])
        await web.post(f"{url}/v1/payment_methods/{method}/attach", data={"customer": customer})
    return method
