"""Sockets that carry sound: the kernel is told to keep little of it."""

from __future__ import annotations

import socket
from typing import Final

SEND_BUFFER: Final = 16 * 1024
"""SO_SNDBUF of an audio socket; Linux doubles it for its own bookkeeping, which makes the promised 32 KiB."""
UNSENT_BYTES: Final = 4 * 1024
"""TCP_NOTSENT_LOWAT of an audio socket: a quarter of a second at 128 kb/s. On its defaults the kernel takes 4.3 MB
before it says EAGAIN: 259 s of audio."""


def prepare_audio_socket(sock: socket.socket) -> None:
    """Make the kernel keep little of what ``sock`` sends and send it at once: audio must not grow old in there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
