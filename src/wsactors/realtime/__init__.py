"""What goes out to connected people in real time: sinks now, topics and presence on top of them."""

from __future__ import annotations

from .pull_sink import PullSink
from .send_queue import AUDIO, DROP_OLDEST
from .sinks import Sink, SinkClosed, SinkStatistics, SlowReader, SocketSink, prepare_audio_socket

__all__ = [
    "AUDIO",
    "DROP_OLDEST",
    "PullSink",
    "Sink",
    "SinkClosed",
    "SinkStatistics",
    "SlowReader",
    "SocketSink",
    "prepare_audio_socket",
]
