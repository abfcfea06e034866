"""What plugins share when they check orders and read answers: refused by field, quoted short, compared whole."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Forged, Invalid
from refundry.money import Money
from refundry.provider import RefundInstruction, Resend, Unknown, matching, validation


@pytest.mark.parametrize("text", ["", "a b", "a\n", "é", "١", "a" * 65])
def test_ids_that_are_refused(text: str) -> None:
    """An id is 1 to so many plain letters, digits, _ and -; the field is named."""
    with pytest.raises(Invalid) as caught:
        validation.check_id("client_id", text, 64)
    assert "client_id" == caught.value.field

    validation.check_id("client_id", "A-z_9" + "a" * 59, 64)


@pytest.mark.parametrize(
    "url", ["shop.example/n", "ftp://shop.example", "https://a b", "https://é", "https://" + "a" * 99]
)
def test_addresses_that_are_refused(url: str) -> None:
    """An address is whole, in ASCII and not too long."""
    with pytest.raises(Invalid):
        validation.check_address("notify_url", url, 64, "Acme")


@pytest.mark.parametrize("url", ["https://a.example/", "https://a.example?q", "https://a.example#f", "a.example", ""])
def test_hosts_that_are_refused(url: str) -> None:
    """A host is an address without anything behind it."""
    with pytest.raises(Invalid):
        validation.check_host("base_url", url, "https://a.example")

    validation.check_host("base_url", "https://a.example:8443", "https://a.example")


def test_headers_stand_once() -> None:
    """A wanted header may stand once, in any case; others may stand as often as they like."""
    headers = [("Nonce", "1"), ("x", "a"), ("X", "b")]
    assert {"nonce": "1"} == validation.once(headers, ("nonce", "signature"))

    with pytest.raises(Forged):
        validation.once([*headers, ("NONCE", "1")], ("nonce",))


@pytest.mark.parametrize(
    ("url", "target"),
    [("https://a.example", "/"), ("https://a.example/n?q=1", "/n?q=1"), ("http://a.example:80/n#f", "/n")],
)
def test_target(url: str, target: str) -> None:
    """The target of an address is its path with its query."""
    assert target == validation.target_of(url)


@given(st.none() | st.text())
def test_what_is_quoted_is_short_and_plain(text: str | None) -> None:
    """Foreign text is shown in at most 80 printable ASCII characters, and a code is kept as it is or not at all."""
    shown = validation.shown(text)

    assert len(shown) <= 80
    assert shown.isascii()
    assert shown.isprintable()
    assert validation.as_code(text) in (None, text)


@given(st.datetimes(timezones=st.just(UTC)) | st.text())
def test_moments(given_time: datetime | str) -> None:
    """A moment with its offset is read back; any text at all is a moment or none."""
    text = given_time if isinstance(given_time, str) else given_time.isoformat()
    found = validation.moment(text)

    assert found is None or found.tzinfo is UTC
    if isinstance(given_time, datetime):
        assert given_time == found


INSTRUCTION = RefundInstruction("R1", "P1", Money(1233, "CAD", 2), provider_refund_id="F1")


class Amount(NamedTuple):
    value: str
    currency: str | None


RIGHT: dict[str, Any] = {
    "refund_request_id": "R1",
    "payment": "P1",
    "provider_refund_id": "F1",
    "amount": Amount("1233", "CAD"),
}


@given(st.sets(st.sampled_from(sorted(RIGHT))), st.booleans())
def test_what_is_absent_is_not_judged(absent: set[str], currency: bool) -> None:
    """Whatever part of the right echo is absent, nothing is wrong with the rest."""
    named = {name: None if name in absent else value for name, value in RIGHT.items()}
    if named["amount"] is not None and not currency:
        named["amount"] = Amount("1233", None)

    assert matching.mismatch(INSTRUCTION, **named) is None


WRONG = {"payment": "P2", "provider_refund_id": "F2"}
AMOUNTS = [("1234", "CAD"), ("12.33", "CAD"), ("01233", "CAD"), ("1233", "USD"), ("1233", "cad"), ("１２３３", None)]


@pytest.mark.parametrize(
    "wrong", [*({name: value} for name, value in WRONG.items()), *({"amount": Amount(*a)} for a in AMOUNTS)]
)
def test_another_payment_or_amount_needs_review(wrong: dict[str, object]) -> None:
    """An answer with other content under our own id forbids a resend and needs review."""
    found = matching.mismatch(INSTRUCTION, **(RIGHT | wrong))

    assert isinstance(found, Unknown)
    assert Resend.NEVER is found.resend
    assert found.review is not None


def test_another_id_says_nothing_of_ours() -> None:
    """An answer about another id is unknown, whatever else it says; an id that we did not know yet is taken."""
    found = matching.mismatch(INSTRUCTION, **(RIGHT | {"refund_request_id": "R2"}))
    new = attrs.evolve(INSTRUCTION, provider_refund_id=None)

    assert isinstance(found, Unknown)
    assert Resend.AFTER_NOT_FOUND is found.resend
    assert matching.mismatch(new, **(RIGHT | {"provider_refund_id": "F9"})) is None
