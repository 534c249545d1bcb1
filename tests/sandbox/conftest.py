"""Callers of the fakes: by HTTP on the shared sandbox, or straight into one fake."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import stripe

from ferryman.testing import Sandbox
from sandbox.state import State
from sandbox.twilio.fake import ACCOUNT_SID, AUTH_TOKEN
from sandbox.vendor import Answer, Request, Vendor
from tests.harness import SENDGRID_KEY, STRIPE_KEY

FORM = "application/x-www-form-urlencoded"
TWILIO_BASIC = "Basic " + base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()


def contract(name: str) -> dict[str, Any]:
    """A vendor's published contract, from the folder that FERRYMAN_CONTRACTS names."""
    folder = os.environ.get("FERRYMAN_CONTRACTS")
    if not folder:
        pytest.skip("FERRYMAN_CONTRACTS names no folder with the vendors' contracts")
    return dict(json.loads((Path(folder) / f"{name}.json").read_text()))


@dataclass
class Direct:
    """Asks one fake without HTTP: hundreds of questions in no time."""

    vendor: Vendor
    headers: dict[str, str] = field(default_factory=dict)

    def open(self, method: str, path: str, body: str = "", **headers: str) -> Any:
        """The answer, or the work that leads to it."""
        query = body if method == "GET" else ""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = "" if method == "GET" else body
        return self.vendor.open(
            Request(self.vendor.name, method, path, query, self.headers | named, sent.encode())
        )

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        outcome = self.open(method, path, body, **headers)
        return outcome if isinstance(outcome, Answer) else outcome()

    def form(self, method: str, path: str, given: Mapping[str, Any], **headers: str) -> Any:
        """Status and document of a request with these parameters, brackets in their names."""
        answer = self.ask(method, path, urlencode(given), **headers)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def state() -> State:
    return State(seed=7, state_file=None)


@pytest.fixture
def direct(state: State) -> Direct:
    """Stripe, asked without HTTP."""
    headers = {"authorization": f"Bearer {STRIPE_KEY}", "content-type": FORM}
    return Direct(state.vendors["stripe"], headers)


@pytest.fixture
def direct_mail(state: State) -> Direct:
    """SendGrid, asked without HTTP."""
    headers = {"authorization": f"Bearer {SENDGRID_KEY}", "content-type": "application/json"}
    return Direct(state.vendors["sendgrid"], headers)


@pytest.fixture
def direct_sms(state: State) -> Direct:
    """Twilio, asked without HTTP."""
    return Direct(state.vendors["twilio"], {"authorization": TWILIO_BASIC, "content-type": FORM})


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Stripe by HTTP."""
    with httpx.Client(
        base_url=sandbox.base_url("stripe"),
        headers={"Authorization": f"Bearer {STRIPE_KEY}"},
        timeout=5,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def mail(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """SendGrid by HTTP."""
    with httpx.Client(
        base_url=sandbox.base_url("sendgrid"),
        headers={"Authorization": f"Bearer {SENDGRID_KEY}"},
        timeout=5,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def sdk(sandbox: Sandbox) -> stripe.StripeClient:
    """Stripe by its official SDK."""
    return stripe.StripeClient(
        STRIPE_KEY,
        base_addresses={"api": sandbox.base_url("stripe")},
        max_network_retries=0,
    )


PAYMENT: dict[str, Any] = {
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


def payment(**changes: Any) -> dict[str, Any]:
    """A payment that is made at once; a change to None takes a parameter away."""
    return {name: value for name, value in {**PAYMENT, **changes}.items() if value is not None}
