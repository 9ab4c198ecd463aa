"""Messages behind their length: whole in, whole out, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.length_prefix import LengthPrefixed, prefixed

LIMIT = 20_000


@given(st.lists(st.binary(max_size=200) | st.just(b"x" * LIMIT), max_size=5), st.lists(st.integers(1, 300)))
def test_messages_come_out_as_they_went_in(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(prefixed, messages))
    reader, got = LengthPrefixed(LIMIT), list[bytes]()
    for cut in [*cuts, len(stream)]:
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == messages
    assert reader.is_between


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_arbitrary_bytes_raise_nothing_else(pieces: list[bytes]) -> None:
    reader = LengthPrefixed(100)
    try:
        for piece in pieces:
            assert all(len(message) <= 100 for message in reader.feed(piece))
    except ProtocolError:
        pass


def test_a_giant_is_refused_before_it_comes() -> None:
    with pytest.raises(ProtocolError, match="may have 100 bytes"):
        LengthPrefixed(100).feed(prefixed(bytes(101))[:2])
