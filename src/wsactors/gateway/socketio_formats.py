"""Packets of Socket.IO as bytes, and how publications become events: once per namespace, frames and offset included."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator
from typing import Any, Final

from wsactors.actors.log import log
from wsactors.realtime.publication import PresenceDiff, PresenceState, Publication
from wsactors.wire import socketio as sio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain
from wsactors.wire.ws_frame import binary_frame, text_frame

from .engineio_sink import VOLATILE

ARGUMENTS: Final = "arguments"
"""In a publication's meta: its payload is a list of arguments."""
UNLESS: Final = "unless"
"""In a publication's meta: rooms whose members do not get it."""
_MESSAGE: Final = b"4"


def frames_of(packet: sio.Packet) -> bytes:
    """``packet`` as WebSocket frames of Engine.IO. Raises `ProtocolError` when its data is not plain."""
    text, attachments = sio.encode(packet)
    frame = text_frame(_MESSAGE + text)
    return frame + b"".join(map(binary_frame, attachments)) if attachments else frame


class Marked(bytes):
    """Frames that not every receiver gets."""

    unless: frozenset[str]
    """Whoever is in one of these rooms does not."""
    is_volatile: bool
    """Whoever cannot take them now does not."""


class Offsets:
    """Names for places in what a namespace sends: they end the arguments of its events, and clients come back with them."""

    def __init__(self) -> None:
        self._prefix = secrets.token_urlsafe(6)
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """A name that was never used, nor will be by this process."""
        return f"{self._prefix}.{next(self._numbers):x}"


class RoomFormat:
    """Publications as events of one namespace: a payload is the only argument, a list of arguments if it says so.

    Args:
        namespace: Its name.
        offsets: What its events end with; None: clients cannot come back.
    """

    protocol = "socketio"
    """What it counts as: see `wsactors.gateway.metrics`."""

    def __init__(self, namespace: str, offsets: Offsets | None = None) -> None:
        self.namespace = namespace
        self._offsets = offsets

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        meta = publication.meta or {}
        payload = publication.payload
        arguments = payload if meta.get(ARGUMENTS) and isinstance(payload, list) else [payload]
        if publication.event in sio.RESERVED_EVENTS:
            return None  # clients end their connection at such an event, whoever has published it
        unless, is_volatile = frozenset(meta.get(UNLESS, ())), bool(meta.get(VOLATILE))
        frames = self.event(publication.event, arguments, has_offset=not is_volatile)
        if frames is None or not (unless or is_volatile):
            return frames
        marked = Marked(frames)
        marked.unless, marked.is_volatile = unless, is_volatile
        return marked

    def event(self, event: str, arguments: Iterable[Any], *, has_offset: bool = True) -> bytes | None:
        """The frames of an event; None when they cannot be made."""
        data: list[Plain] = [event, *arguments]
        if self._offsets is not None and has_offset:
            data.append(self._offsets.next())
        try:
            return frames_of(sio.Packet(sio.EVENT, self.namespace, data))
        except ProtocolError as error:  # an actor has published what no client could read
            log(__name__, "warning", "not_deliverable", reason=str(error))
            return None

    def presence_state(self, state: PresenceState) -> bytes | None:
        """Rooms have none."""
        del state
        return None

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """Rooms have none."""
        del diff
        return None


class TopicFormat(RoomFormat):
    """Publications and presence of topics that are shared with all other protocols, as `docs/socketio.md` says."""

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        about = dict(_about(publication))
        return self.event("message", [publication.topic, publication.event, publication.payload, about])

    def presence_state(self, state: PresenceState) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self.event("presence_state", [state.topic, _metas(state.metas)])

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        changes = {"joins": _metas(diff.joins), "leaves": _metas(diff.leaves)}
        return self.event("presence_diff", [diff.topic, changes])


def _about(publication: Publication) -> Iterator[tuple[str, Plain]]:
    if publication.offset:
        yield "epoch", publication.epoch
        yield "offset", publication.offset
    if publication.id:
        yield "id", publication.id
    if publication.at:
        yield "at", publication.at


def _metas(metas: Any) -> dict[str, Any]:
    return {key: [dict(meta) for meta in each] for key, each in metas.items()}
