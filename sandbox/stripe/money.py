"""Which amounts does Stripe take? Currencies, exponents, minimums.

Facts: https://docs.stripe.com/currencies (presentment currencies, special cases, minimums).
"""

from sandbox.stripe.errors import Refused


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


ZERO_DECIMALS = _set("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf")
THREE_DECIMALS = _set("bhd jod kwd omr tnd")
WHOLE_HUNDREDS = _set("isk ugx")
"""Two decimals by form, but none in fact."""
TWO_DECIMALS = _set(
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd"
    " cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd"
    " hnl htg huf idr ils inr jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop"
    " mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar"
    " sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah uyu uzs wst xcd yer"
    " zar zmw"
)
CURRENCIES = ZERO_DECIMALS | THREE_DECIMALS | TWO_DECIMALS | WHOLE_HUNDREDS

MOST = 99_999_999
MINIMUMS = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def currency(name: str, raw: object) -> str:
    """A check: a currency of Stripe's, in either case; returned in lower case."""
    value = str(raw).lower()
    if value not in CURRENCIES:
        raise Refused(
            400,
            f"Invalid currency: {value}. Stripe currently supports these currencies:"
            f" {', '.join(sorted(CURRENCIES))}",
            param=name,
        )
    return value


def decimals(currency: str) -> int:
    if currency in ZERO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def shown(amount: int, currency: str) -> str:
    """An amount as Stripe's messages show it."""
    number = f"{amount / 10 ** decimals(currency):,.{decimals(currency)}f}"
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency.upper()}"


def check_amount(amount: int, currency: str, param: str = "amount") -> None:
    """Raises Refused for an amount that Stripe cannot charge in that currency."""
    least = MINIMUMS.get(currency, 1)
    if amount < least:
        raise Refused(
            400,
            f"Amount must be at least {shown(least, currency)} {currency}",
            code="amount_too_small",
            param=param,
        )
    if amount > MOST:
        raise Refused(
            400,
            f"Amount must be no more than {shown(MOST, currency)}",
            code="amount_too_large",
            param=param,
        )
    check_step(amount, currency, param)


def check_step(amount: int, currency: str, param: str = "amount") -> None:
    """Raises Refused where the last digits have to be zeros."""
    step = 10 if currency in THREE_DECIMALS else 100 if currency in WHOLE_HUNDREDS else 1
    if amount % step:
        raise Refused(
            400,
            f"Invalid amount: {amount} must be a multiple of {step} in {currency}",
            code="parameter_invalid_integer",
            param=param,
        )
