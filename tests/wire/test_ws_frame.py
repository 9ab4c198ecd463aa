from __future__ import annotations

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from wsactors.wire.ws_frame import binary_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_a_frame_is_what_another_implementation_reads(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    peer = Connection(ConnectionType.CLIENT)

    peer.receive_data(binary_frame(payload[:size]))

    events = list(peer.events())
    assert b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage)) == payload[:size]
    assert isinstance(events[-1], BytesMessage)
    assert events[-1].message_finished
