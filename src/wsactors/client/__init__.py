"""A client of the native protocol on Trio: hear a session, record it, talk on topics, come back when the connection breaks."""

from __future__ import annotations

from .backoff import Retry
from .connecting import connect
from .connection import Client
from .core import Rhythm
from .errors import ClientError, Disconnected, Overflowed
from .late import LateGate
from .listening import Listening
from .membership import TopicMessage
from .presence import PresenceMirror
from .recorder import Recorder
from .socket import open_websocket
from .stage import Stage, join_stage
from .stage_mirror import StageMirror, StagePerson
from .topic import Topic

__all__ = [
    "Client",
    "ClientError",
    "Disconnected",
    "LateGate",
    "Listening",
    "Overflowed",
    "PresenceMirror",
    "Recorder",
    "Retry",
    "Rhythm",
    "Stage",
    "StageMirror",
    "StagePerson",
    "Topic",
    "TopicMessage",
    "connect",
    "join_stage",
    "open_websocket",
]
