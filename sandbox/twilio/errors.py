"""How does Twilio say no? A number of its own, a sentence, and where to read about it."""

from sandbox.vendor import Answer, json_answer

HELP = "https://www.twilio.com/docs/errors/"


class Refused(Exception):
    """A request that Twilio answers with an error."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def answer(self) -> Answer:
        document = {
            "code": self.code,
            "message": str(self),
            "more_info": f"{HELP}{self.code}",
            "status": self.status,
        }
        return json_answer(self.status, document)


def missing(path: str) -> Refused:
    return Refused(20404, f"The requested resource {path} was not found", 404)


def invalid(name: str, why: str) -> Refused:
    """A parameter that is none of Twilio's, or not of its type."""
    return Refused(20001, f"Invalid Parameter {name}: {why}")
