"""SendGrid's adapter against the fake over real connections: one bad address among many, and the
lists of those who get nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from adapters._http import Client, HttpCall
from adapters._mail import Letter, MailOrder, Recipient, RefusedSome
from adapters.sendgrid import Adapter
from ferryman.policies import policy
from ferryman.testing import Sandbox
from tests.adapters import doubles

NEWS = Letter(
    subject="News", text="Good day", categories=["news"], track_opens=False, track_clicks=True
)


@dataclass
class Post:
    """One job's way to the fake, and what its ledger keeps."""

    sandbox: Sandbox
    client: Client
    notes: doubles.Notes = field(default_factory=doubles.Notes)

    @property
    def call(self) -> HttpCall:
        return HttpCall("sendgrid", self.client, policy("sendgrid"), self.notes)

    def arrived(self) -> dict[str, str]:
        """By address, which of our mails it was."""
        found = self.sandbox.effects(vendor="sendgrid", kind="mail")
        return {effect["to"]: effect["custom_args"]["ferryman_email"] for effect in found}


@pytest.fixture
async def post(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    for name, value in sandbox.environment().items():
        if name.startswith("SENDGRID_") or name == "FROM_EMAIL":
            monkeypatch.setenv(name, value)
    client = Client(policy("sendgrid"))
    yield Post(sandbox, client)
    await client.close()


def to(*addresses: str) -> MailOrder:
    recipients = [
        Recipient(UUID(int=place), address, {}, f"https://shop.example/leave/{place}")
        for place, address in enumerate(addresses)
    ]
    return MailOrder(doubles.JOB, NEWS, recipients)


async def test_one_bad_address_among_many(post: Post) -> None:
    # A valid address, which SendGrid does not take.
    order = to(*(f"user{n}@example.com" for n in range(300)), '"two words"@example.com')
    with pytest.raises(RefusedSome) as raised:
        await Adapter().send_mail(post.call, order)
    assert set(raised.value.recipients) == {UUID(int=300)}
    assert post.arrived() == {}

    rest = replace(order, recipients=order.recipients[:300])
    accepted = await Adapter().send_mail(post.call, rest)

    assert accepted.vendor_reference
    assert post.arrived() == {f"user{n}@example.com": str(UUID(int=n)) for n in range(300)}
    assert (post.notes.without_effect, post.notes.answers) == (["mail"], ["mail"])


async def test_copies_and_the_lists_of_who_gets_no_more(post: Post) -> None:
    order = to("ada@example.com")
    letter = replace(NEWS, cc=["head@example.com"], bcc=["archive@example.com"])
    await Adapter().send_mail(post.call, replace(order, letter=letter))
    assert set(post.arrived()) == {"ada@example.com", "head@example.com", "archive@example.com"}

    await Adapter().send_mail(
        post.call, to("bounce@example.com", "blocked@example.com", "spam@example.com")
    )
    found = {one.address: one.reason async for one in Adapter().suppressions(post.call)}
    assert found == {"bounce@example.com": "bounce", "spam@example.com": "complaint"}
