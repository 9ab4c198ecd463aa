"""What goes out to connected people in real time: sinks, and on them topics, channels and presence."""

from __future__ import annotations

from .auth import AuthOptions, KeyedAuthenticator
from .channel import Answer, Channel
from .identity import ANONYMOUS, AuthRefused, Credentials, JoinRefused, PublishRefused, Refused, User
from .limits import LimitOptions, Rate
from .options import RealtimeOptions, TopicOptions
from .permission import PermissionOptions
from .policy import Decide, Decision, PolicyOptions
from .publication import Position, PresenceDiff, PresenceState, Publication
from .pull_sink import PullSink
from .rules import Rule
from .send_queue import AUDIO, DROP_OLDEST
from .service import Realtime
from .shared_limits import SharedLimitOptions
from .sinks import Sink, SinkClosed, SinkStatistics, SlowReader, SocketSink, prepare_audio_socket
from .start import RealtimeSupervisor, start_realtime

__all__ = [
    "ANONYMOUS",
    "AUDIO",
    "DROP_OLDEST",
    "Answer",
    "AuthOptions",
    "AuthRefused",
    "Channel",
    "Credentials",
    "Decide",
    "Decision",
    "JoinRefused",
    "KeyedAuthenticator",
    "LimitOptions",
    "PermissionOptions",
    "PolicyOptions",
    "Position",
    "PresenceDiff",
    "PresenceState",
    "Publication",
    "PublishRefused",
    "PullSink",
    "Rate",
    "Realtime",
    "RealtimeOptions",
    "RealtimeSupervisor",
    "Refused",
    "Rule",
    "SharedLimitOptions",
    "Sink",
    "SinkClosed",
    "SinkStatistics",
    "SlowReader",
    "SocketSink",
    "TopicOptions",
    "User",
    "prepare_audio_socket",
    "start_realtime",
]
