"""An Engine.IO endpoint that sends every message back, for clients that test themselves."""

from __future__ import annotations

from wsactors.wire.ws_frame import binary_frame, text_frame

from .engineio_session import EngineSession


class EchoApp:
    """See above. A `wsactors.gateway.engineio_messages.EngineApp`."""

    def open(self, session: EngineSession) -> Echo:
        """See `EngineApp`."""
        return Echo(session)


class Echo:
    """One client's echo. A `wsactors.gateway.engineio_messages.EngineConversation`."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    def received(self, data: str | bytes) -> None:
        """See `EngineConversation`."""
        frame = binary_frame(data) if isinstance(data, bytes) else text_frame(b"4" + data.encode())
        self._session.sink.offer(frame)

    def told(self, message: object) -> None:
        """See `EngineConversation`."""

    def closed(self, reason: str) -> None:
        """See `EngineConversation`."""
