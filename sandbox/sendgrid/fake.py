"""One request to SendGrid, from the credentials to the answer."""

import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import orjson

from sandbox.sendgrid import check, dashboard, signing, suppressions
from sandbox.sendgrid.account import Account
from sandbox.sendgrid.problems import Problem, refused
from sandbox.vendor import Answer, Request, Vendor, Work, World

SEND = "/v3/mail/send"
KEY_BEGIN = "SG."
REVOKED = KEY_BEGIN + "revoked"
MOST_BYTES = 30 * 1024 * 1024
REQUESTS_A_SECOND = 10_000
MESSAGES = {
    401: "The provided authorization grant is invalid, expired, or revoked",
    404: "not found",
    405: "method not allowed",
    413: "The total size of your email, including attachments, must be less than 30MB.",
    415: "Content-Type should be application/json.",
    429: "too many requests",
}


class Fake(Vendor):
    """SendGrid. A second request like the first sends a second mail, as the real one does."""

    name = "sendgrid"
    environment: ClassVar[Mapping[str, str]] = {
        "SENDGRID_API_KEY": KEY_BEGIN + "sandbox",
        "FROM_EMAIL": "shop@example.com",
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._account = Account(world)

    @classmethod
    def webhook_environment(cls, folder: Path) -> Mapping[str, str]:
        return {"SENDGRID_WEBHOOK_PUBLIC_KEY": signing.public_key(folder)}

    def signed(self, event: bytes) -> Mapping[str, str]:
        return signing.headers(self.world.folder, event)

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._account, action, arguments)

    def open(self, request: Request) -> Answer | Work:
        outcome = self._open(request)
        if isinstance(outcome, Answer):
            return self._with_quota(outcome)
        work = outcome
        return lambda: self._with_quota(work())

    def _open(self, request: Request) -> Answer | Work:
        if not _is_known(request.headers.get("authorization", "")):
            return self.refusal(401)
        if request.path == SEND:
            return self._open_mail(request)
        asked = suppressions.asked(request)
        if isinstance(asked, int):
            return self.refusal(asked)
        return lambda: asked(self._account.lists)

    def _open_mail(self, request: Request) -> Answer | Work:
        status = _refused_at_once(request)
        if status is not None:
            return self.refusal(status)
        mail = _decoded(request)
        if mail is None:
            return refused(400, [Problem(None, "Bad Request")])
        wrong = check.problems(mail, time.time())
        return refused(400, wrong) if wrong else lambda: self._accept(mail)

    def _accept(self, mail: dict[str, Any]) -> Answer:
        message_id = self.world.ids.new("", 22)
        headers = {"X-Message-Id": message_id}
        if mail.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            return Answer(200, headers=headers)
        self._account.take(mail, message_id)
        return Answer(202, headers=headers)

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        answer = refused(status, [Problem(None, MESSAGES.get(status, "internal error"))])
        if status == 429:
            answer = self._with_quota(answer, used_up=True)
        if retry_after is not None and self.world.limits.of(self.name).per_second is None:
            # SendGrid itself names only the moment of the reset; a fault script may say more.
            answer.headers["Retry-After"] = retry_after
        return answer

    def _with_quota(self, answer: Answer, *, used_up: bool = False) -> Answer:
        window = self.world.limits.of(self.name)
        limit = window.per_second or REQUESTS_A_SECOND
        left = window.remaining()
        answer.headers |= {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(0 if used_up else limit - 1 if left is None else left),
            "X-RateLimit-Reset": str(int(time.time()) + 1),
        }
        return answer


def _is_known(authorization: str) -> bool:
    scheme, _, key = authorization.partition(" ")
    return scheme.lower() == "bearer" and key.startswith(KEY_BEGIN) and key != REVOKED


def _refused_at_once(request: Request) -> int | None:
    """The status for what needs no look into the mail."""
    if request.method != "POST":
        return 405
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return 415
    return 413 if len(request.body) > MOST_BYTES else None


def _decoded(request: Request) -> dict[str, Any] | None:
    body = request.body
    try:
        if request.headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)
        mail = orjson.loads(body)
    except (zlib.error, orjson.JSONDecodeError):
        return None
    return mail if isinstance(mail, dict) else None
