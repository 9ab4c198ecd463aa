import socket
from typing import Any

import pytest
from aioquic._buffer import Buffer

from wsactors.media.quic.transport import (
    MAX_DATAGRAM_PAYLOAD,
    Drop,
    datagram_frame,
    fan_out,
    frame_payload,
    no_drops,
)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 120, 255, 256, MAX_DATAGRAM_PAYLOAD])
def test_a_datagram_frame_is_read_back_by_the_rules_of_rfc_9221(length):
    payload = bytes(index & 0xFF for index in range(length))
    frame = datagram_frame(payload)
    buffer = Buffer(data=frame)

    assert buffer.pull_uint_var() == 0x31
    assert buffer.pull_bytes(buffer.pull_uint_var()) == payload
    assert buffer.eof()
    assert frame_payload(frame) == payload


def test_a_datagram_that_no_packet_would_carry_is_refused():
    with pytest.raises(ValueError, match="at most 1158 bytes, not 1159"):
        datagram_frame(bytes(MAX_DATAGRAM_PAYLOAD + 1))


class _Fixed:
    """A transport that always has this packet."""

    def __init__(self, packet):
        self.packet = packet
        self.drops = no_drops()

    def datagram(self, frame, now):
        return self.packet


def _fixed(packet: Any) -> Any:
    return _Fixed(packet)


def test_what_the_kernel_refuses_for_one_listener_reaches_the_others():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(10)
        ours.setblocking(False)
        good, absent = _fixed((b"sound", theirs.getsockname())), _fixed(None)
        # Too large for UDP: the kernel's refusal that needs no rare state of the machine.
        refused = _fixed((bytes(70_000), theirs.getsockname()))

        sent = fan_out(ours, [refused, absent, good], b"", 0.0)

        assert sent == 1
        assert refused.drops[Drop.KERNEL] == 1
        assert theirs.recv(100) == b"sound"
