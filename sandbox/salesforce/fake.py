"""One request to Salesforce, from the credentials to the answer."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

from sandbox import bodies
from sandbox.credentials import basic, bearer
from sandbox.salesforce import dashboard, rules
from sandbox.salesforce.org import EXTERNAL_ID, Org
from sandbox.vendor import Answer, Request, Vendor, Work, World, json_answer

# Made here, so that nothing that looks like a real one stands in the tree.
CLIENT, SECRET = "sandbox" + "61" * 20, "62" * 32
LOGIN = "/services/oauth2/token"
DATA = re.compile(r"/services/data/v(\d{2})\.0/(.+)")
COLLECTION = f"composite/sobjects/Contact/{EXTERNAL_ID}"
ONE = f"sobjects/Contact/{EXTERNAL_ID}/"
MOST_RECORDS = 200
MOST_BYTES = 6 * 1024 * 1024
FORM = "application/x-www-form-urlencoded"
WORDS = {
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    405: ("METHOD_NOT_ALLOWED", "HTTP Method not allowed"),
    429: ("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."),
    503: ("SERVER_UNAVAILABLE", "server temporarily unavailable"),
}


class Fake(Vendor):
    """Salesforce."""

    name = "salesforce"
    environment: ClassVar[Mapping[str, str]] = {
        "SALESFORCE_CLIENT_ID": CLIENT,
        "SALESFORCE_CLIENT_SECRET": SECRET,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._org = Org(world)

    def open(self, request: Request) -> Answer | Work:
        if request.path == LOGIN:
            return self._token(request)
        if bearer(request.headers.get("authorization", "")) not in self._org.tokens:
            return self.refusal(401)
        settings = self._org.settings
        if settings.used >= settings.daily:
            return self._limited(self.refusal(403))
        settings.used += 1
        outcome = self._open(request)
        if isinstance(outcome, Answer):
            return self._limited(outcome)
        return lambda: self._limited(outcome())

    def _token(self, request: Request) -> Answer | Work:
        form = parse_qs(request.body.decode("utf-8", "replace"))
        if request.method != "POST" or bodies.media(request) != FORM:
            return _denied("invalid_request", "must use HTTP POST")
        given = basic(request.headers.get("authorization", ""))
        if given == ("", ""):
            given = form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        if form.get("grant_type") != ["client_credentials"]:
            return _denied("unsupported_grant_type", "grant type not supported")
        if given != (CLIENT, SECRET):
            return _denied("invalid_client", "invalid client credentials")
        told = {
            "access_token": self._org.token(),
            "instance_url": f"http://{request.headers.get('host', '127.0.0.1')}/{self.name}",
            "token_type": "Bearer",
            "scope": "api",
        }
        return json_answer(200, told)

    def _open(self, request: Request) -> Answer | Work:
        found = DATA.fullmatch(request.path)
        resource = unquote(found[2]) if found else ""
        if resource == "limits" and request.method == "GET":
            return self._limits()
        if resource.startswith(ONE):
            return self._one(request, resource.removeprefix(ONE))
        if resource != COLLECTION:
            return self.refusal(404)
        if request.method != "PATCH":
            return self.refusal(405)
        given = _document(request)
        if isinstance(given, Answer):
            return given
        return self._collection(given)

    def _collection(self, given: Any) -> Answer | Work:
        records = given.get("records") if isinstance(given, dict) else None
        if not isinstance(records, list) or not 0 < len(records) <= MOST_RECORDS:
            return _refused(400, "EXCEEDED_ID_LIMIT", "record limit reached: 1 to 200")
        if not all(isinstance(one, dict) for one in records):
            return _refused(400, "JSON_PARSER_ERROR", "a record must be an object")
        if any((one.get("attributes") or {}).get("type") != "Contact" for one in records):
            return _refused(400, "INVALID_FIELD", "attributes.type must be Contact")
        if strange := next(filter(None, map(rules.unknown, records)), None):
            message = f"No such column '{strange}' on sobject of type Contact"
            return _refused(400, "INVALID_FIELD", message, strange)
        all_or_none = given.get("allOrNone") is True
        return lambda: self._upsert(records, all_or_none=all_or_none)

    def _upsert(self, records: Sequence[dict[str, Any]], *, all_or_none: bool) -> Answer:
        names = [rules.name_of(one) for one in records]
        counted = Counter(name.lower() for name in names if name)
        problems = [
            self._problem(one, name, counted) for one, name in zip(records, names, strict=True)
        ]
        if all_or_none and any(problems):
            rolled_back = rules.error("ALL_OR_NONE_OPERATION_ROLLED_BACK", "rolled back")
            problems = [problem or rolled_back for problem in problems]
        results = [
            {"success": False, "errors": [problem]} if problem else self._saved(str(name), one)
            for one, name, problem in zip(records, names, problems, strict=True)
        ]
        return json_answer(200, results)

    def _problem(
        self, one: dict[str, Any], name: str | None, counted: Mapping[str, int]
    ) -> rules.Error | None:
        if name is None:
            message = f"{EXTERNAL_ID} not specified"
            return rules.error("MISSING_ARGUMENT", message, EXTERNAL_ID)
        if counted[name.lower()] > 1:
            message = f"Duplicate external id specified: {name}"
            return rules.error("DUPLICATE_VALUE", message, EXTERNAL_ID)
        return rules.contact(self._org, name, one)

    def _saved(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        fields = {field: value for field, value in given.items() if field != "attributes"}
        contact, created = self._org.save(name, fields)
        return {"id": contact.reference, "success": True, "created": created, "errors": []}

    def _one(self, request: Request, name: str) -> Answer | Work:
        if request.method == "GET":
            found = self._org.contacts.get(name.lower())
            return json_answer(200, _shown(found)) if found else self.refusal(404)
        given = _document(request)
        if isinstance(given, Answer):
            return given
        if EXTERNAL_ID in given:
            return _refused(400, "INVALID_FIELD", "it stands in the address", EXTERNAL_ID)
        if strange := rules.unknown(given):
            message = f"No such column '{strange}' on sobject of type Contact"
            return _refused(400, "INVALID_FIELD", message, strange)
        if problem := rules.contact(self._org, name, given):
            return _refused(400, problem["statusCode"], problem["message"], *problem["fields"])
        return lambda: self._upserted(name, given)

    def _upserted(self, name: str, given: dict[str, Any]) -> Answer:
        told = self._saved(name, given)
        return json_answer(201 if told["created"] else 200, told)

    def _limits(self) -> Answer:
        settings = self._org.settings
        left = max(0, settings.daily - settings.used)
        return json_answer(200, {"DailyApiRequests": {"Max": settings.daily, "Remaining": left}})

    def _limited(self, answer: Answer) -> Answer:
        settings = self._org.settings
        answer.headers["Sforce-Limit-Info"] = f"api-usage={settings.used}/{settings.daily}"
        return answer

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        code, message = WORDS.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred."))
        answer = _refused(status, code, message)
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._org, action, arguments)


def _document(request: Request) -> Any:
    """The body, or why it cannot be read."""
    if bodies.media(request) != bodies.JSON:
        return _refused(415, "UNSUPPORTED_MEDIA_TYPE", "JSON is expected")
    try:
        return bodies.document(bodies.plain(request, MOST_BYTES))
    except bodies.TooLong:
        return _refused(413, "REQUEST_TOO_LARGE", "the request is too large")
    except bodies.NotReadable:
        return _refused(400, "JSON_PARSER_ERROR", "Unexpected character")


def _shown(contact: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Contact"}, "Id": contact.reference, **contact.fields}


def _refused(status: int, code: str, message: str, *fields: str) -> Answer:
    told: dict[str, Any] = {"message": message, "errorCode": code}
    return json_answer(status, [told | ({"fields": list(fields)} if fields else {})])


def _denied(error: str, description: str) -> Answer:
    return json_answer(400, {"error": error, "error_description": description})
