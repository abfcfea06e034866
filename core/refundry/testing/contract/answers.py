"""Which answers are trusted: genuine ones that are understood, and no others.

The rule of this module: an answer that is not genuine or not understood ends nothing and sends nothing. Answers are
corrupted by the simulator, which can sign them, or here, without a key.
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
from refundry.testing.contract.base import NotApplicable, check, require
from refundry.testing.contract.environment import MINOR, Subject, now
from refundry.testing.contract.reading import (
    ends_nothing,
    flipped,
    genuine,
    holds,
    neighbors,
    not_trusted,
    read,
    shown,
    unchanged_or_not_trusted,
    with_fault,
    with_other_headers,
)
from refundry.testing.simulator.faults import CORRUPTIONS

# --- what cannot be read ----------------------------------------------------------------------------------------------


@check(
    "malformed-not-trusted",
    "A page, a truncated or empty answer, ten megabytes, brackets: signed or not, it is Unknown.",
)
async def nonsense(subject: Subject) -> None:
    """Corrupt every answer in every way, and sign it nevertheless."""
    async with subject.environment() as env:
        cases = [(kind, signed) for kind in CORRUPTIONS if kind != "duplicate_keys" for signed in (True, False)]
        for number, (kind, signed) in enumerate(cases):
            for sample in await with_fault(env, "corrupt", number, kind=kind, signed=signed):
                not_trusted(sample, f"{'a signed' if signed else 'an unsigned'} {kind} answer")
        sample = (await env.refund_and_inquire(len(cases)))[-1]
    for body in (b"", b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 10, b"x" * 10_000_000, b"null", b"[]", b"1e999"):
        not_trusted(sample, f"an answer of {len(body)} bytes", attrs.evolve(genuine(sample), body=body))


@check("duplicate-keys-not-trusted", "A signed answer with a duplicate key is Unknown.")
async def duplicate_keys(subject: Subject) -> None:
    """Duplicate every field of an answer."""
    async with subject.environment() as env:
        for sample in await with_fault(env, "corrupt", 1, kind="duplicate_keys"):
            not_trusted(sample, "an answer with duplicate keys")


@check(
    "http-errors-not-trusted",
    "HTTP 3xx and 5xx are Unknown, whatever the body contains: the refund may have been paid.",
)
async def http_errors(subject: Subject) -> None:
    """Change the HTTP status of genuine answers."""
    async with subject.environment() as env:
        for sample in await env.refund_and_inquire():
            for status in (301, 302, 307, 500, 502, 503, 504):
                not_trusted(sample, f"HTTP {status}", attrs.evolve(genuine(sample), status=status))


# --- authenticity -----------------------------------------------------------------------------------------------------


@check("unsigned-not-trusted", "An answer without a signature is Unknown.")
async def unsigned(subject: Subject) -> None:
    """Remove the signature."""
    async with subject.environment() as env:
        for sample in await with_fault(env, "bad_signature", 1, how="unsigned"):
            not_trusted(sample, "an unsigned answer")


@check("wrong-key-not-trusted", "An answer that is signed with another key, or whose signature is corrupt, is Unknown.")
async def wrong_key(subject: Subject) -> None:
    """Sign with another key, and corrupt a signature."""
    async with subject.environment() as env:
        for number, how in enumerate(("wrong_key", "flipped_bit")):
            for sample in await with_fault(env, "bad_signature", number, how=how):
                not_trusted(sample, f"an answer with {how.replace('_', ' ')}")


@check("altered-not-trusted", "An answer with any bit flipped keeps its meaning or is Unknown.")
async def altered(subject: Subject) -> None:
    """Flip one bit in every byte of the body."""
    async with subject.environment() as env:
        for sample in await env.refund_and_inquire():
            answer = genuine(sample)
            for position in range(len(answer.body)):
                unchanged_or_not_trusted(sample, f"an answer with byte {position} altered", flipped(answer, position))


@check("raw-bytes-signed", "The signature covers the received bytes: JSON with other whitespace is Unknown.")
async def raw_bytes(subject: Subject) -> None:
    """Rewrite the body with the same meaning and different bytes."""
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
    for sample in samples:
        for body in rewritten(genuine(sample).body):
            not_trusted(sample, "a rewritten answer", attrs.evolve(genuine(sample), body=body))


def rewritten(body: bytes) -> Iterator[bytes]:
    """Yield bodies with the meaning of `body` and different bytes."""
    try:
        value = json.loads(body)
    except ValueError:
        raise NotApplicable("its messages are not JSON in UTF-8") from None
    for style in ({"indent": 1}, {"separators": (", ", ": ")}, {"separators": (",", ":")}):
        for ascii_only in (True, False):
            text = json.dumps(value, ensure_ascii=ascii_only, **style).encode()
            if text != body:
                yield text


@check("headers-not-trusted", "An answer with a missing, duplicate or changed header keeps its meaning or is Unknown.")
async def headers(subject: Subject) -> None:
    """Change every header that the provider sends."""
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
    for sample in samples:
        for changed in with_other_headers(genuine(sample)):
            unchanged_or_not_trusted(sample, "an answer with another header", changed)


@check("other-call-not-trusted", "The answer to one call, read as the answer to another, ends nothing.")
async def other_call(subject: Subject) -> None:
    """Swap the answers to a refund and its inquiry before any money moved."""
    async with subject.environment(mode="async", async_delay="never") as env:
        refund, inquiry = await env.refund_and_inquire()
    for sample, other in ((refund, inquiry), (inquiry, refund)):
        ends_nothing(attrs.evolve(sample, answer=other.answer), "the answer to another call")


@check("other-account-not-trusted", "An answer for another client than the account's is Unknown.")
async def other_account(subject: Subject) -> None:
    """Read answers with accounts that differ in one setting that the answers contain."""
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
        others = list(neighbors(subject, env))
    examined = False
    for value, neighbor in others:
        for sample in samples:
            if holds(genuine(sample), value):
                examined = True
                call = getattr(neighbor, "refund" if sample.operation == "refund" else "inquire")(
                    sample.instruction, now()
                )
                not_trusted(attrs.evolve(sample, call=call), "an answer for another client")
    if not examined:
        raise NotApplicable("its answers do not name the client")


# --- the state of the refund ------------------------------------------------------------------------------------------


@check("pending-not-final", "As long as no money moved, no answer is read as success or definitive failure.")
async def pending(subject: Subject) -> None:
    """Inquire twice while the provider is still processing the refund."""
    async with subject.environment(mode="async", async_delay="never") as env:
        for sample in [*await env.refund_and_inquire(), *await env.refund_and_inquire()]:
            outcome = read(sample)
            # Some providers do not report a refund before it is complete: "not found" is not final.
            ended = isinstance(outcome, Succeeded | DefinitiveFailure)
            require(not ended, f"the answer to {sample.operation} during processing was read as {shown(outcome)}")


@check("failed-not-settled", "An answer about a failed refund never settles it.")
async def failed(subject: Subject) -> None:
    """Inquire about a failed refund."""
    async with subject.environment(mode="async", async_delay="never") as env:
        asked = env.instruction()
        await env.send("refund", asked)
        await env.control.call("POST", f"refunds/{asked.refund_request_id}", {"status": "FAIL"})
        for _ in range(2):
            outcome = read(await env.send("inquiry", asked))
            require(not isinstance(outcome, Succeeded), "a failed refund was read as Succeeded")


@check("not-found-not-failed", "An unknown id is not a failure: the request may still be on its way.")
async def not_found(subject: Subject) -> None:
    """Inquire about an id that was never sent."""
    async with subject.environment() as env:
        outcome = read(await env.send("inquiry", env.instruction(77)))
        fine = isinstance(outcome, NotFound | Unknown)
        require(fine, f"the answer about an unused id was read as {shown(outcome)}")
        require(
            not (isinstance(outcome, Unknown) and outcome.resend is Resend.SAME), "it would be sent again immediately"
        )


@check(
    "same-id-other-amount", "An id that is in use for another amount is not a failure: that refund may have been paid."
)
async def same_id_other_amount(subject: Subject) -> None:
    """Use one id for two amounts."""
    async with subject.environment() as env:
        await env.send("refund", env.instruction())
        outcome = read(await env.send("refund", env.instruction(minor=MINOR + 100)))
        ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
        require(not ended, f"the answer to an id that is in use was read as {shown(outcome)}")
