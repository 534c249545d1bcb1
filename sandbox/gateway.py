"""What happens to one request for a vendor? From arrival to answer, through the faults."""

import asyncio
import time
from email.utils import formatdate

import orjson

from sandbox.exchange import Exchange
from sandbox.faults import BEFORE, Plan, Rule
from sandbox.state import State
from sandbox.traffic import Seen
from sandbox.vendor import Answer, Request, Vendor

GARBLE = "<html><body>Bad gateway</body></html>"


async def serve(state: State, exchange: Exchange, vendor: Vendor, request: Request) -> None:
    """Answers a request, or fails to answer it, as the fault script has it."""
    wait = state.limits.arrive(vendor.name)
    plan = state.faults.plan(request)
    seen = state.traffic.arrive(request, _key(vendor, request), plan.name)
    if plan.name in BEFORE:
        await _keep_from_vendor(exchange, vendor, plan, seen)
        return
    answer = await _ask(vendor, request, plan, wait)
    state.journal.flush()
    await _deliver(exchange, answer, plan.rule, seen)


def _key(vendor: Vendor, request: Request) -> str | None:
    return request.headers.get(vendor.key_header) if vendor.key_header else None


async def _ask(vendor: Vendor, request: Request, plan: Plan, wait: str | None) -> Answer:
    """The vendor's own answer. Between opening and doing lies the latency, so that a second
    request with the same key finds the first one in flight. `wait`: it is one too many."""
    outcome = vendor.refusal(429, wait) if wait else vendor.open(request)
    if plan.latency:
        await asyncio.sleep(plan.latency)
    if isinstance(outcome, Answer):
        return outcome
    answer = outcome()
    if plan.rule is not None and plan.name == "error_after":
        answer = vendor.refusal(plan.rule.option("status", 500))
    vendor.close(request, answer)
    return answer


async def _keep_from_vendor(exchange: Exchange, vendor: Vendor, plan: Plan, seen: Seen) -> None:
    assert plan.rule is not None
    if plan.latency:
        await asyncio.sleep(plan.latency)
    match plan.name:
        case "drop_before":
            await exchange.cut(reset=plan.rule.option("reset", False))
        case "silent_before":
            await exchange.hang()
        case "throttle":
            await _reply(exchange, vendor.refusal(429, _retry_after(plan.rule)), seen)
        case _:
            await _reply(exchange, _scripted(vendor, plan.rule), seen)


async def _deliver(exchange: Exchange, answer: Answer, rule: Rule | None, seen: Seen) -> None:
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
            await _reply(exchange, answer, seen)
        case "garble":
            assert rule
            body = rule.option("body", GARBLE).encode()
            await _reply(exchange, Answer(answer.status, body, answer.headers), seen)
        case _:
            await _reply(exchange, answer, seen)


async def _reply(exchange: Exchange, answer: Answer, seen: Seen) -> None:
    seen.status = answer.status
    await exchange.reply(answer)


def _retry_after(rule: Rule) -> str | None:
    """The header of a throttle: seconds, or a date, or none where the rule says null."""
    seconds = rule.option("retry_after", 1)
    if seconds is None:
        return None
    if rule.option("as_date", False):
        return formatdate(time.time() + seconds, usegmt=True)
    return f"{seconds:g}"


def _scripted(vendor: Vendor, rule: Rule) -> Answer:
    """A status with the rule's own body, or else the vendor's usual one."""
    status, body = rule.spec["status"], rule.option("body", None)
    headers: dict[str, str] = {k: str(v) for k, v in rule.option("headers", {}).items()}
    if body is None:
        usual = vendor.refusal(status)
        return Answer(status, usual.body, usual.headers | headers)
    if isinstance(body, str):
        return Answer(status, body.encode(), {"Content-Type": "text/plain"} | headers)
    return Answer(status, orjson.dumps(body), {"Content-Type": "application/json"} | headers)
