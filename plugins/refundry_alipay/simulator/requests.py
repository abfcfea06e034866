"""Calls of the simulated Alipay's gateway, checked for their shape.

The rule of this module: it is written from Alipay's documents alone; what is signed is what was sent.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider.strict_json import Unreadable, read_object
from refundry.testing.simulator.ledger import ParsedRequest
from refundry.testing.simulator.messages import Call
from refundry_alipay.signing import read_form, request_content
from refundry_alipay.simulator.settings import CHARSETS

REFUND: Final = "alipay.trade.refund"
QUERY: Final = "alipay.trade.fastpay.refund.query"
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)


@attrs.frozen(kw_only=True)
class AlipayRequest(ParsedRequest):
    """A request with what its answer depends on."""

    method: str = ""
    charset: str = "utf-8"
    wanted: frozenset[str] = frozenset()
    """The query_options."""
    signed: str = ""
    """What the signature should have been of."""

    @property
    def known(self) -> bool:
        """Return whether it calls a method that there is."""
        return self.method in _READERS


@attrs.frozen
class Sent:
    """A call of the gateway: its parameters, of the query and of the body."""

    call: Call
    path: str
    charset: str
    query: Mapping[str, str]
    params: Mapping[str, str]

    @classmethod
    def of(cls, call: Call) -> "Sent":
        """Take a call apart; `Unreadable` if its charset is not taken, or it is not in it."""
        target = urlsplit(call.path)
        charset = _charset(target.query)
        query = read_form(target.query.encode(), charset)
        params = query | (read_form(call.body, charset) if call.method == "POST" else {})
        return cls(call, target.path, charset, query, params)

    @property
    def content(self) -> bytes:
        """Return what is signed."""
        return request_content(self.params, self.charset)

    @property
    def _biz_content(self) -> bytes:
        return self.params.get("biz_content", "{}").encode()

    def parsed(self) -> AlipayRequest:
        """Return what is known before the content is read."""
        return AlipayRequest(
            operation="",
            path=self.path,
            method=self.params.get("method", ""),
            charset=self.charset,
            signed=self.content.decode(CHARSETS[self.charset.lower()]),
            digest=hashlib.sha256(self._biz_content).hexdigest(),
        )

    def read(self) -> AlipayRequest:
        """Read the content; `Invalid` or `Unreadable` for one that breaks a documented rule."""
        parsed = self.parsed()
        return _READERS[parsed.method](parsed, read_object(self._biz_content))

    def refusal(self) -> str | None:
        """Check the common parameters but the app and the signature; give the code of what is wrong."""
        for name, code in _NEEDED.items():
            if not self.params.get(name):
                return code
        return next((code for name, (fits, code) in _SHAPES.items() if not fits(self.params.get(name))), None)


def _charset(query: str) -> str:
    named = dict(part.partition("=")[::2] for part in query.split("&")).get("charset", "utf-8")
    if named.lower() not in CHARSETS:
        raise Unreadable("a charset that is not taken")
    return named


def _is_time(value: str | None) -> bool:
    try:
        return _TIMESTAMP.fullmatch(value or "") is not None and bool(datetime.fromisoformat(value or ""))
    except ValueError:
        return False


_NEEDED: Final = {
    "method": "isv.missing-method",
    "sign_type": "isv.missing-signature-type",
    "sign": "isv.missing-signature",
    "timestamp": "isv.missing-timestamp",
    "version": "isv.missing-version",
}
_SHAPES: Final[Mapping[str, tuple[Callable[[str | None], bool], str]]] = {
    "method": (lambda value: value in _READERS, "isv.invalid-method"),
    "sign_type": (lambda value: value == "RSA2", "isv.invalid-signature-type"),
    "timestamp": (_is_time, "isv.invalid-timestamp"),
    "format": (lambda value: (value or "JSON").upper() == "JSON", "isv.invalid-format"),
    "encrypt_type": (lambda value: value is None, "isv.invalid-encrypt-type"),
    "version": (lambda value: value == "1.0", "isv.invalid-parameter"),
}


# --- the content ------------------------------------------------------------------------------------------------------


def _refund_request(parsed: AlipayRequest, data: Mapping[str, Any]) -> AlipayRequest:
    amount = data.get("refund_amount")
    currency = _string(data, "refund_currency", 8) or "CNY"
    if not isinstance(amount, str | int) or isinstance(amount, bool):
        raise Invalid("refund_amount", "must be given, in yuan with two decimals")
    _string(data, "refund_reason", 256)
    money = Money.parse(str(amount), currency, 2, field="refund_amount")
    return attrs.evolve(_with_trade(parsed, data), operation="refund", amount=money)


def _query_request(parsed: AlipayRequest, data: Mapping[str, Any]) -> AlipayRequest:
    if not data.get("out_request_no"):
        raise Invalid("out_request_no", "must be given")
    return attrs.evolve(_with_trade(parsed, data), operation="inquiry")


def _with_trade(parsed: AlipayRequest, data: Mapping[str, Any]) -> AlipayRequest:
    trade, number = _string(data, "trade_no", 64), _string(data, "out_trade_no", 64)
    if trade is None and number is None:
        raise Invalid("trade_no", "trade_no and out_trade_no cannot both be empty")
    return attrs.evolve(
        parsed,
        refund_request_id=_string(data, "out_request_no", 64),
        payment=trade or "",
        merchant_payment=number,
        wanted=_options(data.get("query_options")),
    )


_READERS: Final[Mapping[str, Callable[[AlipayRequest, Mapping[str, Any]], AlipayRequest]]] = {
    REFUND: _refund_request,
    QUERY: _query_request,
}


def _string(data: Mapping[str, Any], field: str, longest: int) -> str | None:
    value = data.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise Invalid(field, f"must be a text of at most {longest} characters")
    return value


def _options(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Invalid("query_options", "must be a list of texts")
    return frozenset(value)
