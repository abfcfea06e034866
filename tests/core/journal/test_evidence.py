"""Kept words: what was written down is read back byte for byte."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from refundry.journal.evidence import (
    digest_of,
    is_complete,
    keep_answer,
    keep_notification,
    read_answer,
    read_notification,
)
from refundry.provider import Answer, Notification

# What HTTP can carry: no line breaks in a header; bytes that are not UTF-8 come as half surrogates.
_VALUE = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30),
    st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0").decode("utf-8", "surrogateescape")),
)
_NAME = st.text("abcXYZ-_09!#$", min_size=1, max_size=20)
_HEADERS = st.lists(st.tuples(_NAME, _VALUE), max_size=8).map(tuple)


@given(st.integers(100, 599), _HEADERS, st.binary(max_size=200))
def test_an_answer_is_read_back_as_it_was(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
    """The status, every header in its order and every byte of the body come back."""
    answer = Answer(status, headers, body)

    assert answer == read_answer(keep_answer(answer))
    assert keep_answer(answer).endswith(b"\n\n" + body)


@given(st.sampled_from(["POST", "GET"]), st.text("/abc?=&%20 é", min_size=1), _HEADERS, st.binary(max_size=200))
def test_a_notification_is_read_back_as_it_was(
    method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """The method, the path with its query, the headers and the body come back."""
    notification = Notification(method, path, headers, body)

    assert notification == read_notification(keep_notification(notification))


@given(st.integers(100, 599), _HEADERS, st.binary(max_size=200))
def test_an_incomplete_answer_is_marked(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
    """What arrived of it is kept as it was, and no reader takes it for the complete answer."""
    answer = Answer(status, headers, body)

    assert answer == read_answer(keep_answer(answer, complete=False))
    assert not is_complete(keep_answer(answer, complete=False))
    assert is_complete(keep_answer(answer))


def test_a_body_that_looks_like_the_rest_is_a_body() -> None:
    """Empty lines and false first lines inside a body do not confuse the reader."""
    answer = Answer(200, (("a", ": "), ("b", "")), b"\n\nHTTP 500\nc: d\n\n")

    assert answer == read_answer(keep_answer(answer))


def test_the_name_of_bytes_is_their_sha256() -> None:
    """Anybody can check it with common tools."""
    assert hashlib.sha256(b"{}").hexdigest() == digest_of(b"{}")
