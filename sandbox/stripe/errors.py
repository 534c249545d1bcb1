"""How does Stripe say no? One exception, shaped like the error object of its API."""

from typing import Any

from sandbox.vendor import Answer, json_answer

DOCUMENTATION = "https://stripe.com/docs/error-codes/"


class Refused(Exception):
    """A request that Stripe answers with an error. `more` are further fields of the error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        error = {"code": code, "message": message, "param": param, "type": type} | more
        self.error = {name: value for name, value in error.items() if value is not None}
        if code is not None:
            self.error["doc_url"] = DOCUMENTATION + code.replace("_", "-")

    def answer(self) -> Answer:
        return json_answer(self.status, {"error": self.error})


def missing(kind: str, id: str, param: str, status: int = 400) -> Refused:
    """An object that does not exist: 404 where the URL names it, 400 where a parameter does."""
    return Refused(status, f"No such {kind}: '{id}'", code="resource_missing", param=param)


def state(message: str, **more: Any) -> Refused:
    """A payment that is not in a state to do that."""
    return Refused(400, message, code="payment_intent_unexpected_state", **more)
