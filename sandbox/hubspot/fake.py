"""One request to HubSpot, from the credentials to the answer."""

import base64
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

from sandbox import bodies
from sandbox.credentials import bearer
from sandbox.hubspot import dashboard, rules
from sandbox.hubspot.portal import Contact, Portal
from sandbox.ids import job_of
from sandbox.vendor import Answer, Request, Vendor, Work, World, json_answer

# Made here, so that nothing that looks like a real one stands in the tree.
TOKEN = "-".join(("pat", "sandbox", "5f" * 8))
CLIENT_SECRET = "60" * 18
CONTACTS = "/crm/v3/objects/contacts"
UPSERT = f"{CONTACTS}/batch/upsert"
MOST_BYTES = 3_000_000
WORDS = {
    401: ("INVALID_AUTHENTICATION", "Authentication credentials not found."),
    403: ("MISSING_SCOPES", "This app hasn't been granted all required scopes."),
    404: ("OBJECT_NOT_FOUND", "resource not found"),
    405: ("METHOD_NOT_ALLOWED", "method not allowed"),
    429: ("RATE_LIMITS", "You have reached your ten_secondly_rolling limit."),
}


class Fake(Vendor):
    """HubSpot."""

    name = "hubspot"
    environment: ClassVar[Mapping[str, str]] = {"HUBSPOT_ACCESS_TOKEN": TOKEN}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._portal = Portal(world)

    @classmethod
    def webhook_environment(cls, folder: Path) -> Mapping[str, str]:
        return {"HUBSPOT_CLIENT_SECRET": CLIENT_SECRET}

    def open(self, request: Request) -> Answer | Work:
        if bearer(request.headers.get("authorization", "")) != TOKEN:
            return self.refusal(401)
        settings = self._portal.settings
        if settings.daily is not None and settings.used >= settings.daily:
            return self._with_quota(self._used_up())
        settings.used += 1
        outcome = self._open(request)
        if isinstance(outcome, Answer):
            return self._with_quota(outcome)
        return lambda: self._with_quota(outcome())

    def _open(self, request: Request) -> Answer | Work:
        if request.method == "GET" and request.path.startswith(f"{CONTACTS}/"):
            return self._read(request)
        if request.path != UPSERT:
            return self.refusal(404)
        if request.method != "POST" or bodies.media(request) != bodies.JSON:
            return self.refusal(405 if request.method != "POST" else 415)
        try:
            given = bodies.document(bodies.plain(request, MOST_BYTES))
        except bodies.TooLong:
            return self.refusal(413)
        except bodies.NotReadable:
            return _refused(400, rules.invalid("Invalid input JSON"), self._correlation())
        return self._batch(given)

    def _batch(self, given: Any) -> Answer | Work:
        if wrong := rules.batch(self._portal, given):
            return _refused(400, wrong, self._correlation())
        inputs = given["inputs"]
        errors = {
            place: problem
            for place, one in enumerate(inputs)
            if (problem := rules.contact(self._portal, one["properties"]))
        }
        # Only where each input can be named does one bad one leave the others alone.
        if errors and not all(map(_traced, inputs)):
            return _refused(400, next(iter(errors.values())), self._correlation())
        return lambda: self._upsert(inputs, errors)

    def _upsert(self, inputs: list[dict[str, Any]], errors: Mapping[int, rules.Error]) -> Answer:
        begun = _moment(time.time())
        saved = [self._saved(one) for place, one in enumerate(inputs) if place not in errors]
        told: dict[str, Any] = {
            "status": "COMPLETE",
            "results": saved,
            "startedAt": begun,
            "completedAt": _moment(time.time()),
        }
        if errors:
            failed = [
                error | {"context": {"objectWriteTraceId": [inputs[at]["objectWriteTraceId"]]}}
                for at, error in errors.items()
            ]
            told |= {"numErrors": len(failed), "errors": failed}
        return json_answer(207 if errors else 200, told)

    def _saved(self, one: dict[str, Any]) -> dict[str, Any]:
        known = self._portal.find(one["idProperty"], one["id"])
        properties = {one["idProperty"]: one["id"], **one["properties"]}
        job = job_of(one.get("objectWriteTraceId") or "")
        contact = self._portal.save(known, properties, "INTEGRATION", job)
        traced = {"objectWriteTraceId": one["objectWriteTraceId"]} if _traced(one) else {}
        return {**shown(contact), "new": known is None, **traced}

    def _read(self, request: Request) -> Answer:
        named = request.path.removeprefix(f"{CONTACTS}/")
        by = parse_qs(request.query).get("idProperty", ["id"])[0]
        found = self._portal.find(by, named)
        return json_answer(200, shown(found)) if found else self.refusal(404)

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        category, message = WORDS.get(status, ("INTERNAL_ERROR", "internal error"))
        error: dict[str, Any] = {"status": "error", "category": category, "message": message}
        if status == 429:
            error |= {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
        answer = _refused(status, error, self._correlation())
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    def _used_up(self) -> Answer:
        error = {
            "status": "error",
            "category": "RATE_LIMITS",
            "message": "You have reached your daily limit.",
            "errorType": "RATE_LIMIT",
            "policyName": "DAILY",
        }
        return _refused(429, error, self._correlation())

    def _with_quota(self, answer: Answer) -> Answer:
        settings = self._portal.settings
        window = self.world.limits.of(self.name)
        most = 10 * window.per_second if window.per_second else 190
        answer.headers |= {
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(0, most - 1)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        if settings.daily is not None:
            left = max(0, settings.daily - settings.used)
            answer.headers |= {
                "X-HubSpot-RateLimit-Daily": str(settings.daily),
                "X-HubSpot-RateLimit-Daily-Remaining": str(left),
            }
        return answer

    def _correlation(self) -> str:
        return self.world.ids.new("", 32)

    def headers(self, event: bytes, url: str) -> Mapping[str, str]:
        """As in https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests"""
        at = str(int(time.time() * 1000))
        signed = b"POST" + url.encode() + event + at.encode()
        signature = hmac.digest(CLIENT_SECRET.encode(), signed, "sha256")
        return {
            "Content-Type": "application/json",
            "X-HubSpot-Signature-v3": base64.b64encode(signature).decode(),
            "X-HubSpot-Request-Timestamp": at,
        }

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._portal, action, arguments)


def shown(contact: Contact) -> dict[str, Any]:
    """A contact as HubSpot shows it."""
    return {
        "id": contact.id,
        "properties": {**contact.properties, "hs_object_id": contact.id},
        "createdAt": _moment(contact.created),
        "updatedAt": _moment(contact.updated),
        "archived": contact.archived,
    }


def _traced(one: Mapping[str, Any]) -> bool:
    return bool(one.get("objectWriteTraceId"))


def _refused(status: int, error: Mapping[str, Any], correlation: str) -> Answer:
    answer = json_answer(status, {**error, "correlationId": correlation})
    answer.headers["X-HubSpot-Correlation-Id"] = correlation
    return answer


def _moment(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
