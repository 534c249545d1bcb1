"""What leaves for the client? The vendor's answer, or what a fault makes of it."""

import asyncio
import time
from email.utils import formatdate

import orjson

from sandbox import garble
from sandbox.exchange import Exchange
from sandbox.faults import Rule
from sandbox.traffic import Seen
from sandbox.vendor import Answer, Vendor

HUGE = 10 * 1024**3
PIECE = 64 * 1024


async def deliver(exchange: Exchange, answer: Answer, rule: Rule | None, seen: Seen) -> None:
    """Sends the answer, or what a fault leaves of it."""
    match rule.do if rule else None:
        case "drop_after":
            assert rule
            await exchange.cut(reset=rule.option("reset", False))
        case "silent_after":
            await exchange.hang()
        case "slow_body":
            assert rule
            seen.status = answer.status
            await exchange.trickle(answer, rule.option("seconds", 0.01))
        case "truncate":
            assert rule
            await exchange.truncate(answer, rule.option("bytes", len(answer.body) // 2))
        case "late":
            assert rule
            await asyncio.sleep(rule.spec["seconds"])
            await reply(exchange, answer, seen)
        case "garble":
            assert rule
            await reply(exchange, _garbled(answer, rule), seen)
        case "endless_body":
            assert rule
            seen.status = answer.status
            await exchange.flood(
                answer, rule.option("bytes", PIECE), rule.option("seconds", 0), None
            )
        case "huge_body":
            assert rule
            seen.status = answer.status
            await exchange.flood(answer, PIECE, 0, rule.option("bytes", HUGE))
        case _:
            await reply(exchange, answer, seen)


async def reply(exchange: Exchange, answer: Answer, seen: Seen) -> None:
    seen.status = answer.status
    await exchange.reply(answer)


def _garbled(answer: Answer, rule: Rule) -> Answer:
    body = rule.option("body", None)
    sent = garble.KINDS[rule.option("as", "html")](answer.body) if body is None else body.encode()
    return Answer(answer.status, sent, answer.headers)


def retry_after(rule: Rule) -> str | None:
    """The header: seconds, or a date, or none where the rule says null. A throttle says 1."""
    seconds = rule.option("retry_after", 1 if rule.do == "throttle" else None)
    if seconds is None:
        return None
    if rule.option("as_date", False):
        return formatdate(time.time() + seconds, usegmt=True)
    return f"{seconds:g}"


def scripted(vendor: Vendor, rule: Rule) -> Answer:
    """A status with the rule's own body, or else the vendor's usual one."""
    status, body = rule.spec["status"], rule.option("body", None)
    headers: dict[str, str] = {k: str(v) for k, v in rule.option("headers", {}).items()}
    if (wait := retry_after(rule)) is not None:
        headers["Retry-After"] = wait
    if body is None:
        usual = vendor.refusal(status)
        return Answer(status, usual.body, usual.headers | headers)
    if isinstance(body, str):
        return Answer(status, body.encode(), {"Content-Type": "text/plain"} | headers)
    return Answer(status, orjson.dumps(body), {"Content-Type": "application/json"} | headers)
