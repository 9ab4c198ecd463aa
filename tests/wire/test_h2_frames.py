from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.h2_frames import CONTINUATION, HEADERS, MAX_FRAME, PREFACE, RESET, FrameCutter, Slice


def frame(kind: int, payload: bytes = b"", stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + stream.to_bytes(4, "big") + payload


def cut_all(cutter: FrameCutter) -> list[Slice]:
    found = []
    while (piece := cutter.cut()) is not None:
        found.append(piece)
    return found


@given(st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=30)), max_size=80), st.integers(1, 40), st.data())
def test_nothing_is_lost_and_a_slice_is_whole_frames(
    sent: list[tuple[int, bytes]], per_slice: int, data: st.DataObject
) -> None:
    frames = [frame(HEADERS if kind == CONTINUATION else kind, payload) for kind, payload in sent]
    wire = PREFACE + b"".join(frames)
    cutter = FrameCutter(max_block=100, per_slice=per_slice)
    slices: list[Slice] = []
    position = 0
    while position < len(wire):
        step = data.draw(st.integers(1, len(wire) - position))
        cutter.feed(wire[position : position + step])
        position += step
        slices += cut_all(cutter)
    assert b"".join(piece.data for piece in slices) == wire
    assert sum(piece.frames for piece in slices) == len(frames)
    assert all(piece.frames <= per_slice for piece in slices)
    assert sum(piece.resets for piece in slices) == [kind for kind, _ in sent].count(RESET)


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\n",
        PREFACE[:-1] + b"x",
        PREFACE + (MAX_FRAME + 1).to_bytes(3, "big") + bytes(6),
        PREFACE + frame(HEADERS, b"x" * 101),
        PREFACE + frame(HEADERS, b"x" * 60) + frame(CONTINUATION, b"x" * 60),
        PREFACE + frame(HEADERS) + frame(CONTINUATION) * 9,
    ],
)
def test_what_is_too_large_is_refused_by_its_head(wire: bytes) -> None:
    cutter = FrameCutter(max_block=100)
    with pytest.raises(ProtocolError):
        for byte in wire:
            cutter.feed(bytes([byte]))
            cut_all(cutter)
