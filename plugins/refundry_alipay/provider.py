"""The Alipay Open Platform: a refund becomes a signed call of its gateway, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by Alipay over its raw text, in the charset of the
account and by the certificate that is configured; every other answer is `Unknown`, whatever it says. What a believed
one means is in `refundry_alipay.interpretation`. Sources: Alipay Open Platform, `alipay.trade.refund`,
`alipay.trade.fastpay.refund.query`, asynchronous notifications, signatures and public key certificates.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import attrs

from refundry.money import Money
from refundry.provider import (
    Acknowledgement,
    Answer,
    Forged,
    Invalid,
    Notification,
    OutcomeKind,
    ProviderCall,
    ProviderPlugin,
    RefundInstruction,
    Request,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
    messages,
    read_object,
    signatures,
    validation,
)
from refundry.provider.signed import SignedProvider
from refundry_alipay import __version__, charsets, interpretation, request_fields, signing
from refundry_alipay.codes import INQUIRY_CODES, REFUND_CODES
from refundry_alipay.interpretation import BEIJING
from refundry_alipay.messages import (
    DepositBackMessage,
    QueryRequest,
    QueryResponse,
    RefundRequest,
    RefundResponse,
    TradeNotification,
)
from refundry_alipay.reports import TRADE_BILL
from refundry_alipay.request_fields import CURRENCY, QUERY_OPTIONS, REFUND_OPTIONS
from refundry_alipay.settings import AlipaySettings, Certificates, check_settings, load_keys

_Message = TypeVar("_Message", bound=messages.Message)

REFUND: Final = "alipay.trade.refund"
QUERY: Final = "alipay.trade.fastpay.refund.query"
DEPOSIT_BACK: Final = "alipay.trade.refund.depositback.completed"

_PLACES: Final = 2
_MAX_NUMBER: Final = 64
_MAX_REASON: Final = 256
_MAX_PRICE: Final = 16

ACKNOWLEDGEMENT: Final = Acknowledgement(200, (("content-type", "text/plain"),), b"success")
"""The answer to every notification that is kept: these seven bytes and nothing else, or Alipay sends it again."""


@attrs.frozen(slots=True)
class AlipayProvider(SignedProvider[AlipaySettings]):
    """One account at Alipay: `Provider` and `NotificationHandler`."""

    _certificates: Certificates = attrs.field(repr=False, eq=False)

    name = "Alipay"

    @property
    def identity(self) -> str:
        """Name the app and the gateway, and with app_auth_token whom it calls for.

        A refund is only known to the app that sent it, and an order number (`merchant:`) is another trade at another
        merchant. A token that is renewed is the same sender where seller_id is set.
        """
        settings = self.settings
        if settings.app_auth_token is None:
            return f"{settings.app_id} at {settings.base_url}"
        token = hashlib.sha256(settings.app_auth_token.encode()).hexdigest()[:12]
        return f"{settings.app_id} for {settings.seller_id or token} at {settings.base_url}"

    # --- orders -------------------------------------------------------------------------------------------------------

    def exponent(self, currency: str) -> int:
        """Return the decimals of the yuan; `Invalid` for another currency, which Alipay's documents do not refund."""
        if currency != CURRENCY:
            raise Invalid("currency", f"must be {CURRENCY}; Alipay's documents give every amount in yuan")
        return _PLACES

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid` for an order that Alipay's field rules refuse."""
        _check_amount(instruction.amount, self.exponent(instruction.amount.currency))
        if instruction.details is not None:
            request_fields.check(instruction.details)
        self._check_charset(instruction)

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask Alipay to refund; equal orders give equal bytes."""
        read = partial(interpretation.refunded, instruction)
        call = self.call(REFUND, self.body(instruction), at, RefundResponse, read)
        notify_url = (instruction.details or {}).get("notify_url", self.settings.notify_url)
        return attrs.evolve(call, sign=partial(self.signed, REFUND, call.body, at, notify_url))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that inquires about the refund, by the trade and Refundry's number of the refund."""
        options = self._query_options(instruction, QUERY_OPTIONS)
        request = QueryRequest(
            out_request_no=instruction.refund_request_id, query_options=options, **_trade(instruction)
        )
        read = partial(interpretation.queried, instruction)
        return self.call(QUERY, self.encode(request), at, QueryResponse, read)

    def refund_request(self, instruction: RefundInstruction) -> RefundRequest:
        """Return the message that requests the refund."""
        request = RefundRequest(
            out_request_no=instruction.refund_request_id,
            refund_amount=str(instruction.amount),
            refund_reason=instruction.reason or None,
            query_options=self._query_options(instruction, REFUND_OPTIONS),
            **_trade(instruction),
        )
        further = validation.sorted_fields(instruction.details or {})
        return attrs.evolve(request, **{name: further[name] for name in further.keys() - _ELSEWHERE})

    def _query_options(self, instruction: RefundInstruction, known: tuple[str, ...]) -> list[str] | None:
        """Return what Alipay is asked to answer besides: as the refund asks for it, or else the account."""
        options = (instruction.details or {}).get("query_options", self.settings.query_options)
        return [option for option in options if option in known] or None

    def encode(self, message: messages.Message) -> bytes:
        """Return the form whose only field is the message."""
        content = messages.encode(message).decode()
        return urlencode({"biz_content": content}, encoding=self.settings.charset, errors="strict").encode()

    def _check_charset(self, instruction: RefundInstruction) -> None:
        details = json.dumps(validation.sorted_fields(instruction.details or {}), ensure_ascii=False)
        for field, text in (
            ("payment", instruction.payment),
            ("reason", instruction.reason or ""),
            ("details", details),
        ):
            try:
                text.encode(self.settings.charset)
            except UnicodeEncodeError as error:
                character = f"U+{ord(text[error.start]):04X}"
                raise Invalid(field, f"has {character}, which {self.settings.charset} cannot hold") from None

    # --- exchanges ----------------------------------------------------------------------------------------------------

    @property
    def signing_key(self) -> str | None:
        """Return the serial number of the app's certificate, in certificate mode."""
        return self._certificates.app

    def signed(self, operation: str, body: bytes, at: datetime, notify_url: str | None = None) -> Request:
        """Put the common parameters into the query, where Alipay looks for `charset`.

        The token is the first field of the form, as documented: a URL ends up in the logs of proxies. It is not in the
        body that is recorded and sent again, because it is a secret and may be renewed.
        """
        charset = self.settings.charset
        if self.settings.app_auth_token is not None:
            body = urlencode({"app_auth_token": self.settings.app_auth_token}).encode() + b"&" + body
        common = self._common(operation, at) | ({} if notify_url is None else {"notify_url": notify_url})
        signed = signing.request_content(common | signing.read_form(body, charset), charset)
        query = urlencode(common | {"sign": signing.sign(self.private_key(), signed)})
        headers = (("content-type", f"application/x-www-form-urlencoded;charset={charset}"),)
        return Request("POST", f"{self.settings.base_url}?{query}", headers, body)

    def _common(self, method: str, at: datetime) -> dict[str, str]:
        settings = self.settings
        params = {
            "app_id": settings.app_id,
            "method": method,
            "format": "JSON",
            "charset": settings.charset,
            "sign_type": signing.SIGN_TYPE,
            "timestamp": at.astimezone(BEIJING).replace(tzinfo=None).isoformat(" ", "seconds"),
            "version": "1.0",
            "app_cert_sn": self._certificates.app,
            "alipay_root_cert_sn": self._certificates.root,
        }
        return {name: value for name, value in params.items() if value is not None}

    def verified(self, operation: str, answer: Answer) -> bytes:
        """Return the node of an answer; raise `Forged` unless it is signed for this account."""
        envelope = signing.read_answer(answer.body, operation, self.settings.charset)
        expected = self._certificates.provider
        if expected is not None and envelope.sign is not None and envelope.cert_sn != expected:
            raise Forged("it is not signed with provider_cert; Alipay may use a newer certificate")
        signing.verify(self._public_key, envelope.sign, envelope.node)
        return envelope.node

    def decode(self, kind: type[_Message], content: bytes) -> _Message:
        """Return the message that a verified node is."""
        return messages.read(kind, signing.read_node(content, self.settings.charset, _STRINGS))

    def distrusted(self, operation: str, answer: Answer, error: Exception) -> Unknown:
        """Return the outcome of an answer that Alipay did not sign, which it never does for an unknown app."""
        claimed, unsigned = self._claimed(operation, answer.body)
        rejected = "app_id, base_url and private_key" if unsigned and claimed in _APP_REFUSED else None
        return signatures.distrusted(error, self.name, claim=claimed, rejected_key=rejected)

    def _claimed(self, method: str, body: bytes) -> tuple[str | None, bool]:
        """Return the documented code that an answer claims, and whether it has no signature at all."""
        try:
            answer = signing.read_answer(body, method, self.settings.charset)
            node = signing.read_node(answer.node, self.settings.charset)
        except Unreadable:
            return None, False
        code = node.get("sub_code") or node.get("code")
        return (code if isinstance(code, str) and code in REFUND_CODES else None), answer.sign is None

    # --- notifications ------------------------------------------------------------------------------------------------

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Verify the raw values of a form that Alipay posts, and read it in the charset that it names.

        A message of Alipay's about something else (a payment, a trade that timed out) names no refund: it is
        acknowledged, because Alipay would repeat it for a day.
        """
        raw = signing.form_fields(notification.body)
        signed = self._verified_of(_contents(raw), raw.get("sign", b"").decode("latin-1"))
        named = raw.get("charset", b"").decode("latin-1")
        in_header = charsets.named_in(notification.header("content-type"))
        params = charsets.decoded(raw, named, in_header, self.settings.charset)
        self._check_names(params)
        fields = {name: value for name, value in params.items() if value}
        if fields.get("msg_method") == DEPOSIT_BACK:
            return _deposit_back(fields, signed)
        message = messages.read(TradeNotification, fields)
        # A refund that was sent without a number bears the trade's: it is not ours.
        refund = message.out_biz_no if message.refund_fee or message.gmt_refund else None
        at = interpretation.moment(message.notify_time)
        return VerifiedNotification(refund, at, partial(interpretation.notified, message), ACKNOWLEDGEMENT, signed)

    def _check_names(self, params: Mapping[str, str]) -> None:
        """Raise `Forged` unless a form is signed as documented, with our certificate, for our app and seller."""
        if params.get("sign_type", signing.SIGN_TYPE) != signing.SIGN_TYPE:
            raise Forged(f"it is not signed with {signing.SIGN_TYPE}")
        named = (
            ("app_id", self.settings.app_id, "another app"),
            ("seller_id", self.settings.seller_id or params.get("seller_id"), "another seller"),
            ("alipay_cert_sn", self._certificates.provider or params.get("alipay_cert_sn"), "another certificate"),
        )
        for name, wanted, other in named:
            if params.get(name, wanted) != wanted:
                raise Forged(f"it names {other}")
        if "app_id" not in params:
            raise Forged("it names no app")

    def _verified_of(self, contents: list[bytes], signature: str) -> bytes:
        *others, last = contents
        for content in others:
            with suppress(Forged):
                signing.verify(self._public_key, signature, content)
                return content
        signing.verify(self._public_key, signature, last)
        return last


def _trade(instruction: RefundInstruction) -> dict[str, Any]:
    return dict([interpretation.named(instruction.payment)])


_ELSEWHERE: Final = frozenset({"query_options", "notify_url"})
"""The further fields that are not written as they are."""
_STRINGS: Final = ("refund_fee", "refund_amount")
"""The amounts that decide: a number is not how Alipay writes one."""
_APP_REFUSED: Final = frozenset(
    {
        "isv.invalid-app-id",
        "isv.missing-app-id",
        "isv.invalid-signature",
        "isv.missing-signature-config",
        "isv.missing-signature-key",
    }
)
"""The codes that Alipay returns unsigned for an app that it does not know (seen for isv.invalid-app-id); the same is
assumed for an app whose key it does not have."""


def _contents(params: Mapping[str, bytes]) -> list[bytes]:
    """Return what may have been signed: with and without what has no value, the name of the certificate, and sign_type.

    Where sign_type is signed, everything is: the name of the certificate too. An undocumented name without a value does
    not justify leaving it out: a flipped bit makes such names.
    """
    without = {name: value for name, value in params.items() if name != "alipay_cert_sn"}
    known = messages.described(TradeNotification)
    keeps = (True, False) if all(value or name in known for name, value in params.items()) else (True,)
    forms = ((params, False), (without, False), (params, True))
    contents = (
        signing.notification_content(form, keep_empty=keep, with_sign_type=with_sign_type)
        for form, with_sign_type in forms
        for keep in keeps
    )
    return list(dict.fromkeys(contents))


def _deposit_back(fields: Mapping[str, str], signed: bytes) -> VerifiedNotification:
    message = messages.read(DepositBackMessage, read_object(fields.get("biz_content", "").encode()))
    at = interpretation.moment(fields.get("notify_time"))
    read = partial(interpretation.banked, message)
    return VerifiedNotification(message.out_request_no, at, read, ACKNOWLEDGEMENT, signed)


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_amount(amount: Money, exponent: int) -> None:
    validation.check_amount(amount, exponent, "Alipay")
    if len(str(amount)) > _MAX_PRICE:
        raise Invalid("amount", f"has more than {_MAX_PRICE} characters; Alipay takes no more")


# --- settings ---------------------------------------------------------------------------------------------------------


def build(settings: AlipaySettings, terms: Terms) -> AlipayProvider:
    """Make the provider of an account; `Invalid` names the setting that is wrong."""
    check_settings(settings)
    secret = settings.private_key
    private = None if secret is None else signatures.load_private_key(secret.reveal(), "private_key")
    return AlipayProvider(settings, terms, private, *load_keys(settings, private))


PLUGIN: Final = ProviderPlugin(
    name="alipay",
    version=__version__,
    settings=AlipaySettings,
    build=build,
    codes=MappingProxyType({"refund": REFUND_CODES, "inquire": INQUIRY_CODES}),
    terms=Terms(
        # "Wait ten seconds or more": earlier, a query without refund_status means nothing.
        first_inquiry=10.0,
        inquiry_intervals=(10.0, 30.0, 60.0, 300.0),
        not_found_interval=10.0,
        # Alipay asks for one query before a refund is repeated, and pays a number once. A second one costs ten seconds
        # and spares the repetition of a refund that was only slow.
        not_found_tries=1,
        replays_refusals=False,
        inquire_by=("refund_request_id",),
        # No page says which characters a number may have. ASCII alone is the same in every charset.
        id_characters="!-~",
        payment_length=_MAX_NUMBER,
        reason_length=_MAX_REASON,
    ),
    reports=(TRADE_BILL,),
    text_details=request_fields.TEXTS,
    notifications=True,
    names_refund=MappingProxyType({"inquire": frozenset({OutcomeKind.SUCCEEDED})}),
)
