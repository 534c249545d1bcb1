"""The page that a payment sends its payer to: whoever opens it has authenticated himself.

With `?result=failed` he has failed to. Then he is sent on to the `return_url`, as Stripe does it.
"""

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from sandbox.stripe import endings
from sandbox.stripe.account import Account
from sandbox.stripe.errors import Refused
from sandbox.stripe.objects import Intent
from sandbox.stripe.payments import AUTHENTICATE
from sandbox.stripe.shapes import shape
from sandbox.vendor import Answer, Request

STRIPE_S_OWN = "https://hooks.stripe.com"


def home(request: Request) -> str:
    """Below it are the pages: at this sandbox, as the caller has named it."""
    host = request.headers.get("host")
    return f"http://{host}/{request.vendor}" if host else STRIPE_S_OWN


def is_page(request: Request) -> bool:
    return request.method == "GET" and request.path.startswith(AUTHENTICATE)


def visit(account: Account, request: Request) -> Answer:
    """The payer's browser has come: it is sent back to the shop."""
    succeeds = parse_qs(request.query).get("result") != ["failed"]
    try:
        row = account.intent(request.path.removeprefix(AUTHENTICATE))
        back = ((row.next_action or {}).get("redirect_to_url") or {}).get("return_url")
        endings.authenticate(account, row, succeeds=succeeds)
    except Refused as refused:
        return Answer(400, str(refused).encode(), {"Content-Type": "text/plain"})
    if back is None:
        return Answer(200, b"Done; the shop has named no page to go back to.\n")
    return Answer(303, headers={"Location": _with_result(back, row, succeeds=succeeds)})


def _with_result(url: str, row: Intent, *, succeeds: bool) -> str:
    told = {
        "payment_intent": row.id,
        "payment_intent_client_secret": shape(row)["client_secret"],
        "redirect_status": "succeeded" if succeeds else "failed",
    }
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode(told)]))
    return urlunsplit(parts._replace(query=query))
