"""The duration of a packet, as libopus reads it."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.opus import load_library
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import has_fec, packet_samples


def samples_of_libopus(packet: bytes) -> int:
    library = load_library()
    library.opus_packet_get_nb_samples.argtypes = [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]
    return int(library.opus_packet_get_nb_samples(packet, len(packet), 48_000))


@given(st.binary(min_size=1, max_size=4))
def test_it_is_what_libopus_says(packet: bytes) -> None:
    assert has_fec(packet) in {True, False}
    theirs = samples_of_libopus(packet)
    if theirs <= 0:
        with pytest.raises(ProtocolError):
            packet_samples(packet)
    else:
        assert packet_samples(packet) == theirs


def test_nothing_is_no_packet() -> None:
    with pytest.raises(ProtocolError):
        packet_samples(b"")
