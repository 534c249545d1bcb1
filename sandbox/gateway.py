"""What happens to one request for a vendor? From arrival to answer, through the faults."""

import asyncio

from sandbox.delivery import deliver, reply, retry_after, scripted
from sandbox.exchange import Exchange
from sandbox.faults import BEFORE, Plan
from sandbox.state import State
from sandbox.traffic import Seen
from sandbox.vendor import Answer, Request, Vendor, Work


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
    await deliver(exchange, answer, plan.rule, seen)


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
    answer = _worked(vendor, outcome, plan)
    vendor.close(request, answer)
    return answer


def _worked(vendor: Vendor, work: Work, plan: Plan) -> Answer:
    """What the vendor answers and stores under the key: with a fault, an error that says nothing
    of whether the work was done."""
    answer = None if plan.name == "error_before" else work()
    if plan.rule is not None and plan.name in ("error_before", "error_after"):
        return vendor.refusal(plan.rule.option("status", 500))
    assert answer is not None
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
            await reply(exchange, vendor.refusal(429, retry_after(plan.rule)), seen)
        case _:
            await reply(exchange, scripted(vendor, plan.rule), seen)
