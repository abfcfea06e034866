"""Careless providers: each is Acme with one mistake that was seen in the field, and the checks that must catch it.

The mistakes are those of other people's refunds: a timeout read as a failure, a float, a signature over JSON that was
written anew, an echo that nobody compares.
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
    Notification,
    Outcome,
    Pending,
    ProviderCall,
    ProviderPlugin,
    RefundInstruction,
    Request,
    Resend,
    Scope,
    Succeeded,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
)
from tests.core.testing.reference_provider import INQUIRY, REFUND, Acme, AcmeSettings, Said_, Table, plugin

PLUGINS: dict[str, tuple[ProviderPlugin, frozenset[str]]] = {}
"""Every careless plugin with the names of the checks that must fail, and no others."""


def caught_by(*checks: str) -> Any:
    def add(provider: type[Acme]) -> type[Acme]:
        PLUGINS[provider.__name__] = (plugin(provider, **getattr(provider, "declared", {})), frozenset(checks))
        return provider

    return add


# --- what an answer means ---------------------------------------------------------------------------------------------


@caught_by("malformed-not-trusted", "http-errors-not-trusted", "consistent-under-every-fault")
class ServerErrorIsFailure(Acme):
    """HTTP 5xx means that the refund failed."""

    def odd_status(self, answer: Answer) -> Outcome | None:
        if answer.status >= 500:
            return DefinitiveFailure(str(answer.status), "The server said no.", "Ask again.")
        return super().odd_status(answer)


@caught_by("http-errors-not-trusted")
class StatusCodeIgnored(Acme):
    """The HTTP status is not looked at."""

    def odd_status(self, answer: Answer) -> Outcome | None:
        return None


@caught_by("malformed-not-trusted", "inquiry-lost", "consistent-under-every-fault")
class UnreadableIsFailure(Acme):
    """What cannot be read means that the refund failed."""

    def read(self, path: str, interpret_outcome: Any, answer: Answer) -> Outcome:
        outcome = super().read(path, interpret_outcome, answer)
        if isinstance(outcome, Unknown) and outcome.cause.startswith("not believed: not JSON"):
            return DefinitiveFailure("UNREADABLE", "No JSON came.", "Ask again.")
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
class RaisesOnOddAnswers(Acme):
    """An answer that cannot be read is an exception."""

    def read(self, path: str, interpret_outcome: Any, answer: Answer) -> Outcome:
        self.verify(path, answer)
        outcome: Outcome = interpret_outcome(json.loads(answer.body))
        return outcome


@caught_by("unlisted-codes-unknown")
class UnlistedIsFailure(Acme):
    """A code that is not in the table means that the refund failed."""

    def unlisted(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        return DefinitiveFailure(str(said.get("code")), "Acme says no.", "Ask again.")


@caught_by("unlisted-codes-unknown")
class UnlistedIsPayment(Acme):
    """A code that is not in the table, with a status that sounds well, settles the refund."""

    def unlisted(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        if said.get("status") == "ok" and "amount" in said:
            return Succeeded(self.told(instruction, said))
        return super().unlisted(instruction, said)


@caught_by("unlisted-codes-unknown")
class UnlistedIsSentAgain(Acme):
    """After a code that is not in the table the refund is sent again at once."""

    def unlisted(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        return Unknown("never heard of", resend=Resend.SAME)


@caught_by("unlisted-codes-unknown")
class ComparesPrefixes(Acme):
    """A code counts as the one that it begins with."""

    def by_code(self, instruction: RefundInstruction, said: Said_, table: Table) -> Outcome:
        code = str(said.get("code"))
        known = next((name for name in table if code.startswith(name)), code)
        return super().by_code(instruction, said | {"code": known}, table)


@caught_by("unlisted-codes-unknown", "code-and-status-agree")
class StatusAloneDecides(Acme):
    """The status is believed, whatever the code says."""

    def by_code(self, instruction: RefundInstruction, said: Said_, table: Table) -> Outcome:
        if said.get("status") == "ok" and "amount" in said:
            return self.by_state(instruction, said)
        return super().by_code(instruction, said, table)


@caught_by("code-and-status-agree")
class CodeAloneDecides(Acme):
    """The code is believed, whatever its status says."""

    def agrees(self, row: Code, said: Said_) -> bool:
        return True


@caught_by("pending-not-final", "settles-later", "fails-later", "consistent-under-every-fault")
class PendingIsPayment(Acme):
    """What is in process counts as done."""

    def by_state(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        return super().by_state(instruction, said | {"state": "done"} if said.get("state") == "working" else said)

    def by_class(self, row: Code) -> Outcome:
        return super().by_class(row)


@caught_by("codes-as-classified", "settles-later", "pending-never-resent")
class PendingIsSentAgain(Acme):
    """What is in process is sent again."""

    def by_class(self, row: Code) -> Outcome:
        if row.meaning is CodeClass.PENDING:
            return Unknown(row.cause, row.code, resend=Resend.SAME)
        return super().by_class(row)


@caught_by("not-found-not-failed", "codes-as-classified", "request-lost", "done-late", "pending-never-resent")
class NotFoundIsFailure(Acme):
    """A refund that the provider does not know failed."""

    def not_found(self, row: Code) -> Outcome:
        return DefinitiveFailure(row.code, row.cause, row.advice)


@caught_by("codes-as-classified", "unconfirmed-failure-inquired")
class DoubtIsFailure(Acme):
    """A failure that may hide a payment is a failure."""

    def not_known(self, row: Code) -> Outcome:
        if row.meaning is CodeClass.FAIL_CHECK:
            return DefinitiveFailure(row.code, row.cause, row.advice)
        return super().not_known(row)


@caught_by("codes-as-classified", "code-and-status-agree")
class InquirysFailureIsTheRefunds(Acme):
    """An inquiry that goes wrong is taken for a refund that went wrong."""

    def answered(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        outcome = super().answered(instruction, said)
        if said.get("code") == "TROUBLE":
            return DefinitiveFailure("TROUBLE", "The inquiry failed.", "Ask again.")
        return outcome


@caught_by("same-id-other-amount", "codes-as-classified")
class IdInUseIsFailure(Acme):
    """That the id is in use means that the refund failed."""

    def not_known(self, row: Code) -> Outcome:
        return DefinitiveFailure(row.code, row.cause, row.advice) if row.code == "ID_IN_USE" else super().not_known(row)


@caught_by("failed-not-settled", "fails-later", "late-failure-flagged", "failure-notified")
class FailedIsPayment(Acme):
    """Whatever the state is, an amount means that money moved."""

    def by_state(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        state = "done" if said.get("state") == "failed" else said.get("state")
        return super().by_state(instruction, said | {"state": state})


# --- what it is about -------------------------------------------------------------------------------------------------


@caught_by("other-refund-not-trusted", "notification-matched")
class IdNotCompared(Acme):
    """The id that is told is not compared."""

    def same_id(self, instruction: RefundInstruction, said: Said_) -> bool:
        return True


@caught_by(
    "amount-compared", "malformed-amounts-not-trusted", "other-notification-changes-nothing", "notification-matched"
)
class AmountNotCompared(Acme):
    """The amount that is told is neither compared nor read: what was asked for is what was done."""

    def same_amount(self, instruction: RefundInstruction, said: Said_) -> bool:
        return True

    def told(self, instruction: RefundInstruction, said: Said_) -> Money:
        return instruction.amount


@caught_by("currency-compared", "other-notification-changes-nothing")
class CurrencyNotCompared(Acme):
    """The currency that is told is not compared."""

    def same_currency(self, instruction: RefundInstruction, said: Said_) -> bool:
        return True

    def told(self, instruction: RefundInstruction, said: Said_) -> Money:
        return instruction.amount


@caught_by("malformed-amounts-not-trusted")
class AmountsAsNumbers(Acme):
    """Amounts are compared as floats: 1e3, 1000.0 and the number 1000 are one amount."""

    def same_amount(self, instruction: RefundInstruction, said: Said_) -> bool:
        try:
            return float(said.get("amount") or 0) == float(instruction.amount.minor)
        except (TypeError, ValueError):
            return False

    def told(self, instruction: RefundInstruction, said: Said_) -> Money:
        return instruction.amount


# --- money ------------------------------------------------------------------------------------------------------------


@caught_by("money-exact")
class AmountsThroughFloats(Acme):
    """The minor units are a float times a hundred."""

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
class ShowsUnknownCurrencies(Acme):
    """A currency that does not exist has two decimals, too."""

    def exponent(self, currency: str) -> int:
        try:
            return super().exponent(currency)
        except Invalid:
            return 2


# --- whose words they are ---------------------------------------------------------------------------------------------


@caught_by(
    "unsigned-not-trusted",
    "wrong-key-not-trusted",
    "altered-not-trusted",
    "raw-bytes-signed",
    "forged-notification-refused",
    "altered-notification-refused",
)
class SignatureNotChecked(Acme):
    """Nobody looks at the signature."""

    def check_signature(self, signature: str | None, path: str, client: str, time: str, body: bytes) -> None:
        pass


@caught_by("unsigned-not-trusted", "forged-notification-refused")
class SignatureMayBeMissing(Acme):
    """The signature is checked if there is one."""

    def check_signature(self, signature: str | None, path: str, client: str, time: str, body: bytes) -> None:
        if signature is not None:
            super().check_signature(signature, path, client, time, body)


@caught_by("raw-bytes-signed")
class SignatureOverJsonWrittenAnew(Acme):
    """What is checked is the JSON as it would be written here, not the bytes that came."""

    def content(self, path: str, client: str, time: str, body: bytes) -> bytes:
        with suppress(Unreadable):
            body = json.dumps(self.parse(body), separators=(",", ":")).encode()
        return super().content(path, client, time, body)


@caught_by("duplicate-keys-not-trusted")
class DuplicateKeysTaken(Acme):
    """Of a key that stands twice the last one counts."""

    def parse(self, body: bytes) -> Said_:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise Unreadable("not JSON") from None
        if not isinstance(said, dict):
            raise Unreadable("not an object")
        return said


@caught_by("other-account-not-trusted", "other-accounts-notification-refused")
class ClientNotCompared(Acme):
    """Answers and notifications to any client are taken."""

    def ours(self, client: str | None) -> bool:
        return client is not None


@caught_by(
    "forged-notification-refused",
    "altered-notification-refused",
    "malformed-notification-refused",
    "other-accounts-notification-refused",
)
class NotificationsNotChecked(Acme):
    """Notifications are believed: nobody knows the address."""

    def verify_notification(self, notification: Notification) -> None:
        if notification.header("acme-time") is None:
            raise Forged("no time")


@caught_by("other-accounts-notification-refused")
class NotificationOfAnyClient(Acme):
    """A notification is checked for the client that it names."""

    def verify_notification(self, notification: Notification) -> None:
        client, time = notification.header("acme-client"), notification.header("acme-time")
        if client is None or time is None:
            raise Forged("no client or no time")
        signature = notification.header("acme-signature")
        self.check_signature(signature, notification.path, client, time, notification.body)


@caught_by("other-notification-changes-nothing", "notification-matched")
class NotificationTakenAtItsWord(Acme):
    """What a notification says is not compared with the order."""

    def heard(self, said: Said_, instruction: RefundInstruction) -> Outcome:
        return Succeeded(instruction.amount) if said.get("state") == "done" else self.by_state(instruction, said)


@caught_by("malformed-not-trusted", "duplicate-keys-not-trusted")
class ReadsWithoutCare(Acme):
    """Whatever JSON can be is read, and what it cannot be is an exception."""

    def parse(self, body: bytes) -> Said_:
        said: Said_ = json.loads(body)
        return said


@caught_by("notification-settles", "notification-before-reply")
class AcknowledgesInItsOwnWords(Acme):
    """The acknowledgement is not the one that the provider takes."""

    acknowledged = b"OK, thank you"


# --- purity -----------------------------------------------------------------------------------------------------------


@caught_by("same-instruction-same-bytes", "pure")
class NonceInTheBody(Acme):
    """Every attempt has a number of its own in its body."""

    def fields(self, instruction: RefundInstruction) -> dict[str, Any]:
        return super().fields(instruction) | {"nonce": os.urandom(8).hex()}


@caught_by("same-instruction-same-bytes")
class TimeInTheBody(Acme):
    """The moment of the attempt is in its body."""

    def body(self, instruction: RefundInstruction, at: datetime) -> bytes:
        return instruction.sent or json.dumps(self.fields(instruction) | {"at": at.isoformat()}).encode()


@caught_by("resent-as-it-was")
class WritesTheResendAnew(Acme):
    """A resend is written anew, whatever was sent."""

    def body(self, instruction: RefundInstruction, at: datetime) -> bytes:
        return json.dumps(self.fields(instruction)).encode()


@caught_by("pure")
class AsksTheClock(Acme):
    """The time of the signature is taken from the clock."""

    def call(self, path: str, body: bytes, at: datetime, interpret_outcome: Any) -> ProviderCall:
        return super().call(path, body, datetime.now(UTC), interpret_outcome)


@caught_by("reads-the-same-again", "independent-refunds", "notification-matched")
class RemembersTheInstruction(Acme):
    """The order that was composed last is the one that answers are read for."""

    last: RefundInstruction | None = None

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        self.last = instruction
        return super().refund(instruction, at)

    def same_id(self, instruction: RefundInstruction, said: Said_) -> bool:
        return super().same_id(self.last or instruction, said)


@caught_by("reads-without-private-key")
class NeedsThePrivateKeyToRead(Acme):
    """Without the private key nothing can be read."""

    def verify(self, path: str, message: Answer | Notification) -> None:
        if self._private is None:
            raise Forged("cannot tell")
        super().verify(path, message)


# --- secrets ----------------------------------------------------------------------------------------------------------


@caught_by("secrets-not-shown")
class ShowsItsKey(Acme):
    """The provider, as it is shown, has the key in it."""

    def __repr__(self) -> str:
        secret = self.settings.private_key
        return f"Acme({'' if secret is None else secret.reveal().decode()})"


@caught_by("secrets-not-raised")
class RaisesTheKey(Acme):
    """The error about a key that cannot be used quotes it."""

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
    """An odd payment is an exception of another kind."""

    def check(self, instruction: RefundInstruction) -> None:
        instruction.payment.encode()
        super().check(instruction)


@caught_by("identity-stable")
class AnotherIdentityEachTime(Acme):
    """Who asks is another one in every process."""

    @property
    def identity(self) -> str:
        return f"{super().identity} {id(self)}"


@caught_by("longest-allowed-accepted")
class CutsLongIds(Acme):
    """Ids are written without what is beyond sixty characters."""

    def fields(self, instruction: RefundInstruction) -> dict[str, Any]:
        return super().fields(instruction) | {"id": instruction.refund_request_id[:60]}


@caught_by("too-long-refused")
class NamesAFieldOfItsOwn(Acme):
    """The terms allow points in ids, and the error about them names no field that the platform knows."""

    declared: ClassVar[dict[str, Any]] = {"terms": Terms(id_characters="A-Za-z0-9_./-")}

    def check(self, instruction: RefundInstruction) -> None:
        if "." in instruction.refund_request_id:
            raise Invalid("ref", "must not have points")
        super().check(instruction)


@caught_by("secrets-not-logged-or-stored")
class LogsItsKey(Acme):
    """Whoever reads the log at level DEBUG can sign."""

    def sign(self, path: str, time: str, body: bytes) -> Request:
        secret = self.settings.private_key
        logging.getLogger("acme").debug("signing with %s", b"" if secret is None else secret.reveal())
        return super().sign(path, time, body)


@caught_by("money-exact")
class RoundsToWholeUnits(Acme):
    """Cents are dropped."""

    def value(self, amount: Money) -> str:
        return str(max(amount.minor - amount.minor % 10**amount.exponent, 1))


# --- what the terms make of it ----------------------------------------------------------------------------------------


@caught_by("codes-as-classified", "definite-failure-ends-it")
class FailureIsDoubt(Acme):
    """After a definite refusal a person is called all the same."""

    def by_class(self, row: Code) -> Outcome:
        return self.not_known(row) if row.meaning is CodeClass.FAIL else super().by_class(row)


@caught_by("codes-as-classified", "blocked-then-resumed")
class BlocksTheRequestOnly(Acme):
    """Where the account is set up wrongly, the next refund runs into the same wall."""

    def by_class(self, row: Code) -> Outcome:
        outcome = super().by_class(row)
        return attrs.evolve(outcome, scope=Scope.REQUEST) if isinstance(outcome, Blocked) else outcome


@caught_by("codes-as-classified", "same-id-resent")
class NeverSendsAgain(Acme):
    """What the provider asks to send again is asked about instead."""

    def not_known(self, row: Code) -> Outcome:
        return Unknown(row.cause, row.code, resend=Resend.NEVER, review=row.cause)


@caught_by("reads-the-same-again", "settles", "same-id-resent")
class SendsTwiceToBeSure(Acme):
    """The first answer to the refund is not waited for: it is sent again at once."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.sent_once: set[str] = set()

    def replied(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        outcome = super().replied(instruction, said)
        if isinstance(outcome, Succeeded) and instruction.refund_request_id not in self.sent_once:
            self.sent_once.add(instruction.refund_request_id)
            return Unknown("to be sure", resend=Resend.SAME)
        return outcome


@caught_by("money-exact", "settles-later", "response-lost", "unconfirmed-failure-inquired")
class AsksByTheProvidersId(Acme):
    """An inquiry names the provider's id only, which nobody has whose answer was lost."""

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        return super().inquire(
            attrs.evolve(instruction, refund_request_id=instruction.provider_refund_id or "none"), at
        )


@caught_by("other-call-not-trusted")
class AnyCallsAnswer(Acme):
    """The answer to any call is taken, and that it was answered well counts as paid."""

    def verify(self, path: str, message: Answer | Notification) -> None:
        try:
            super().verify("/v1/refund", message)
        except Forged:
            super().verify("/v1/inquiry" if isinstance(message, Answer) else path, message)

    def replied(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        outcome = super().replied(instruction, said)
        well = isinstance(outcome, Pending) and said.get("code") == "PAID"
        return Succeeded(self.told(instruction, said)) if well else outcome


# --- being told -------------------------------------------------------------------------------------------------------


@caught_by("pure", "notification-twice", "late-failure-flagged")
class HearsOnce(Acme):
    """A notification that comes again is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.heard_before: set[bytes] = set()

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        if notification.body in self.heard_before:
            raise Unreadable("heard before")
        told = super().parse_notification(notification)
        self.heard_before.add(notification.body)
        return told


@caught_by("unmatched-notification-kept")
class HearsOfItsOwnOnly(Acme):
    """A notification about a refund that this process did not send is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.sent: set[str] = set()

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        self.sent.add(instruction.refund_request_id)
        return super().refund(instruction, at)

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        told = super().parse_notification(notification)
        if told.refund_request_id not in self.sent:
            raise Unreadable("not ours")
        return told


@caught_by(
    "notification-verified",
    "notification-before-reply",
    "unmatched-notification-kept",
    "altered-notification-refused",
    "notification-matched",
)
class HearsAfterTheReplyOnly(Acme):
    """A notification about a refund whose reply has not been read is refused."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        super().__init__(settings, terms)
        self.answered_for: set[object] = set()

    def replied(self, instruction: RefundInstruction, said: Said_) -> Outcome:
        self.answered_for.add(said.get("id"))
        return super().replied(instruction, said)

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        told = super().parse_notification(notification)
        if told.refund_request_id not in self.answered_for:
            raise Unreadable("too early")
        return told


@caught_by(
    "notification-verified",
    "notification-settles",
    "notification-twice",
    "notification-before-reply",
    "late-failure-flagged",
    "failure-notified",
)
class TimesWithoutOffset(Acme):
    """The moment of a notification has no offset."""

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        told = super().parse_notification(notification)
        return attrs.evolve(told, at=None if told.at is None else told.at.replace(tzinfo=None))


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
declares("a row stands under another code", "codes-sane", **_codes({**REFUND, "SUBMITTED": REFUND["WORKING"]}))
declares("a row has no advice", "codes-sane", "codes-as-classified", **_codes(_with(REFUND, "REFUSED", advice="")))
declares("a rule is not known", "codes-sane", "codes-consistent", **_codes(_with(REFUND, "BUSY", new_id="perhaps")))
declares("a new id while it is pending", "codes-consistent", **_codes(_with(REFUND, "WORKING", new_id="manual")))
declares("the same id after a refusal", "codes-consistent", **_codes(_with(REFUND, "REFUSED", same_id="back-off")))
declares(
    "the same id against the terms",
    "codes-consistent",
    "same-id-resent",
    terms=Terms(resend_after=frozenset({Resend.AFTER_NOT_FOUND})),
)
declares("no time to answer", "terms-sane", terms=Terms(timeout=0.0))
declares("for ever", "terms-sane", terms=Terms(escalate_after=float("inf")))
declares("no version", "declared", version="")
