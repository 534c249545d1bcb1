"""Which request reads or shortens which suppression list?"""

from collections.abc import Callable

import orjson

from sandbox.sendgrid.lists import SHOWN, Lists
from sandbox.sendgrid.problems import Problem, refused
from sandbox.vendor import Answer, Request, json_answer

LISTS = "/v3/suppression/"
GLOBAL = "/v3/asm/suppressions/global/"
Asked = Callable[[Lists], Answer]


def asked(request: Request) -> Asked | int:
    """What is to be done with the lists, or the status of what nothing can be done with."""
    if request.path.startswith(GLOBAL):
        return _global(request.method, request.path.removeprefix(GLOBAL))
    name, slash, email = request.path.removeprefix(LISTS).partition("/")
    if not request.path.startswith(LISTS) or name not in SHOWN or bool(slash) != bool(email):
        return 404
    if name == "unsubscribes" and (email or request.method != "GET"):
        # Those are taken off by the other path.
        return 404 if email else 405
    return _one(request.method, name, email) if email else _all(request, name)


def _global(method: str, email: str) -> Asked | int:
    """Unsubscribes by their address."""
    if method == "DELETE":
        return lambda lists: _removed(lists, "unsubscribes", email)
    if method != "GET":
        return 405

    def look(lists: Lists) -> Answer:
        return json_answer(
            200, {"recipient_email": email} if lists.has("unsubscribes", email) else {}
        )

    return look


def _one(method: str, name: str, email: str) -> Asked | int:
    if method == "GET":
        return lambda lists: lists.one(name, email)
    return (lambda lists: _removed(lists, name, email)) if method == "DELETE" else 405


def _removed(lists: Lists, name: str, email: str) -> Answer:
    if lists.remove(name, [email]):
        return Answer(204)
    return refused(404, [Problem(None, "resource not found")])


def _all(request: Request, name: str) -> Asked | int:
    if request.method == "GET":
        return lambda lists: lists.page(name, request.query)
    return (
        (lambda lists: _remove_several(lists, name, request.body))
        if (request.method == "DELETE")
        else 405
    )


def _remove_several(lists: Lists, name: str, body: bytes) -> Answer:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    match given:
        case {"delete_all": True, **others} if not others.get("emails"):
            lists.remove(name, lists.everybody(name))
        case {"emails": [*emails], **others} if not others.get("delete_all"):
            lists.remove(name, map(str, emails))
        case _:
            return refused(400, [Problem(None, "either delete_all or emails is required")])
    return Answer(204)
