"""How does PayPal say no? One exception, shaped like the error object of its API."""

from typing import Any

from sandbox.vendor import Answer, json_answer

INFORMATION = "https://developer.paypal.com/api/rest/reference/orders/v2/errors/#"
Detail = dict[str, str]

NAMES = {
    400: (
        "INVALID_REQUEST",
        "Request is not well-formed, syntactically incorrect, or violates schema.",
    ),
    401: (
        "AUTHENTICATION_FAILURE",
        "Authentication failed due to missing authorization header, or invalid authentication"
        " credentials.",
    ),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: (
        "RESOURCE_CONFLICT",
        "The server has detected a conflict while processing this request.",
    ),
    415: (
        "UNSUPPORTED_MEDIA_TYPE",
        "The server does not support the request payload's media type.",
    ),
    422: (
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect, or failed business"
        " validation.",
    ),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable."),
}
ISSUES = {
    "ACTION_DOES_NOT_MATCH_INTENT": "The order was created with another intent.",
    "AMOUNT_MISMATCH": "Should equal item_total + tax_total + shipping + handling + insurance -"
    " shipping_discount - discount.",
    "AUTHORIZATION_ALREADY_CAPTURED": "Authorization has previously been captured.",
    "AUTHORIZATION_DENIED": "A denied authorization cannot be captured.",
    "AUTHORIZATION_VOIDED": "A voided authorization cannot be captured or reauthorized.",
    "AUTH_CAPTURE_CURRENCY_MISMATCH": "Currency of capture must be the same as currency of"
    " authorization.",
    "BILLING_AGREEMENT_NOT_FOUND": "The requested Billing Agreement token was not found.",
    "CANNOT_BE_NEGATIVE": "Must be greater than or equal to 0.",
    "CANNOT_BE_ZERO_OR_NEGATIVE": "Must be greater than zero.",
    "CAPTURE_FULLY_REFUNDED": "The capture has already been fully refunded",
    "DECIMALS_NOT_SUPPORTED": "Currency does not support decimals.",
    "DECIMAL_PRECISION": "If the currency supports decimals, only two decimal place precision is"
    " supported.",
    "DUPLICATE_INVOICE_ID": "Duplicate Invoice ID detected.",
    "DUPLICATE_REFERENCE_ID": "`reference_id` must be unique if multiple `purchase_unit` are"
    " provided.",
    "DUPLICATE_REQUEST_ID": "The value of PayPal-Request-Id header has already been used.",
    "INSTRUMENT_DECLINED": "The instrument presented was either declined by the processor or bank,"
    " or it can't be used for this payment.",
    "INVALID_ARRAY_MAX_ITEMS": "The number of items in an array parameter is too large.",
    "INVALID_ARRAY_MIN_ITEMS": "The number of items in an array parameter is too small.",
    "INVALID_CURRENCY_CODE": "Currency code is invalid or is not currently supported.",
    "INVALID_PARAMETER_SYNTAX": "The value of a field does not conform to the expected format.",
    "INVALID_PARAMETER_VALUE": "A parameter value is not valid.",
    "INVALID_RESOURCE_ID": "Specified resource ID does not exist. Please check the resource ID and"
    " try again.",
    "INVALID_STRING_LENGTH": "The value of a field is either too short or too long.",
    "ITEM_TOTAL_MISMATCH": "Should equal sum of (unit_amount * quantity) across all items for a"
    " given purchase_unit.",
    "ITEM_TOTAL_REQUIRED": "If item details are specified corresponding"
    " amount.breakdown.item_total is required.",
    "MALFORMED_REQUEST_JSON": "The request JSON is not well formed.",
    "MAX_CAPTURE_AMOUNT_EXCEEDED": "Capture amount exceeds allowable limit.",
    "MAX_VALUE_EXCEEDED": "Should be less than or equal to 999999999999999.99.",
    "MISSING_REQUIRED_PARAMETER": "A required field / parameter is missing.",
    "MULTI_CURRENCY_ORDER": "Multiple differing values of currency_code are not supported.",
    "NOT_SUPPORTED": "This field is not currently supported.",
    "ORDER_ALREADY_AUTHORIZED": "Order already authorized.",
    "ORDER_ALREADY_CAPTURED": "Order already captured.",
    "ORDER_COMPLETED_OR_VOIDED": "Order is voided or completed.",
    "ORDER_NOT_APPROVED": "Payer has not yet approved the Order for payment. Please redirect the"
    " payer to the 'rel':'approve' url returned as part of the HATEOAS links within the Create"
    " Order call or provide a valid `payment_source` in the request.",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "The payer account cannot be used for this transaction.",
    "PAYER_ACTION_REQUIRED": "Transaction cannot complete successfully, instruct the buyer to"
    " return to PayPal.",
    "PAYER_CANNOT_PAY": "Payer cannot pay for this transaction.",
    "PAYPAL_REQUEST_ID_REQUIRED": "A PayPal-Request-Id is required if you are trying to process"
    " payment for an Order.",
    "PENDING_CAPTURE": "Cannot initiate a refund as the capture is pending.",
    "PREVIOUSLY_CAPTURED": "Authorization has been previously captured and hence cannot be voided.",
    "PREVIOUSLY_VOIDED": "Authorization has been previously voided and hence cannot be voided"
    " again.",
    "PREVIOUS_REQUEST_IN_PROGRESS": "A previous request on this resource is currently in progress."
    " Please wait for sometime and try again.",
    "REFERENCE_ID_REQUIRED": "'reference_id' is required for each 'purchase_unit' if multiple"
    " 'purchase_unit' are provided.",
    "REFUND_AMOUNT_EXCEEDED": "The refund amount must be less than or equal to the capture amount"
    " that has not yet been refunded.",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "Refund must be in the same currency as the capture",
    "REFUND_NOT_ALLOWED": "Capture cannot be refunded.",
    "TOKEN_ID_NOT_FOUND": "Specified token was not found. Verify the token and try the request"
    " again.",
    "TRANSACTION_DISPUTED": "Partial refunds cannot be offered at this time because there is an"
    " open case on this transaction.",
    "TRANSACTION_REFUSED": "The request was refused.",
    "UNSUPPORTED_INTENT": "`intent=AUTHORIZE` is not supported for multiple purchase units.",
}


class Refused(Exception):
    """A request that PayPal answers with an error."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(document.get("name") or document.get("error"), document.get("details"))
        self.status = status
        self.document = document

    def answer(self, debug_id: str) -> Answer:
        """OAuth's own errors carry no debug id in their body."""
        known = {"debug_id": debug_id} if "name" in self.document else {}
        return json_answer(self.status, self.document | known)


def detail(issue: str, field: str | None = None, value: object = None, **more: str) -> Detail:
    """`field` is a JSON pointer where the fault lies in the body; `more`: `location`."""
    where = {} if field is None else {"field": field, "location": "body"}
    shown = {} if value is None else {"value": str(value)}
    return where | shown | more | {"issue": issue, "description": ISSUES[issue]}


def refused(status: int, *details: Detail, **links: str) -> Refused:
    """`links`: further links of the error, by their relation with underscores for dashes."""
    name, message = NAMES[status]
    document: dict[str, Any] = {"name": name, "message": message}
    if details:
        document["details"] = list(details)
        links = {"information_link": INFORMATION + details[0]["issue"]} | links
        document["links"] = [
            {"href": href, "rel": rel if rel == "information_link" else rel.replace("_", "-")}
            for rel, href in links.items()
        ]
    return Refused(status, document)


def invalid(issue: str, field: str | None = None, value: object = None, **more: str) -> Refused:
    """A request of the wrong form: 400."""
    return refused(400, detail(issue, field, value, **more))


def unprocessable(issue: str, field: str | None = None, value: object = None) -> Refused:
    """A well-formed request that cannot be done: 422."""
    return refused(422, detail(issue, field, value))


def missing(id: str) -> Refused:
    """Nothing of that id: 404."""
    return refused(404, detail("INVALID_RESOURCE_ID", value=id, location="path"))


def in_progress() -> Refused:
    """The same is being done right now: 409."""
    return refused(409, detail("PREVIOUS_REQUEST_IN_PROGRESS"))


def oauth(status: int, error: str, description: str) -> Refused:
    """An error of the token service, or about a token."""
    return Refused(status, {"error": error, "error_description": description})
