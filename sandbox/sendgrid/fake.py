"""One request to SendGrid, from the credentials to the answer."""

import time
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from sandbox.sendgrid import rules, shape
from sandbox.sendgrid.problems import Problem, refused
from sandbox.vendor import Answer, Request, Vendor, Work

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

    def open(self, request: Request) -> Answer | Work:
        outcome = self._open(request)
        if isinstance(outcome, Answer):
            return self._with_quota(outcome)
        return lambda: self._with_quota(self._accept(outcome))

    def _open(self, request: Request) -> Answer | dict[str, Any]:
        """The mail to send, or what is wrong with it."""
        status = _refused_at_once(request)
        if status is not None:
            return self.refusal(status)
        mail = _decoded(request)
        if mail is None:
            return refused(400, [Problem(None, "Bad Request")])
        wrong = list(shape.problems(shape.MAIL, mail)) or list(rules.problems(mail, time.time()))
        return refused(400, wrong) if wrong else mail

    def _accept(self, mail: dict[str, Any]) -> Answer:
        message_id = self.world.ids.new("", 22)
        headers = {"X-Message-Id": message_id}
        if mail.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            return Answer(200, headers=headers)
        for one in mail["personalizations"]:
            self._record(mail, one, message_id)
        return Answer(202, headers=headers)

    def _record(self, mail: dict[str, Any], one: dict[str, Any], message_id: str) -> None:
        facts = {
            "from": one.get("from", mail["from"])["email"],
            "subject": one.get("subject", mail.get("subject")),
            "template_id": mail.get("template_id"),
            "custom_args": mail.get("custom_args", {}) | one.get("custom_args", {}),
            "data": one.get("dynamic_template_data") or one.get("substitutions") or {},
        }
        for way, address in rules.addressed(one):
            self.world.effects.record(self.name, "mail", message_id, to=address, way=way, **facts)

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


def _refused_at_once(request: Request) -> int | None:
    """The status for what needs no look into the mail."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.startswith(KEY_BEGIN) or key == REVOKED:
        return 401
    if request.path != SEND:
        return 404
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
