"""The simulated Alipay: its gateway, its notifications, and the actions that only it has.

The rule of this module, and of those it is made of: they are written from Alipay's documents alone and share nothing
with the plugin's translator but the signature, so that the two check each other. What no document states is marked
`assumed`; docs/simulator.md lists it.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs

from refundry.errors import Forged, Invalid
from refundry.provider.strict_json import Unreadable
from refundry.testing.simulator.ledger import Ledger, ParsedRequest, Refund, State
from refundry.testing.simulator.messages import Call, Draft, Headers, SignatureFlaw, with_flaw
from refundry.testing.simulator.notifications import NotificationEvent
from refundry.testing.simulator.registration import simulator_plugin
from refundry.testing.simulator.server import Action, Simulator
from refundry.testing.simulator.settings import text
from refundry.testing.simulator.wire import RsaWire
from refundry_alipay.signing import form_fields, notification_content, sign, verify
from refundry_alipay.simulator.keys import APP_ID, AlipayKeys, cert_sn, make_keys, root_sn
from refundry_alipay.simulator.requests import AlipayRequest, Sent
from refundry_alipay.simulator.responses import (
    DEPOSIT_BACK,
    answer,
    beijing,
    charset_of,
    code_of,
    deposit_back,
    request_of,
    trade_changed,
)
from refundry_alipay.simulator.settings import CHARSETS, NOTIFY_CHARSETS, AlipaySettings

_UNDECLARED_AMOUNT: Final = 99_999_999_99
"""The fen of a payment that was not declared: the most that a price(11) can hold."""
_INTERVALS: Final = (0, 240, 600, 600, 3_600, 7_200, 21_600, 54_000)
"""Alipay, notifications: 4m, 10m, 10m, 1h, 2h, 6h, 15h after the first."""
_UNSIGNED: Final = frozenset({"isv.missing-app-id", "isv.invalid-app-id"})
"""Answered without a signature: there is no app whose key could be used."""


class AlipayWire(RsaWire[AlipaySettings]):
    """Alipay's messages."""

    provider = "alipay"
    notification_intervals = _INTERVALS

    def __init__(self, settings: AlipaySettings) -> None:
        super().__init__(settings)
        self._app_id = text("app_id", settings.app_id)
        keys = settings.keys
        self._serials = {
            "app_cert_sn": cert_sn(keys.app_cert.read_bytes()),
            "alipay_root_cert_sn": root_sn(keys.root_cert.read_bytes()),
        }
        self._own_serial = cert_sn(keys.alipay_cert.read_bytes())

    # --- requests -----------------------------------------------------------------------------------------------------

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        """Check the charset, the app, the common parameters, the signature and the content, in this order."""
        try:
            sent = Sent.of(call)
        except Unreadable:
            return _refused(AlipayRequest(operation="", path=call.path), "isv.invalid-charset")
        refusal = self._gate(sent)
        if refusal is not None:
            return _refused(sent.parsed(), refusal)
        try:
            parsed = sent.read()
        except (Unreadable, Invalid):
            return _refused(sent.parsed(), "ACQ.INVALID_PARAMETER")
        own = sent.params.get("notify_url") if self.settings.own_notify_url else None
        return attrs.evolve(parsed, notify_url=own)

    def _gate(self, sent: Sent) -> str | None:
        if sent.path != "/gateway.do" or sent.call.method not in ("GET", "POST"):
            return "isv.invalid-method"
        if "app_id" not in sent.params:
            return "isv.missing-app-id"
        if sent.params["app_id"] != self._app_id:
            return "isv.invalid-app-id"
        return sent.refusal() or self._serial(sent.params) or self._signature(sent) or self._token(sent.params)

    def _serial(self, sent: Mapping[str, str]) -> str | None:
        if not self.settings.certificates:
            return None
        if not all(name in sent for name in self._serials):
            return "isv.missing-signature-config"
        return None if all(sent[name] == serial for name, serial in self._serials.items()) else "isv.invalid-signature"

    def _signature(self, sent: Sent) -> str | None:
        if "charset" not in sent.query:
            return "isv.invalid-signature"
        try:
            verify(self.merchant_key, sent.params["sign"], sent.content)
        except Forged:
            return "isv.invalid-signature"
        return None

    def _token(self, sent: Mapping[str, str]) -> str | None:
        wanted = self.settings.app_auth_token
        return "aop.invalid-app-auth-token" if wanted is not None and sent.get("app_auth_token") != wanted else None

    def remembers(self, code: str) -> bool:
        """Return False: after a refusal the same out_request_no may be sent again, and pays when it can."""
        return False

    # --- answers ------------------------------------------------------------------------------------------------------

    def body(self, draft: Draft, at: datetime) -> bytes:
        """Write an answer, or a notification as a form, without its signature."""
        return self._notification(draft, at) if draft.operation == "notification" else answer(self.settings, draft)

    def sign(self, draft: Draft, body: bytes, at: datetime, flaw: SignatureFlaw | None) -> tuple[Headers, bytes]:
        """Sign a message; one that a fault corrupted beyond signing stays as it is."""
        if draft.operation == "notification":
            charset = self.settings.notify_charset
            kind = f"application/x-www-form-urlencoded; charset={charset}"
            return [("content-type", kind)], self._signed_form(body, flaw)
        charset = charset_of(self.settings, request_of(draft))
        headers = [("content-type", f"text/html;charset={charset}")]
        node = _first_node(body, charset)
        if node is None or flaw is SignatureFlaw.UNSIGNED or code_of(draft) in _UNSIGNED:
            return headers, body
        signed = body[:-1] + b',"sign":"' + self._sign(node, flaw).encode() + b'"'
        if self.settings.certificates:
            signed += b',"alipay_cert_sn":"' + self._own_serial.encode() + b'"'
        return headers, signed + b"}"

    def _signed_form(self, body: bytes, flaw: SignatureFlaw | None) -> bytes:
        try:
            fields = form_fields(body)
        except Unreadable:
            return body
        if flaw is SignatureFlaw.UNSIGNED:
            return body
        if flaw is SignatureFlaw.NO_TIME:
            fields.pop("notify_time", None)
        content = notification_content(fields, with_sign_type=self.settings.sign_type_signed)
        return urlencode(fields | {"sign": self._sign(content, flaw).encode()}).encode()

    def _sign(self, content: bytes, flaw: SignatureFlaw | None) -> str:
        return with_flaw(sign(self.signing_key(flaw), content), flaw)

    # --- notifications ------------------------------------------------------------------------------------------------

    def notifies(self, state: State) -> bool:
        """Return whether the refund succeeded."""
        return state is State.SUCCESS

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        """Return whether the body is exactly `success`."""
        return status == 200 and body == b"success"

    def _notification(self, draft: Draft, at: datetime) -> bytes:
        assert draft.refund is not None
        assert draft.payment is not None
        write = deposit_back if draft.code == DEPOSIT_BACK else trade_changed
        charset = self.settings.notify_charset
        about = f"{draft.refund.refund_id} {draft.code}"
        fields = {
            # Every attempt of a notification has the same.
            "notify_id": hashlib.md5(about.encode(), usedforsecurity=False).hexdigest(),
            "app_id": self._app_id,
            **({"charset": charset} if self.settings.charset_in == "form" else {}),
            "version": "1.0",
            "sign_type": "RSA2",
            **write(draft, draft.refund, draft.payment, at),
        }
        return urlencode(fields, encoding=NOTIFY_CHARSETS[charset]).encode()


def _refused(parsed: AlipayRequest, code: str) -> Draft:
    return Draft(operation="", path=parsed.path, code=code, request=parsed)


def _first_node(body: bytes, charset: str) -> bytes | None:
    """Return the raw bytes of the first node, which are what is signed, or `None` without one."""
    codec = CHARSETS[charset.lower()]
    whole = body.decode(codec, "surrogateescape")
    start = whole.find(':{"') + 1
    try:
        end = json.JSONDecoder(strict=False).raw_decode(whole, start)[1] if start else 0
    except ValueError:
        end = 0
    return whole[start:end].encode(codec, "surrogateescape") if end and body.endswith(b"}") else None


# --- the simulator ----------------------------------------------------------------------------------------------------


class AlipaySimulator(Simulator[AlipaySettings]):
    """Alipay on loopback, with one app: `async with AlipaySimulator(settings) as alipay: alipay.url`."""

    def new_wire(self) -> AlipayWire:
        """Return Alipay's messages."""
        return AlipayWire(self.settings)

    def new_ledger(self) -> Ledger:
        """Return a ledger whose request ids are unique within a trade, and in which a failed refund may be retried."""
        return Ledger(
            self.settings.payments == "any",
            undeclared_amount=_UNDECLARED_AMOUNT,
            ids_per_payment=True,
            retries_failed=True,
        )

    @property
    def actions(self) -> Mapping[str, Action]:
        """Return the actions on a refund that only Alipay has."""
        return {"deposit_back": self._deposit_back_from}

    def deposit_back(self, key: str, status: str = "F") -> Refund:
        """Set the bank's part: it accepted the money (`S`), refused it (`F`) or is processing it (`P`).

        `S` and `F` are notified.
        """
        refund = self._known(key)
        if status not in ("S", "F", "P"):
            raise Invalid("status", "must be one of S, F, P")
        if refund.state is not State.SUCCESS:
            raise Invalid("status", f"the refund is {refund.state}; the bank has a part only in one that succeeded")
        self._put_back(refund, status)
        return refund

    def _deposit_back_from(self, key: str, data: Mapping[str, Any]) -> None:
        self.deposit_back(key, data.get("status", "F"))

    def on_paid(self, refund: Refund) -> None:
        """Set the bank's part in a refund that has just succeeded, if the setting names one."""
        if self.settings.deposit_back != "none":
            self._put_back(refund, self.settings.deposit_back)

    def _put_back(self, refund: Refund, status: str) -> None:
        now = self._ports.now()
        refund.facts["deposit_back"] = {
            "dback_status": status,
            "dback_amount": str(refund.amount),
            "bank_ack_time": beijing(now),
            "est_bank_receipt_time": beijing(now + timedelta(days=1)),
        }
        if status != "P":
            self._notify(NotificationEvent(refund, State.SUCCESS, DEPOSIT_BACK, self.settings.app_gateway))


def _certificate_lines(keys_dir: Path) -> str:
    keys = AlipayKeys(keys_dir)
    certificates = {"app_cert": keys.app_cert, "provider_cert": keys.alipay_cert, "root_cert": keys.root_cert}
    # JSON's strings are TOML's basic strings.
    lines = "".join(f"# {setting} = {json.dumps(str(path))}\n" for setting, path in certificates.items())
    return f"# With --option certificates=true, in place of provider_public_key:\n{lines}"


PLUGIN: Final = simulator_plugin(
    AlipaySimulator,
    AlipaySettings,
    name="alipay",
    version="1.0.0",
    account={"app_id": APP_ID},
    path="/gateway.do",
    make_keys=make_keys,
    footer=_certificate_lines,
)
