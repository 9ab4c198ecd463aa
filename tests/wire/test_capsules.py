from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsactors.wire.capsules import (
    MAX_REASON,
    MAX_VARINT,
    CapsuleParser,
    Close,
    Drain,
    code_of,
    decode_varint,
    encode_close,
    encode_drain,
    encode_varint,
    http_error_of,
)
from wsactors.wire.errors import ProtocolError


@pytest.mark.parametrize(
    ("value", "coded"),
    [(37, "25"), (15_293, "7bbd"), (494_878_333, "9d7f3e7d"), (151_288_809_941_952_652, "c2197c5eff14e88c")],
)
def test_varints_are_those_of_the_rfc(value: int, coded: str) -> None:
    assert encode_varint(value).hex() == coded
    assert decode_varint(bytes.fromhex(coded)) == (value, len(coded) // 2)


@given(st.integers(0, MAX_VARINT), st.binary(max_size=9))
@example(63, b"")
@example(64, b"")
@example(16_383, b"")
@example(16_384, b"")
@example(2**30 - 1, b"")
@example(2**30, b"")
def test_a_varint_comes_back_and_a_part_of_one_is_none(value: int, rest: bytes) -> None:
    coded = encode_varint(value)
    assert decode_varint(coded + rest) == (value, len(coded))
    assert all(decode_varint(coded[:size]) is None for size in range(len(coded)))


@pytest.mark.parametrize("value", [-1, 2**62])
def test_what_no_varint_holds_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="varint"):
        encode_varint(value)


@given(st.data())
def test_capsules_come_whole_however_they_are_cut(data: st.DataObject) -> None:
    code = data.draw(st.integers(0, 2**32 - 1))
    reason = data.draw(st.text(max_size=200))
    grease = encode_varint(0x1F * 7 + 0x17) + encode_varint(300) + bytes(300)
    stream = grease + encode_drain() + grease + encode_close(code, reason)
    parser, found = CapsuleParser(), []
    while stream:
        size = data.draw(st.integers(1, max(1, len(stream))))
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert found == [Drain(), Close(code, reason)]
    assert parser.is_between


def test_an_unknown_capsule_of_any_length_keeps_nothing() -> None:
    parser = CapsuleParser()
    assert parser.feed(encode_varint(0x99) + encode_varint(MAX_VARINT)) == []
    for _ in range(100):
        assert parser.feed(bytes(65_536)) == []
    assert not parser.is_between
    assert len(parser._buffer) == 0


@pytest.mark.parametrize(
    "capsule",
    [
        encode_varint(0x2843) + encode_varint(5 + MAX_REASON),
        encode_varint(0x2843) + encode_varint(3) + b"abc",
        encode_varint(0x2843) + encode_varint(6) + b"\0\0\0\0\xff\xff",
        encode_varint(0x78AE) + encode_varint(1) + b"a",
    ],
)
def test_a_malformed_capsule_is_refused(capsule: bytes) -> None:
    with pytest.raises(ProtocolError):
        CapsuleParser().feed(capsule)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_arbitrary_bytes_are_capsules_or_a_protocol_error_and_bounded(pieces: list[bytes]) -> None:
    parser = CapsuleParser()
    try:
        for piece in pieces:
            assert all(isinstance(capsule, Close | Drain) for capsule in parser.feed(piece))
            assert len(parser._buffer) <= MAX_REASON + 16
    except ProtocolError:
        pass


def test_a_reason_is_cut_between_two_characters() -> None:
    [close] = CapsuleParser().feed(encode_close(1, "é" * 600))
    assert isinstance(close, Close)
    assert close.reason == "é" * 512


@given(st.integers(0, 2**32 - 1))
@example(0)
@example(29)
@example(30)
@example(2**32 - 1)
def test_codes_survive_the_way_through_http3_and_meet_no_reserved_one(code: int) -> None:
    error = http_error_of(code)
    assert code_of(error) == code
    assert (error - 0x21) % 0x1F


def test_the_codes_that_chromium_has_shown() -> None:
    assert http_error_of(42) == 0x52E4A40FA8DB + 43
    assert code_of(0x10C) is None
    assert code_of(http_error_of(2**32 - 1) + 1) is None
    reserved = next(each for each in range(0x52E4A40FA8DB, 0x52E4A40FA8DB + 40) if (each - 0x21) % 0x1F == 0)
    assert code_of(reserved) is None
