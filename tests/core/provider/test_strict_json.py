"""JSON from outside has one meaning or none, and reading it can end in no other way."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider.strict_json import MAX_BYTES, MAX_DEPTH, Unreadable, read_object

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
objects = st.dictionaries(texts, values, max_size=5)
jsonish = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", '"', ":", ",", "\\", "\\u00", "\\ud800", "1", "-", "e9", ".", "NaN", "null",
         "a", " ", "\x00"]
    ),
    max_size=60,
).map(lambda parts: "".join(parts).encode())  # fmt: skip

UNREADABLE: Final = {
    "nothing": b"",
    "not an object": b"[]",
    "a string": b'"SUCCESS"',
    "null": b"null",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "half of it": b'{"result": {"resultStatus": "S"',
    "two objects": b"{}{}",
    "rubbish after it": b"{} x",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "not UTF-8": b'{"a": "\xff"}',
    "an overlong form": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "half a surrogate pair": b'{"a": ["\\ud800"]}',
    "half a pair as a key": b'{"\\udc00": 1}',
    "a key twice": b'{"resultStatus": "F", "resultStatus": "S"}',
    "a key twice, one escaped": b'{"a": 1, "\\u0061": 2}',
    "a key twice, deep inside": b'{"a": [{"b": {"c": 1, "c": 1}}]}',
    "NaN": b'{"value": NaN}',
    "Infinity": b'{"value": Infinity}',
    "-Infinity": b'{"value": -Infinity}',
    "a huge number": b'{"value": ' + b"9" * 33 + b"}",
    "an endless number": b'{"value": ' + b"9" * 10_000 + b"}",
    "an endless fraction": b'{"value": 0.' + b"3" * 10_000 + b"}",
    "a leading zero": b'{"value": 01}',
    "single quotes": b"{'a': 1}",
    "a comment": b'{"a": 1} // yes',
    "a trailing comma": b'{"a": 1,}',
    "a line break in a string": b'{"a": "1\n2"}',
    "ten thousand brackets": b"[" * 10_000,
    "nested too deep": b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "nested too deep, behind a string of brackets": b'{"a": "' + b"]" * 99 + b'", "b": ' + b"[" * 99 + b"]" * 99 + b"}",
    "objects nested too deep": b'{"a":' * 200 + b"1" + b"}" * 200,
    "ten megabytes": b'{"a": "' + b"x" * 10_000_000 + b'"}',
    "one byte too long": b" " * (MAX_BYTES - 1) + b"{}",
}  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_has_no_single_meaning_is_refused(body: bytes) -> None:
    """A body that is not JSON, or could be read in two ways, is `Unreadable`."""
    with pytest.raises(Unreadable):
        read_object(body)


@given(body=st.binary(max_size=200) | jsonish | jsonish.map(lambda inner: b'{"a":' + inner + b"}"))
def test_reading_ends_in_an_object_or_in_unreadable(body: bytes) -> None:
    """No bytes make the reader raise anything else, and what it gives can always be written again."""
    try:
        found = read_object(body)
    except Unreadable:
        return

    assert isinstance(found, dict)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


@given(value=objects, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_an_object_is_read_as_it_was_written(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    """Every object without fractions comes through unchanged, however it is spaced and escaped."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    assert value == read_object(body)


@given(value=objects, cut=st.integers(min_value=1))
def test_half_an_answer_is_refused(value: dict[str, Any], cut: int) -> None:
    """An object that breaks off anywhere is never taken for the whole."""
    body = json.dumps(value).encode()

    with pytest.raises(Unreadable):
        read_object(body[: -(cut % len(body)) or -1])


@pytest.mark.parametrize("text", ["1.0", "12.33", "1e3", "1e999", "-1e-999", "0.1"])
def test_a_fraction_is_kept_as_its_text(text: str) -> None:
    """No float is made of a number with a fraction or an exponent, however large."""
    assert {"value": text} == read_object(f'{{"value": {text}}}'.encode())


def test_an_integer_is_exact() -> None:
    """Numbers beyond 64 bits are read to the last digit."""
    assert {"value": 99999999999999999999} == read_object(b'{"value": 99999999999999999999}')


def test_the_limits_can_be_reached() -> None:
    """A body of exactly the greatest size and depth is read; brackets in strings do not count as depth."""
    longest = b"{}".rjust(MAX_BYTES)
    deepest = b'{"a": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    bracketed = json.dumps({"note": '[{"' * 1_000}).encode()

    assert {} == read_object(longest)
    assert [] != read_object(deepest)["a"]
    assert {"note": '[{"' * 1_000} == read_object(bracketed)
