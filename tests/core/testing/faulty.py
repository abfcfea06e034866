"""Faulty providers: each is Acme with one mistake that was seen in the field, and the checks that must catch it.

The mistakes come from real refund integrations: a timeout read as a failure, a float, a signature over re-encoded JSON,
an id that is not compared.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from refundry.errors import Forged, Invalid
from refundry.money import Money
from refundry.provider import (
    Answer,
    Blocked,
    Code,
    CodeClass,
    DefinitiveFailure,
    NewId,
    Notification,
    Outcome,
    OutcomeKind,
    Pending,
    ProviderCall,
    ProviderPlugin,
    RefundInstruction,
    Request,
    Resend,
    ReviewReason,
    SameId,
    Scope,
    Succeeded,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
)
from tests.core.testing.reference_provider import INQUIRY, REFUND, Acme, AcmeSettings, Content, Table, plugin

PLUGINS: dict[str, tuple[ProviderPlugin, frozenset[str]]] = {}
"""Every faulty plugin with the names of the checks that must fail; no others may."""


def caught_by(*checks: str) -> Any:
    def add(provider: type[Acme]) -> type[Acme]:
        PLUGINS[provider.__name__] = (plugin(provider, **getattr(provider, "declared", {})), frozenset(checks))
        return provider

    return add


# --- what an answer means ---------------------------------------------------------------------------------------------


@caught_by("malformed-not-trusted", "http-errors-not-trusted", "consistent-under-every-fault")
class ServerErrorIsFailure(Acme):
    """HTTP 5xx means that the refund failed."""

    def unexpected_status(self, answer: Answer) -> Outcome | None:
        if answer.status >= 500:
            return DefinitiveFailure(str(answer.status), "The server refused.", "Ask again.")
        return super().unexpected_status(answer)


@caught_by("http-errors-not-trusted")
class StatusCodeIgnored(Acme):
    """The HTTP status is ignored."""

    def unexpected_status(self, answer: Answer) -> Outcome | None:
        return None


@caught_by("malformed-not-trusted", "inquiry-lost", "consistent-under-every-fault")
class UnreadableIsFailure(Acme):
    """An unreadable answer means that the refund failed."""

    def read(self, path: str, interpret: Any, answer: Answer) -> Outcome:
        outcome = super().read(path, interpret, answer)
        if isinstance(outcome, Unknown) and outcome.cause.startswith("not trusted: not JSON"):
            return DefinitiveFailure("UNREADABLE", "The answer was not JSON.", "Ask again.")
        return outcome


@caught_by(
    "malformed-not-trusted",
    "duplicate-keys-not-trusted",
    "http-errors-not-trusted",
    "unsigned-not-trusted",
    "wrong-key-not-trusted",
    "altered-not-trusted",
    "raw-bytes-signed",
    "headers-not-trusted",
    "other-call-not-trusted",
    "other-account-not-trusted",
)
class RaisesOnMalformedAnswers(Acme):
    """An unreadable answer raises an exception."""

    def read(self, path: str, interpret: Any, answer: Answer) -> Outcome:
        self.verify(path, answer)
        outcome: Outcome = interpret(json.loads(answer.body))
        return outcome


@caught_by("unlisted-codes-unknown")
class UnlistedIsFailure(Acme):
    """A code that is not in the table means that the refund failed."""

    def unlisted(self, instruction: RefundInstruction, content: Content) -> Outcome:
        return DefinitiveFailure(str(content.get("code")), "Acme refused.", "Ask again.")


@caught_by("unlisted-codes-unknown")
class UnlistedIsPayment(Acme):
    """A code that is not in the table, with a successful status, settles the refund."""

    def unlisted(self, instruction: RefundInstruction, content: Content) -> Outcome:
        if content.get("status") == "ok" and "amount" in content:
            return Succeeded(self.amount_of(instruction, content))
        return super().unlisted(instruction, content)


@caught_by("unlisted-codes-unknown")
class UnlistedIsResent(Acme):
    """After a code that is not in the table the refund is sent again immediately."""

    def unlisted(self, instruction: RefundInstruction, content: Content) -> Outcome:
        return Unknown("not a known code", resend=Resend.SAME)


@caught_by("unlisted-codes-unknown")
class ComparesPrefixes(Acme):
    """A code is taken for any known code that it starts with."""

    def by_code(self, instruction: RefundInstruction, content: Content, table: Table) -> Outcome:
        code = str(content.get("code"))
        known = next((name for name in table if code.startswith(name)), code)
        return super().by_code(instruction, content | {"code": known}, table)


@caught_by("unlisted-codes-unknown", "code-and-status-agree")
class StatusAloneDecides(Acme):
    """The status decides, whatever the code is."""

    def by_code(self, instruction: RefundInstruction, content: Content, table: Table) -> Outcome:
        if content.get("status") == "ok" and "amount" in content:
            return self.by_state(instruction, content)
        return super().by_code(instruction, content, table)


@caught_by("code-and-status-agree")
class CodeAloneDecides(Acme):
    """The code decides, whatever the status is."""

    def agrees(self, row: Code, content: Content) -> bool:
        return True


@caught_by("pending-not-final", "settles-later", "fails-later", "consistent-under-every-fault")
class PendingIsPayment(Acme):
    """A pending refund counts as paid."""

    def by_state(self, instruction: RefundInstruction, content: Content) -> Outcome:
        return super().by_state(
            instruction, content | {"state": "done"} if content.get("state") == "working" else content
        )

    def by_class(self, row: Code) -> Outcome:
        return super().by_class(row)


@caught_by("codes-as-classified", "settles-later", "pending-never-resent")
class PendingIsResent(Acme):
    """A pending refund is sent again."""

    def by_class(self, row: Code) -> Outcome:
        if row.meaning is CodeClass.PENDING:
            return Unknown(row.cause, row.code, resend=Resend.SAME)
        return super().by_class(row)


@caught_by("not-found-not-failed", "codes-as-classified", "request-lost", "done-late", "pending-never-resent")
class NotFoundIsFailure(Acme):
    """A refund that the provider does not know has failed."""

    def not_found(self, row: Code) -> Outcome:
        return DefinitiveFailure(row.code, row.cause, row.advice)


@caught_by("codes-as-classified", "unconfirmed-failure-inquired")
class UnconfirmedIsFailure(Acme):
    """An unconfirmed failure is treated as definitive."""

    def not_known(self, row: Code) -> Outcome:
        if row.meaning is CodeClass.FAILED_UNCONFIRMED:
            return DefinitiveFailure(row.code, row.cause, row.advice)
        return super().not_known(row)


@caught_by("codes-as-classified", "code-and-status-agree")
class InquiryFailureIsRefundFailure(Acme):
    """A failed inquiry is taken for a failed refund."""

    def answered(self, instruction: RefundInstruction, content: Content) -> Outcome:
        outcome = super().answered(instruction, content)
        if content.get("code") == "TROUBLE":
            return DefinitiveFailure("TROUBLE", "The inquiry failed.", "Ask again.")
        return outcome


@caught_by("same-id-other-amount", "codes-as-classified")
class IdInUseIsFailure(Acme):
    """An id that is in use means that the refund failed."""

    def not_known(self, row: Code) -> Outcome:
        return DefinitiveFailure(row.code, row.cause, row.advice) if row.code == "ID_IN_USE" else super().not_known(row)


@caught_by("failed-not-settled", "fails-later", "late-failure-flagged", "failure-notified")
class FailedIsPayment(Acme):
    """An amount means that money moved, whatever the state is."""

    def by_state(self, instruction: RefundInstruction, content: Content) -> Outcome:
        state = "done" if content.get("state") == "failed" else content.get("state")
        return super().by_state(instruction, content | {"state": state})


# --- matching ---------------------------------------------------------------------------------------------------------


@caught_by("other-refund-not-trusted", "refund-named", "notification-matched")
class IdNotCompared(Acme):
    """The id in the answer is not compared."""

    def same_id(self, instruction: RefundInstruction, content: Content) -> bool:
        return True


@caught_by("refund-named")
class FailuresNameNothing(Acme):
    """The id is compared in every answer but a refusal, although all of them are declared to name their refund."""

    def same_id(self, instruction: RefundInstruction, content: Content) -> bool:
        return content.get("code") == "REFUSED" or super().same_id(instruction, content)


@caught_by(
    "amount-compared", "malformed-amounts-not-trusted", "other-notification-changes-nothing", "notification-matched"
)
class AmountNotCompared(Acme):
    """The amount in the answer is neither compared nor read; the requested amount is assumed."""

    def same_amount(self, instruction: RefundInstruction, content: Content) -> bool:
        return True

    def amount_of(self, instruction: RefundInstruction, content: Content) -> Money:
        return instruction.amount


@caught_by("currency-compared", "other-notification-changes-nothing")
class CurrencyNotCompared(Acme):
    """The currency in the answer is not compared."""

    def same_currency(self, instruction: RefundInstruction, content: Content) -> bool:
        return True

    def amount_of(self, instruction: RefundInstruction, content: Content) -> Money:
        return instruction.amount


@caught_by("malformed-amounts-not-trusted")
class AmountsAsNumbers(Acme):
    """Amounts are compared as floats: 1e3, 1000.0 and the number 1000 are equal."""

    def same_amount(self, instruction: RefundInstruction, content: Content) -> bool:
        try:
            return float(content.get("amount") or 0) == float(instruction.amount.minor)
        except (TypeError, ValueError):
            return False

    def amount_of(self, instruction: RefundInstruction, content: Content) -> Money:
        return instruction.amount


# --- money ------------------------------------------------------------------------------------------------------------


@caught_by("money-exact")
class AmountsThroughFloats(Acme):
    """Minor units are computed through a float."""

    def value(self, amount: Money) -> str:
        return str(int(float(str(amount)) * 10**amount.exponent))


@caught_by("money-exact")
class AlwaysTwoDecimals(Acme):
    """Every currency has two decimals."""

    def exponent(self, currency: str) -> int:
        super().exponent(currency)
        return 2


@caught_by("money-exact")
class HundredthsOfEverything(Acme):
    """The minor units of every currency are hundredths."""

    def value(self, amount: Money) -> str:
        return str(amount.minor * 100 // 10**amount.exponent)


@caught_by("exponents-known")
class AcceptsUnknownCurrencies(Acme):
    """A currency that does not exist has two decimals."""

    def exponent(self, currency: str) -> int:
        try:
            return super().exponent(currency)
        except Invalid:
            return 2


# --- authenticity -----------------------------------------------------------------------------------------------------


@caught_by(
    "unsigned-not-trusted",
    "wrong-key-not-trusted",
    "altered-not-trusted",
    "raw-bytes-signed",
    "forged-notification-refused",
    "altered-notification-refused",
)
class SignatureNotChecked(Acme):
    """The signature is not checked."""

    def check_signature(self, signature: str | None, path: str, client: str, time: str, body: bytes) -> None:
        pass


@caught_by("unsigned-not-trusted", "forged-notification-refused")
class SignatureMayBeMissing(Acme):
    """The signature is checked only if there is one."""

    def check_signature(self, signature: str | None, path: str, client: str, time: str, body: bytes) -> None:
        if signature is not None:
            super().check_signature(signature, path, client, time, body)


@caught_by("raw-bytes-signed")
class SignatureOverRewrittenJson(Acme):
    """The signature is checked over re-encoded JSON, not over the received bytes."""

    def content(self, path: str, client: str, time: str, body: bytes) -> bytes:
        with suppress(Unreadable):
            body = json.dumps(self.parse(body), separators=(",", ":")).encode()
        return super().content(path, client, time, body)


@caught_by("duplicate-keys-not-trusted")
class AcceptsDuplicateKeys(Acme):
    """Of duplicate keys the last one counts."""

    def parse(self, body: bytes) -> Content:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise Unreadable("not JSON") from None
        if not isinstance(content, dict):
            raise Unreadable("not an object")
        return content


@caught_by("other-account-not-trusted", "other-accounts-notification-refused")
class ClientNotCompared(Acme):
    """Answers and notifications for any client are accepted."""

    def ours(self, client: str | None) -> bool:
        return client is not None


@caught_by(
    "forged-notification-refused",
    "altered-notification-refused",
    "malformed-notification-refused",
    "other-accounts-notification-refused",
)
class NotificationsNotChecked(Acme):
    """Notifications are trusted without a signature: the URL is secret."""

    def verify_notification(self, notification: Notification) -> None:
        if notification.header("acme-time") is None:
            raise Forged("no time")


@caught_by("other-accounts-notification-refused")
class NotificationOfAnyClient(Acme):
    """A notification is verified for whichever client it names."""

    def verify_notification(self, notification: Notification) -> None:
        client, time = notification.header("acme-client"), notification.header("acme-time")
        if client is None or time is None:
            raise Forged("no client or no time")
        signature = notification.header("acme-signature")
        self.check_signature(signature, notification.path, client, time, notification.body)


@caught_by("altered-notification-refused")
class CopiesAreOthers(Acme):
    """A copy of a notification that differs in what is not signed is taken for another notification."""

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        return attrs.evolve(super().parse_notification(notification), signed=repr(notification).encode())


@caught_by("other-notification-changes-nothing", "notification-matched")
class NotificationNotCompared(Acme):
    """A notification is not compared with the instruction."""

    def read_notification(self, content: Content, instruction: RefundInstruction) -> Outcome:
        return Succeeded(instruction.amount) if content.get("state") == "done" else self.by_state(instruction, content)


@caught_by("malformed-not-trusted", "duplicate-keys-not-trusted")
class ParsesWithoutChecks(Acme):
    """Any JSON is parsed, and anything else raises an exception."""

    def parse(self, body: bytes) -> Content:
        content: Content = json.loads(body)
        return content


@caught_by("notification-settles", "notification-before-reply")
class WrongAcknowledgement(Acme):
    """The acknowledgement is not the one that the provider expects."""

    acknowledged = b"OK, thank you"


# --- purity -----------------------------------------------------------------------------------------------------------


@caught_by("same-instruction-same-bytes", "pure")
class NonceInTheBody(Acme):
    """Every attempt has a nonce in its body."""

    def fields(self, instruction: RefundInstruction) -> dict[str, Any]:
        return super().fields(instruction) | {"nonce": os.urandom(8).hex()}


@caught_by("same-instruction-same-bytes")
class TimeInTheBody(Acme):
    """The time of the attempt is in its body."""

    def body(self, instruction: RefundInstruction, at: datetime) -> bytes:
        return instruction.sent or json.dumps(self.fields(instruction) | {"at": at.isoformat()}).encode()


@caught_by("resent-as-it-was")
class RewritesTheResend(Acme):
    """A resend is composed again, whatever was sent."""

    def body(self, instruction: RefundInstruction, at: datetime) -> bytes:
        return json.dumps(self.fields(instruction)).encode()


@caught_by("pure")
class ReadsTheClock(Acme):
    """The time of the signature comes from the system clock."""

    def call(self, path: str, body: bytes, at: datetime, interpret: Any) -> ProviderCall:
        return super().call(path, body, datetime.now(UTC), interpret)


@caught_by("reads-the-same-again", "independent-refunds", "notification-matched")
class RemembersTheInstruction(Acme):
    """Answers are read for the instruction that was composed last."""

    last: RefundInstruction | None = None

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        self.last = instruction
        return super().refund(instruction, at)

    def same_id(self, instruction: RefundInstruction, content: Content) -> bool:
        return super().same_id(self.last or instruction, content)


@caught_by("reads-without-private-key")
class NeedsThePrivateKeyToRead(Acme):
    """Nothing can be read without the private key."""

    def verify(self, path: str, message: Answer | Notification) -> None:
        if self._private is None:
            raise Forged("the private key is missing")
        super().verify(path, message)


# --- secrets ----------------------------------------------------------------------------------------------------------


@caught_by("secrets-not-shown")
class ShowsItsKey(Acme):
    """The repr of the provider contains the key."""

    def __repr__(self) -> str:
        secret = self.settings.private_key
        return f"Acme({'' if secret is None else secret.reveal().decode()})"


@caught_by("secrets-not-raised")
class RaisesTheKey(Acme):
    """The error about an unusable key quotes it."""

    def private_key(self, pem: bytes) -> Ed25519PrivateKey:
        try:
            return super().private_key(pem)
        except Invalid as error:
            raise Invalid("private_key", f"{error.rule}: {pem.decode('utf-8', 'replace')}") from None


@caught_by("secrets-not-raised")
class NamesAnotherSetting(Acme):
    """The error about the private key names a setting that does not exist."""

    def private_key(self, pem: bytes) -> Ed25519PrivateKey:
        try:
            return super().private_key(pem)
        except Invalid:
            raise Invalid("key", "is wrong") from None


# --- limits and identity ----------------------------------------------------------------------------------------------


@caught_by("longest-allowed-accepted")
class RefusesWhatItsTermsAllow(Acme):
    """The terms allow longer reasons than the provider does."""

    def check(self, instruction: RefundInstruction) -> None:
        super().check(instruction)
        if len(instruction.reason or "") > 100:
            raise Invalid("reason", "has more than 100 characters")


@caught_by("checks-raise-invalid-only")
class ChecksWithExceptions(Acme):
    """An unusual payment id raises an exception of another type."""

    def check(self, instruction: RefundInstruction) -> None:
        instruction.payment.encode()
        super().check(instruction)


@caught_by("identity-stable")
class AnotherIdentityEachTime(Acme):
    """The identity differs in every process."""

    @property
    def identity(self) -> str:
        return f"{super().identity} {id(self)}"


@caught_by("longest-allowed-accepted")
class CutsLongIds(Acme):
    """Ids are truncated to sixty characters."""

    def fields(self, instruction: RefundInstruction) -> dict[str, Any]:
        return super().fields(instruction) | {"id": instruction.refund_request_id[:60]}


@caught_by("too-long-refused")
class NamesAFieldOfItsOwn(Acme):
    """The terms allow dots in ids, and the error about them names a field that does not exist."""

    declared: ClassVar[dict[str, Any]] = {"terms": Terms(id_characters="A-Za-z0-9_./-")}

    def check(self, instruction: RefundInstruction) -> None:
        if "." in instruction.refund_request_id:
            raise Invalid("ref", "must not contain dots")
        super().check(instruction)


@caught_by("secrets-not-logged-or-stored")
class LogsItsKey(Acme):
    """The DEBUG log contains the signing key."""

    def sign(self, path: str, time: str, body: bytes) -> Request:
        secret = self.settings.private_key
        logging.getLogger("acme").debug("signing with %s", b"" if secret is None else secret.reveal())
        return super().sign(path, time, body)


@caught_by("money-exact")
class RoundsToWholeUnits(Acme):
    """Cents are dropped."""

    def value(self, amount: Money) -> str:
        return str(max(amount.minor - amount.minor % 10**amount.exponent, 1))


# --- consequences -----------------------------------------------------------------------------------------------------


@caught_by("codes-as-classified", "definite-failure-ends-it")
class FailureIsUnconfirmed(Acme):
    """A definitive refusal is flagged for review instead of ending the refund."""

    def by_class(self, row: Code) -> Outcome:
        return self.not_known(row) if row.meaning is CodeClass.FAILED else super().by_class(row)


@caught_by("codes-as-classified", "blocked-then-resumed")
class BlocksTheRequestOnly(Acme):
    """A misconfigured account blocks one refund instead of the account."""

    def by_class(self, row: Code) -> Outcome:
        outcome = super().by_class(row)
        return attrs.evolve(outcome, scope=Scope.REQUEST) if isinstance(outcome, Blocked) else outcome


@caught_by("codes-as-classified", "same-id-resent")
class NeverResends(Acme):
    """A refund that the provider asks to send again is only inquired."""

    def not_known(self, row: Code) -> Outcome:
        return Unknown(row.cause, row.code, resend=Resend.NEVER, review=ReviewReason.UNCONFIRMED_REFUSAL)


@caught_by("reads-the-same-again", "settles", "same-id-resent")
class ResendsAfterSuccess(Acme):
    """The first successful answer is ignored and the refund sent again."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.sent_once: set[str] = set()

    def replied(self, instruction: RefundInstruction, content: Content) -> Outcome:
        outcome = super().replied(instruction, content)
        if isinstance(outcome, Succeeded) and instruction.refund_request_id not in self.sent_once:
            self.sent_once.add(instruction.refund_request_id)
            return Unknown("sent again", resend=Resend.SAME)
        return outcome


@caught_by("money-exact", "settles-later", "response-lost", "unconfirmed-failure-inquired")
class InquiresByProviderIdOnly(Acme):
    """An inquiry uses the provider's id only, which is unknown after a lost answer."""

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        return super().inquire(
            attrs.evolve(instruction, refund_request_id=instruction.provider_refund_id or "none"), at
        )


@caught_by("other-call-not-trusted")
class AcceptsAnyCallsAnswer(Acme):
    """The answer to any call is accepted, and a successful inquiry counts as paid."""

    def verify(self, path: str, message: Answer | Notification) -> None:
        try:
            super().verify("/v1/refund", message)
        except Forged:
            super().verify("/v1/inquiry" if isinstance(message, Answer) else path, message)

    def replied(self, instruction: RefundInstruction, content: Content) -> Outcome:
        outcome = super().replied(instruction, content)
        well = isinstance(outcome, Pending) and content.get("code") == "PAID"
        return Succeeded(self.amount_of(instruction, content)) if well else outcome


# --- notifications ----------------------------------------------------------------------------------------------------


@caught_by("pure", "notification-twice")
class RefusesRepeatedNotifications(Acme):
    """A repeated notification is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.received_before: set[bytes] = set()

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        if notification.body in self.received_before:
            raise Unreadable("received before")
        verified = super().parse_notification(notification)
        self.received_before.add(notification.body)
        return verified


@caught_by("unmatched-notification-kept")
class RefusesUnknownRefunds(Acme):
    """A notification about a refund that this process did not send is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.sent: set[str] = set()

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        self.sent.add(instruction.refund_request_id)
        return super().refund(instruction, at)

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        verified = super().parse_notification(notification)
        if verified.refund_request_id not in self.sent:
            raise Unreadable("not ours")
        return verified


@caught_by(
    "notification-verified",
    "notification-before-reply",
    "unmatched-notification-kept",
    "altered-notification-refused",
    "notification-matched",
)
class RefusesNotificationsBeforeReply(Acme):
    """A notification about a refund whose reply has not been read is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.answered_for: set[object] = set()

    def replied(self, instruction: RefundInstruction, content: Content) -> Outcome:
        self.answered_for.add(content.get("id"))
        return super().replied(instruction, content)

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        verified = super().parse_notification(notification)
        if verified.refund_request_id not in self.answered_for:
            raise Unreadable("too early")
        return verified


@caught_by(
    "notification-verified",
    "notification-settles",
    "notification-twice",
    "notification-before-reply",
    "late-failure-flagged",
    "failure-notified",
)
class TimesWithoutOffset(Acme):
    """The time of a notification has no offset."""

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        verified = super().parse_notification(notification)
        return attrs.evolve(verified, at=None if verified.at is None else verified.at.replace(tzinfo=None))


# --- what is declared -------------------------------------------------------------------------------------------------


def declares(what: str, /, *checks: str, provider: type[Acme] = Acme, **changes: Any) -> None:
    PLUGINS[what] = (plugin(provider, **changes), frozenset(checks))


def _codes(refund: Mapping[str, Code] = REFUND, inquire: Mapping[str, Code] = INQUIRY) -> dict[str, Any]:
    codes = {"refund": refund, "inquire": inquire}
    return {"codes": codes, "provider": type("Declared", (Acme,), {"codes": codes})}


def _with(table: Table, code: str, **changes: Any) -> dict[str, Code]:
    return {**table, code: attrs.evolve(table[code], **changes)}


declares(
    "a code is missing",
    "refusals-listed",
    **_codes({code: row for code, row in REFUND.items() if code != "LOW_BALANCE"}),
)
declares(
    "a table is missing",
    "codes-sane",
    "codes-as-classified",
    "unlisted-codes-unknown",
    "code-and-status-agree",
    codes={"refund": REFUND},
)
declares("a row is listed under another code", "codes-sane", **_codes({**REFUND, "SUBMITTED": REFUND["WORKING"]}))
declares("a row has no advice", "codes-sane", "codes-as-classified", **_codes(_with(REFUND, "REFUSED", advice="")))
declares("a rule is not known", "codes-sane", "codes-consistent", **_codes(_with(REFUND, "BUSY", new_id="perhaps")))
declares("a new id while it is pending", "codes-consistent", **_codes(_with(REFUND, "WORKING", new_id=NewId.MANUAL)))
declares(
    "the same id after a refusal", "codes-consistent", **_codes(_with(REFUND, "REFUSED", same_id=SameId.AFTER_BACKOFF))
)
declares(
    "the same id against the terms",
    "codes-consistent",
    "same-id-resent",
    terms=Terms(resend_after=frozenset({Resend.AFTER_NOT_FOUND})),
)
declares("no time to answer", "terms-sane", terms=Terms(timeout=0.0))
declares("an infinite term", "terms-sane", terms=Terms(escalate_after=float("inf")))
declares("no version", "declared", version="")
declares("an operation that does not exist", "refund-named", names_refund={"cancel": frozenset(OutcomeKind)})
