"""A client of the native protocol on Trio: hear a session, record it."""

from __future__ import annotations

from .connection import Client, ClientError, Listening, connect
from .late import LateGate
from .recorder import Recorder
from .socket import Disconnected, open_websocket

__all__ = ["Client", "ClientError", "Disconnected", "LateGate", "Listening", "Recorder", "connect", "open_websocket"]
