"""How Phoenix's and Supabase's protocols write what many clients receive alike, and single messages.

There is one format object per protocol, version and framing, so that what a thousand clients receive is encoded once.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar

from wsactors.actors.log import log
from wsactors.realtime.options import PRIVATE_PREFIX
from wsactors.realtime.publication import Format, Metas, PresenceDiff, PresenceState, Publication
from wsactors.wire import phoenix, supabase
from wsactors.wire.errors import ProtocolError
from wsactors.wire.phoenix import Frame, Message, Version, presence_payload
from wsactors.wire.plain import Plain

from .framing import Framing

REALTIME_PREFIX: Final = "realtime:"
"""What Supabase's clients put before every topic."""
_OWN_EVENTS: Final = frozenset({phoenix.PRESENCE_STATE, phoenix.PRESENCE_DIFF})


def is_reserved(event: str) -> bool:
    """Whether ``event`` means something to Phoenix's clients themselves: no user may say it to others.

    "phx_close" would end everybody's membership, "chan_reply_7" answer somebody's push.
    """
    return event.startswith(("phx_", "chan_reply_")) or event in _OWN_EVENTS


class ChannelsFormat(Format, Protocol):
    """What conversations and their outlets need of a format."""

    version: Version

    def message(self, message: Message, /) -> bytes:
        """One message, as the sink takes it. Raises `ProtocolError` when its payload is not plain."""
        ...

    def decode(self, data: str | bytes, /) -> Message:
        """A client's message. Raises `ProtocolError`."""
        ...


class _Format:
    """What both protocols write alike."""

    protocol = "phoenix"
    """What it counts as: see `wsactors.gateway.metrics`."""

    def __init__(self, version: Version, framing: Framing) -> None:
        self.version: Version = version
        self._framing = framing

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}.0.0 {self._framing}>"

    def message(self, message: Message) -> bytes:
        """See `ChannelsFormat`."""
        frame = self._encode(message)
        return self._framing.binary(frame.data) if frame.binary else self._framing.text(frame.data)

    def presence_state(self, state: PresenceState) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self._shared(state.topic, phoenix.PRESENCE_STATE, _presences(state.metas))

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        payload: Plain = {"joins": _presences(diff.joins), "leaves": _presences(diff.leaves)}
        return self._shared(diff.topic, phoenix.PRESENCE_DIFF, payload)

    def topic_of(self, name: str) -> str:
        """What clients call the topic ``name``."""
        return name

    def _encode(self, message: Message) -> Frame:
        return phoenix.encode_server(message, self.version)

    def _shared(self, topic: str, event: str, payload: Plain) -> bytes | None:
        try:
            return self.message(Message(None, None, self.topic_of(topic), event, payload))
        except ProtocolError as error:  # an actor has published what no client could read
            log(__name__, "warning", "not_deliverable", topic=topic, reason=str(error))
            return None


_F = TypeVar("_F", bound=_Format)


class PhoenixFormat(_Format):
    """Phoenix Channels. Payloads are objects there, or bytes: any other is sent as ``{"value": payload}``."""

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`. None also for an event that is `is_reserved`."""
        if is_reserved(publication.event):
            return None
        return self._shared(publication.topic, publication.event, object_or_bytes(publication.payload))

    def decode(self, data: str | bytes) -> Message:
        """See `ChannelsFormat`."""
        return phoenix.decode_client(data, self.version)


class TextPhoenixFormat(PhoenixFormat):
    """Phoenix Channels where only text can be sent: the long-poll transport."""

    def _encode(self, message: Message) -> Frame:
        return phoenix.text_message(message, self.version)


class SupabaseFormat(_Format):
    """Supabase Realtime."""

    protocol = "supabase"

    def publication(self, publication: Publication, *, replayed: bool = False) -> bytes | None:
        """See `wsactors.realtime.publication.Format`. ``replayed`` ones say so, and have an id."""
        meta: dict[str, Plain] = {"id": publication.id} if publication.id else {}
        if replayed:
            meta = {"replayed": True, "id": publication.id or f"{publication.epoch}:{publication.offset}"}
        payload = supabase.broadcast_payload(publication.event, publication.payload, meta)
        return self._shared(publication.topic, supabase.BROADCAST_EVENT, payload)

    def decode(self, data: str | bytes) -> Message:
        """See `ChannelsFormat`."""
        return supabase.decode_client(data, self.version)

    def topic_of(self, name: str) -> str:
        """What clients call the topic ``name``."""
        return REALTIME_PREFIX + name

    def of_private(self) -> PrivateSupabaseFormat:
        """The one format like this one for channels whose topic is called ``private:NAME`` here, and NAME by its clients."""
        return _one(PrivateSupabaseFormat, self.version, self._framing)

    def _encode(self, message: Message) -> Frame:
        return supabase.encode_server(message, self.version)


class PrivateSupabaseFormat(SupabaseFormat):
    """Supabase Realtime, for those who say by `wsactors.wire.supabase_payloads.Join.private` what the topic's name says here."""

    def topic_of(self, name: str) -> str:
        """What clients call the topic ``name``."""
        return REALTIME_PREFIX + name.removeprefix(PRIVATE_PREFIX)


def object_or_bytes(payload: Plain) -> Plain:
    """``payload`` as a Phoenix payload."""
    return payload if isinstance(payload, dict | bytes) else {"value": payload}


def _presences(metas: Metas) -> dict[str, Plain]:
    return presence_payload(metas)


class _Unframed:
    """Long-poll messages stand in a list: nothing is put around them."""

    def text(self, data: bytes) -> bytes:
        return data

    binary = alone = text


_UNFRAMED: Final = _Unframed()


_formats: Final[dict[tuple[object, ...], Any]] = {}


def _one(kind: type[_F], version: Version, framing: Framing) -> _F:
    key = (kind, version, framing)
    found: _F | None = _formats.get(key)
    if found is None:
        found = _formats[key] = kind(version, framing)
    return found


def phoenix_format(version: Version, framing: Framing) -> PhoenixFormat:
    """The one format for WebSockets of ``version`` with ``framing``."""
    return _one(PhoenixFormat, version, framing)


def longpoll_format(version: Version) -> TextPhoenixFormat:
    """The one format for long-polling in ``version``. What it encodes is JSON, not framed."""
    return _one(TextPhoenixFormat, version, _UNFRAMED)


def supabase_format(version: Version, framing: Framing) -> SupabaseFormat:
    """The one format for WebSockets of ``version`` with ``framing``."""
    return _one(SupabaseFormat, version, framing)
