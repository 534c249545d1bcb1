"""What a review looked for at the API's own doors."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.api.conftest import serving

PATHS = [
    "//webhooks/stripe",
    "/webhooks/../v1/jobs",
    "/webhooks/%2e%2e/v1/jobs",
    "/webhooks/..%2fv1%2fjobs",
    "/webhooks/stripe/",
    "/webhooks//v1/jobs",
    "/WEBHOOKS/stripe",
    "/webhooks/stripe/../../v1/jobs",
    "/v1/jobs/",
    "/v1//jobs",
    "//v1/jobs",
    "/%76%31/jobs",
    "/V1/jobs",
    "/v1/jobs%2f",
    "/v1/jobs;x=1",
    "/healthz/../v1/jobs",
    "/healthz%2f..%2fv1%2fjobs",
]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "post"])
async def test_no_way_of_writing_a_path_leads_past_the_gate(
    database_url: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "a" * 24)
    async with serving(database_url, tokens=["right"]) as (_, client):
        for path in PATHS:
            # As it stands: httpx would tidy it up.
            url = client.base_url.copy_with(raw_path=path.encode())
            answer = await client.request(method, url, content=b"{}")
            assert answer.status_code in (400, 401, 404), (path, answer.status_code)
            assert "jobs" not in answer.text or answer.status_code == 401, (path, answer.text)


SLOW_COMMIT = """
CREATE FUNCTION ferryman.slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ferryman.jobs
 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ferryman.slow()
"""


# OPEN: REVIEW 26
async def test_who_is_told_503_has_stored_nothing(ledger_url: str) -> None:
    """It is the commit that a full or slow disk holds up, not what comes before it."""
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        connection.execute(SLOW_COMMIT)
        async with serving(ledger_url) as (app, client):
            app.state.ledger.patience_seconds = 0.5
            args = {
                "customer": "a",
                "amount": 100,
                "currency": "usd",
                "payment_method": "pm_card_visa",
            }
            answer = await client.post("/v1/jobs", json={"kind": "charge", "args": args})
            await asyncio.sleep(2)
        (stored,) = connection.execute("SELECT count(*) FROM ferryman.jobs").fetchone() or (0,)
    assert (answer.status_code, stored) in ((201, 1), (503, 0))
