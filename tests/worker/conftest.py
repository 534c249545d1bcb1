"""What the tests of one attempt have in common."""

from __future__ import annotations

import pytest

from tests.harness import SENDGRID_KEY, STRIPE_KEY


@pytest.fixture
def vendor_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as an operator would set them."""
    monkeypatch.setenv("STRIPE_SECRET_KEY", STRIPE_KEY)
    monkeypatch.setenv("SENDGRID_API_KEY", SENDGRID_KEY)
    monkeypatch.setenv("FROM_EMAIL", "sender@example.com")
