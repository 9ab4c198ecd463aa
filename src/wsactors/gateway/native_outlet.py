"""What the native protocol writes about topics: publications once for all its clients, answers to each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import trio

from wsactors.actors.log import log
from wsactors.realtime.identity import Refused
from wsactors.realtime.outlet import STOPPED, Joined
from wsactors.realtime.publication import Metas, PresenceDiff, PresenceState, Publication
from wsactors.realtime.sinks import Sink
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain

from .framing import Framing


class NativeFormat:
    """Publications and presence as the native protocol's version 2 has them, put on connections by ``framing``."""

    __slots__ = ("framing",)
    protocol: Final = "native"
    """What it counts as: see `wsactors.gateway.metrics`."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self._shared(
            native.Message(
                topic=publication.topic,
                event=publication.event,
                payload=publication.payload,
                epoch=publication.epoch,
                offset=publication.offset,
                id=publication.id,
                at=publication.at,
                meta=dict(publication.meta) if publication.meta is not None else None,
            )
        )

    def presence_state(self, state: PresenceState) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self._shared(native.PresenceState(state.topic, _plain(state.metas)))

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self._shared(native.PresenceDiff(diff.topic, _plain(diff.joins), _plain(diff.leaves)))

    def _shared(self, message: native.ServerMessage) -> bytes | None:
        try:
            return self.framing.binary(native.encode(message))
        except ProtocolError as error:  # an actor has published what no client could read
            log(__name__, "warning", "not_deliverable", reason=str(error))
            return None


@cache
def native_format(framing: Framing) -> NativeFormat:
    """The one format for connections with this framing."""
    return NativeFormat(framing)


def _plain(metas: Metas) -> dict[str, list[dict[str, Plain]]]:
    return {key: [dict(meta) for meta in each] for key, each in metas.items()}


class NativeOutlet:
    """The client's end of one membership.

    Args:
        sink: The connection's; what is offered are whole frames.
        wire_format: How publications are written.
        request: What the client asked for; `request.ref` goes into the answer.
        slow_down: Told for how many seconds the client should send nothing.
        ended: Told that the channel has ended; whether the client is to know.
    """

    def __init__(
        self,
        sink: Sink,
        wire_format: NativeFormat,
        request: native.JoinTopic,
        *,
        slow_down: Callable[[float], None],
        ended: Callable[[NativeOutlet], bool],
    ) -> None:
        self.topic = request.topic
        self.sink = sink
        self.format = wire_format
        self.request = request
        self.slow_down = slow_down
        self._ended = ended
        self.leaving = 0
        """The ref of the client's request to leave."""
        self.is_silent = False
        """Set when the client has been answered already, or wants to know nothing more."""
        self.ended = trio.Event()

    def joined(self, joined: Joined) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        missed = [data for each in joined.missed if (data := each.encode(self.format)) is not None]
        self._send(
            native.TopicJoined(
                ref=self.request.ref,
                topic=self.topic,
                epoch=joined.epoch,
                offset=joined.offset,
                recovered=joined.recovered and len(missed) == len(joined.missed),
                missed=len(missed),
                response=joined.response,
            )
        )
        if joined.presence is not None:
            presence = joined.presence.encode(self.format)
            if presence is not None:
                self.sink.offer(presence)
        for data in missed:
            self.sink.offer(data)

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self._send(native.Reply(ref, status, response))

    def push(self, event: str, payload: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self._send(native.Push(self.topic, event, payload))

    def closed(self, reason: str, *, crashed: bool) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self.ended.set()
        if not self._ended(self) or self.is_silent:
            return
        code = "crash" if crashed or reason == STOPPED else "left" if self.leaving else "ended"
        self._send(native.TopicLeft(self.topic, self.leaving, code, native.clip(reason)))

    def _send(self, message: native.ServerMessage) -> None:
        self.sink.offer(self.format.framing.alone(native.encode(message)))


_CODES: Final = dict.fromkeys(("missing", "malformed", "revoked", "signature", "claims", "forbidden"), "unauthorized")


def error_of(refusal: Refused, *, ref: int = 0, topic: str = "") -> native.Error:
    """How a client is told of ``refusal``. A code that is not the protocol's own becomes "refused", and a detail."""
    code, details = _CODES.get(refusal.code, refusal.code), refusal.details
    if code not in native.ERROR_CODES:
        code, details = "refused", {"code": refusal.code, "details": refusal.details}
    after = getattr(refusal, "after", None)
    error = native.Error(code, native.clip(refusal.message), "", ref, topic, after or 0.0, details)
    try:
        native.encode(error)
    except ProtocolError:  # details of an application that are not plain values
        return native.Error(code, native.clip(refusal.message), "", ref, topic, after or 0.0)
    return error
