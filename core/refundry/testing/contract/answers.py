"""What an answer is believed to say: the provider's own words, understood, and no more than they say.

The rule of this module: an answer that is not the provider's or not understood ends nothing and sends nothing. Answers
are spoilt by the simulator, which can sign them, or here, which cannot.
"""

import json
from collections.abc import Iterator

import attrs

from refundry.provider import (
    DefinitiveFailure,
    NotFound,
    Resend,
    Succeeded,
    Unknown,
)
from refundry.testing.contract.base import NotApplicable, check, demand
from refundry.testing.contract.environment import MINOR, Subject, now
from refundry.testing.contract.reading import (
    ends_nothing,
    flipped,
    genuine,
    holds,
    neighbours,
    read,
    shown,
    spoilt,
    unbelieved,
    unmoved,
    with_other_headers,
)
from refundry.testing.simulator.faults import CORRUPTIONS

# --- what cannot be read ----------------------------------------------------------------------------------------------


@check(
    "nonsense-not-believed", "A page, half an answer, nothing, ten megabytes, brackets: signed or not, it is Unknown."
)
async def nonsense(subject: Subject) -> None:
    """Let the simulator spoil every answer in every way, and sign it all the same."""
    async with subject.stage() as stage:
        cases = [(kind, signed) for kind in CORRUPTIONS if kind != "duplicate_keys" for signed in (True, False)]
        for number, (kind, signed) in enumerate(cases):
            for sample in await spoilt(stage, "corrupt", number, kind=kind, signed=signed):
                unbelieved(sample, f"{'a signed' if signed else 'an unsigned'} {kind} answer")
        sample = (await stage.both(len(cases)))[-1]
    for body in (b"", b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 10, b"x" * 10_000_000, b"null", b"[]", b"1e999"):
        unbelieved(sample, f"an answer of {len(body)} bytes", attrs.evolve(genuine(sample), body=body))


@check("duplicate-keys-not-believed", "A signed answer in which a key stands twice is Unknown.")
async def duplicate_keys(subject: Subject) -> None:
    """Let the simulator write every field twice."""
    async with subject.stage() as stage:
        for sample in await spoilt(stage, "corrupt", 1, kind="duplicate_keys"):
            unbelieved(sample, "an answer with duplicate keys")


@check(
    "http-errors-not-believed",
    "HTTP 3xx and 5xx are Unknown, whatever the body says: the refund may be done.",
)
async def http_errors(subject: Subject) -> None:
    """Give genuine answers other statuses."""
    async with subject.stage() as stage:
        for sample in await stage.both():
            for status in (301, 302, 307, 500, 502, 503, 504):
                unbelieved(sample, f"HTTP {status}", attrs.evolve(genuine(sample), status=status))


# --- whose words they are ---------------------------------------------------------------------------------------------


@check("unsigned-not-believed", "An answer without a signature is Unknown.")
async def unsigned(subject: Subject) -> None:
    """Let the simulator leave the signature out."""
    async with subject.stage() as stage:
        for sample in await spoilt(stage, "bad_signature", 1, how="unsigned"):
            unbelieved(sample, "an unsigned answer")


@check("wrong-key-not-believed", "An answer that somebody else signed, or whose signature is spoilt, is Unknown.")
async def wrong_key(subject: Subject) -> None:
    """Let the simulator sign with another key, and spoil a signature."""
    async with subject.stage() as stage:
        for number, how in enumerate(("wrong_key", "flipped_bit")):
            for sample in await spoilt(stage, "bad_signature", number, how=how):
                unbelieved(sample, f"an answer with {how.replace('_', ' ')}")


@check("altered-not-believed", "An answer in which any bit was flipped says the same or is Unknown.")
async def altered(subject: Subject) -> None:
    """Flip one bit in every byte of the body."""
    async with subject.stage() as stage:
        for sample in await stage.both():
            answer = genuine(sample)
            for position in range(len(answer.body)):
                unmoved(sample, f"an answer with byte {position} altered", flipped(answer, position))


@check("raw-bytes-signed", "The signature is checked over the bytes that came: JSON with other white space is Unknown.")
async def raw_bytes(subject: Subject) -> None:
    """Write the body anew, with the same meaning and other bytes."""
    async with subject.stage() as stage:
        samples = await stage.both()
    for sample in samples:
        for body in rewritten(genuine(sample).body):
            unbelieved(sample, "an answer that was written anew", attrs.evolve(genuine(sample), body=body))


def rewritten(body: bytes) -> Iterator[bytes]:
    """Give texts with the meaning of `body` and other bytes inside."""
    try:
        value = json.loads(body)
    except ValueError:
        raise NotApplicable("its messages are not JSON in UTF-8") from None
    for style in ({"indent": 1}, {"separators": (", ", ": ")}, {"separators": (",", ":")}):
        for ascii_only in (True, False):
            text = json.dumps(value, ensure_ascii=ascii_only, **style).encode()
            if text != body:
                yield text


@check("headers-not-trusted", "An answer with a header gone, doubled or changed says the same or is Unknown.")
async def headers(subject: Subject) -> None:
    """Change every header that the provider sends."""
    async with subject.stage() as stage:
        samples = await stage.both()
    for sample in samples:
        for changed in with_other_headers(genuine(sample)):
            unmoved(sample, "an answer with another header", changed)


@check("other-call-not-believed", "The answer to one call, read as the answer to the other, ends nothing.")
async def other_call(subject: Subject) -> None:
    """Swap the answers of the refund and of the inquiry, before any money moved."""
    async with subject.stage(mode="async", async_delay="never") as stage:
        refund, inquiry = await stage.both()
    for sample, other in ((refund, inquiry), (inquiry, refund)):
        ends_nothing(attrs.evolve(sample, answer=other.answer), "the answer to another call")


@check("other-account-not-believed", "An answer that names another client than the account's own is Unknown.")
async def other_account(subject: Subject) -> None:
    """Read answers as accounts whose settings differ in one text that the answers hold."""
    async with subject.stage() as stage:
        samples = await stage.both()
        others = list(neighbours(subject, stage))
    looked = False
    for value, stranger in others:
        for sample in samples:
            if holds(genuine(sample), value):
                looked = True
                call = getattr(stranger, "refund" if sample.operation == "refund" else "inquire")(
                    sample.instruction, now()
                )
                unbelieved(attrs.evolve(sample, call=call), "an answer to another client")
    if not looked:
        raise NotApplicable("its answers do not name the client")


# --- where the refund stands ------------------------------------------------------------------------------------------


@check("pending-is-not-the-end", "As long as no money moved, no answer says that it did or never will.")
async def pending(subject: Subject) -> None:
    """Ask while the provider is still at work, twice."""
    async with subject.stage(mode="async", async_delay="never") as stage:
        for sample in [*await stage.both(), *await stage.both()]:
            outcome = read(sample)
            # Some providers do not show a refund before it is done: that it is not found is no end.
            ended = isinstance(outcome, Succeeded | DefinitiveFailure)
            demand(not ended, f"the answer to {sample.operation} while it is at work was read as {shown(outcome)}")


@check("failed-is-not-settled", "An answer about a refund that failed at the provider never settles it.")
async def failed(subject: Subject) -> None:
    """Ask about a refund that failed."""
    async with subject.stage(mode="async", async_delay="never") as stage:
        asked = stage.instruction()
        await stage.ask("refund", asked)
        await stage.control.call("POST", f"refunds/{asked.refund_request_id}", {"status": "FAIL"})
        for _ in range(2):
            outcome = read(await stage.ask("inquiry", asked))
            demand(not isinstance(outcome, Succeeded), "a refund that failed was read as Settled")


@check("not-found-is-not-failed", "Not knowing the id is neither a failure nor an end: it may be on its way.")
async def not_found(subject: Subject) -> None:
    """Ask about an id that the provider has never seen."""
    async with subject.stage() as stage:
        outcome = read(await stage.ask("inquiry", stage.instruction(77)))
        fine = isinstance(outcome, NotFound | Unknown)
        demand(fine, f"the answer about an id that nobody used was read as {shown(outcome)}")
        demand(not (isinstance(outcome, Unknown) and outcome.resend is Resend.SAME), "it would be sent again at once")


@check("same-id-other-amount", "That an id is in use for another amount is no failure: that refund may have paid.")
async def same_id_other_amount(subject: Subject) -> None:
    """Use an id twice, for two amounts."""
    async with subject.stage() as stage:
        await stage.ask("refund", stage.instruction())
        outcome = read(await stage.ask("refund", stage.instruction(minor=MINOR + 100)))
        ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
        demand(not ended, f"the answer to an id that is in use was read as {shown(outcome)}")
