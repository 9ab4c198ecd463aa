"""``/listen/NAME.ogg``: a session as one endless Ogg Opus file, for ``<audio>``, VLC and mpv.

Each page is made once per frame, however many listen: a page is a function of its place on the track's timeline (see
`wsactors.wire.ogg`). A reader that is too slow loses audio over half a second old; one that takes nothing at all is
closed by the connection's write deadline.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import trio
from starlette.responses import PlainTextResponse

from wsactors.realtime.pull_sink import PullSink
from wsactors.realtime.send_queue import AUDIO
from wsactors.realtime.sinks import SinkClosed
from wsactors.wire.native import AUDIO_KIND, FLAG_LAST, decode_audio
from wsactors.wire.ogg import OggOpusStream

from .directory import Directory, Membership, NoSuchSession

HEADERS: Final = [
    (b"content-type", b"audio/ogg; codecs=opus"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_HEADER_PAGES: Final = 2
_PACKET_SAMPLES: Final = 960
"""What one packet holds, at Ogg Opus' fixed 48 kHz."""
_HISTORY: Final = 120
"""Frames of the past that begin a response, 2.4 s: Chromium plays nothing before it has read 32 KiB, two seconds of this."""
_MAX_TRACKS: Final = 256


class OggPages:
    """Native audio frames as Ogg pages; the last page is remembered, so a fan-out makes it once."""

    def __init__(self) -> None:
        self._tracks: OrderedDict[int, OggOpusStream] = OrderedDict()
        self._frame = self._page = b""

    def headers(self, track: int) -> bytes:
        """The header pages of a track, which every listener needs first."""
        return self._stream(track).headers()

    def page(self, frame: bytes) -> bytes:
        """The page that carries native audio frame ``frame``."""
        if frame is not self._frame:
            audio = decode_audio(frame)
            self._page = self._stream(audio.track).page(
                [audio.payload],
                sequence=audio.sequence + _HEADER_PAGES,
                granule=audio.timestamp + _PACKET_SAMPLES,
                last=bool(audio.flags & FLAG_LAST),
            )
            self._frame = frame
        return self._page

    def _stream(self, track: int) -> OggOpusStream:
        """The stream's serial number is its track's, so pages are the same for all who listen, whenever they joined."""
        stream = self._tracks.get(track)
        if stream is None:
            stream = self._tracks[track] = OggOpusStream(serial=track)
            if len(self._tracks) > _MAX_TRACKS:
                self._tracks.popitem(last=False)
        return stream


class _OggSink:
    """Turns what a session offers into pages for one response."""

    def __init__(self, pages: OggPages, pull: PullSink) -> None:
        self._pages = pages
        self._pull = pull

    def offer(self, data: bytes, key: object = None) -> bool:
        if data[0] != AUDIO_KIND:
            return True  # events have no place in an audio file
        return self._pull.offer(self._pages.page(data), AUDIO)


class ListenRoute:
    """The ASGI endpoint; its route has a path parameter ``file``."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._pages = OggPages()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        file: str = scope["path_params"]["file"]
        name = file.removesuffix(".ogg")
        known = {row.name for row in await self._directory.sessions()}
        if name == file or name not in known:
            await PlainTextResponse("There is no such session.\n", 404)(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        pull = PullSink()
        try:
            sink, owner = _OggSink(self._pages, pull), scope["state"]["owner"]
            membership = await self._directory.join(name, sink, owner, history=_HISTORY, events=False, transport="http")
        except NoSuchSession:
            await PlainTextResponse("There is no such session.\n", 404)(scope, receive, send)
            return
        scope["state"]["prepare_audio"]()
        try:
            head = self._pages.headers(membership.joined.track)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_close_on_disconnect, receive, pull)
                nursery.start_soon(_finish_with, membership, pull)
                await _stream(pull, head, send)
                nursery.cancel_scope.cancel()
        finally:
            pull.close()
            membership.leave()


async def _stream(pull: PullSink, head: bytes, send: Any) -> None:
    """Send ``head``, then what ``pull`` gets, until it is closed or finished."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": head, "more_body": True})
    try:
        while True:
            page = await pull.receive()
            await send({"type": "http.response.body", "body": page, "more_body": True})
    except SinkClosed:
        await send({"type": "http.response.body", "body": b""})


async def _close_on_disconnect(receive: Any, pull: PullSink) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pull.close()


async def _finish_with(membership: Membership, pull: PullSink) -> None:
    await membership.wait_ended()
    pull.finish()
