"""The page that an order sends its payer to: whoever opens it has approved the order.

With `?result=failed` he has denied it. Then he is sent on to the shop's `return_url` or
`cancel_url`, as PayPal does it.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sandbox.paypal import dashboard
from sandbox.paypal.account import Account
from sandbox.paypal.errors import Refused
from sandbox.paypal.objects import Order
from sandbox.paypal.shapes import CHECKOUT, PAYER
from sandbox.vendor import Answer, Request, UnknownAction

PAYPALS_OWN = "https://www.sandbox.paypal.com"


def home(request: Request) -> str:
    """Below it is the page: at this sandbox, as the caller has named it."""
    host = request.headers.get("host")
    return f"http://{host}/{request.vendor}" if host else PAYPALS_OWN


def is_page(request: Request) -> bool:
    return request.method == "GET" and request.path == CHECKOUT


def visit(account: Account, request: Request) -> Answer:
    """The payer's browser has come: it is sent back to the shop."""
    asked = dict(parse_qsl(request.query))
    agrees = asked.get("result") != "failed"
    try:
        row = account.order(asked.get("token", ""))
        # Whoever comes again, or goes back and forth, is only sent on.
        if row.status in dashboard.WAITING:
            (dashboard.approve if agrees else dashboard.deny)(account, order=row.id)
    except (Refused, UnknownAction) as error:
        return Answer(400, str(error).encode(), {"Content-Type": "text/plain"})
    back = _shop(row, agrees)
    if back is None:
        return Answer(200, b"Done; the shop has named no page to go back to.\n")
    told = {"token": row.id} | ({"PayerID": str(PAYER["payer_id"])} if agrees else {})
    parts = urlsplit(back)
    query = "&".join(filter(None, [parts.query, urlencode(told)]))
    return Answer(303, headers={"Location": urlunsplit(parts._replace(query=query))})


def _shop(row: Order, agrees: bool) -> str | None:
    """Where the shop wants its payer back."""
    wallet = (row.source or {}).get("paypal", {})
    context = wallet.get("experience_context") or row.context
    found = context.get("return_url" if agrees else "cancel_url")
    return None if found is None else str(found)
