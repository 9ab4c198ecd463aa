from __future__ import annotations

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from wsactors.wire.ws_frame import binary_frame, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_what_another_implementation_reads(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    peer = Connection(ConnectionType.CLIENT)

    peer.receive_data(binary_frame(payload[:size]))

    events = list(peer.events())
    assert b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage)) == payload[:size]
    assert isinstance(events[-1], BytesMessage)
    assert events[-1].message_finished


@pytest.mark.parametrize("size", SIZES)
def test_a_text_frame_is_what_another_implementation_reads(size: int) -> None:
    peer = Connection(ConnectionType.CLIENT)

    peer.receive_data(text_frame(b"x" * size))

    events = list(peer.events())
    assert "".join(event.data for event in events if isinstance(event, TextMessage)) == "x" * size
    assert isinstance(events[-1], TextMessage)
    assert events[-1].message_finished
