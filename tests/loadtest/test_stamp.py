from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.loadtest.conversations import Manners, Native, Phoenix, SocketIo, conversation_for
from wsactors.loadtest.stamp import MARK, STAMP_BYTES, Template, read_stamp, stamp


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.floats(0, 1e9), st.binary())
def test_a_stamp_is_found_in_any_bytes(run: int, sender: int, sequence: int, intended: float, around: bytes) -> None:
    mark = stamp(run, sender, sequence, intended)
    data = b'{"text":"' + mark.encode() + b'"}' + around

    assert len(mark) == STAMP_BYTES
    found = read_stamp(data, data.find(MARK))
    assert found is not None
    assert found[:2] == (run << 32 | sender, sequence)
    assert found[2] == pytest.approx(intended, abs=1e-6)


@given(st.binary(max_size=60))
def test_what_only_looks_like_a_stamp_is_none(rest: bytes) -> None:
    found = read_stamp(MARK + rest, 0)

    assert found is None or all(isinstance(part, int | float) for part in found)


class Nobody:
    def say(self, data: bytes) -> object:
        return None

    def joined(self) -> None: ...
    def refused(self, reason: str) -> None: ...
    def dropped(self, reason: str) -> None: ...
    def ended(self, reason: str) -> None: ...


@pytest.mark.parametrize("kind", [Native, Phoenix, SocketIo])
@pytest.mark.parametrize("size", [STAMP_BYTES, 120, 70_000])
def test_a_template_gives_what_the_conversation_would(kind: type, size: int) -> None:
    conversation = kind(Nobody(), Manners("room:é"))
    mark = stamp(7, 8, 9, 10.0)

    assert Template(conversation.speech, size).fill(mark) == conversation.speech(mark.ljust(size, "."))


def test_every_transport_has_a_conversation() -> None:
    assert {conversation_for(name) for name in ("native", "phoenix", "socketio")} == {Native, Phoenix, SocketIo}
