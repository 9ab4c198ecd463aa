"""A recording: the Opus packets that everybody heard, put into an Ogg file as they are (RFC 7845), not coded again.

Frame F of the timeline is at F minus the recording's first frame in the file, to the sample, so a place in the log is a
place in the sound. Packets that are missing (a render process was replaced, the machine was too busy) are made up for by
packets of no sound, which RFC 7845 §4.1 asks for: players conceal them and stay in time. A page is a second, which is what
players seek by. Pages go out when they are full, so whoever dies in between loses a second; what is on disk is playable.
"""

from __future__ import annotations

from typing import Final

from wsactors.wire.ogg import MAX_SEGMENTS, OggOpusStream
from wsactors.wire.opus_packet import packet_samples

from .timeline import SAMPLE_RATE

MAX_RECORDING: Final = 1 << 30
"""Bytes of a recording unless told otherwise: eighteen hours at 128 kbit/s."""
MAX_GAP: Final = 600 * SAMPLE_RATE
"""Frames of silence that are made up for; whoever is away longer begins another file."""
MAX_PACKET: Final = 7_650
"""Bytes of the longest packet: 120 ms at the highest rate (RFC 6716 §3.4)."""
_GRAIN: Final = 120
"""Frames of the shortest Opus frame: 2.5 ms. Everything there is is a multiple of it."""
# Of the configurations with CELT alone and the full band: frames of 20, 10, 5 and 2.5 ms, each as one frame without data.
_NOTHING: Final = ((960, 31), (480, 30), (240, 29), (120, 28))
_RESERVE: Final = 128


class OggRecorder:
    """Makes the bytes of one recording; it knows no file and no clock.

    ``first`` is the timeline frame at which it begins and ``serial`` any 32-bit number. It grows to ``limit`` bytes; then
    the file is ended (`is_full`) and nothing is taken any more.
    """

    def __init__(
        self,
        first: int,
        *,
        serial: int,
        channels: int = 2,
        comments: tuple[str, ...] = (),
        limit: int = MAX_RECORDING,
    ) -> None:
        # The engine runs ahead by what the encoder holds back, so nothing is to be skipped at the start.
        self._stream = OggOpusStream(serial=serial, channels=channels, pre_skip=0, comments=comments)
        if limit < len(self._stream.headers()) + _RESERVE:
            raise ValueError(f"a recording needs {len(self._stream.headers()) + _RESERVE} bytes at least, got {limit}")
        self._channels = channels
        self._left = limit
        self._first = self._frame = first
        self._sequence = 0
        self._waiting: list[bytes] = []
        self._segments = 0
        self.concealed = 0
        """Frames without a packet so far."""
        self.dropped = 0
        """Packets not taken since the recording was beyond them already."""
        self.is_full = self.is_over = False

    @property
    def frame(self) -> int:
        """The timeline frame at which the next packet is expected."""
        return self._frame

    def take(self, frame: int, packet: bytes) -> bytes:
        """What to append to the file for the packet whose first sample is timeline frame ``frame``; often nothing yet.

        A packet that begins before the end of the one before it was sent twice, and is dropped.

        Raises:
            ProtocolError: ``packet`` is no Opus packet.
            ValueError: It is longer than `MAX_PACKET`, not on the grid of 2.5 ms, or more than `MAX_GAP` too late. Nothing
                has changed.
        """
        samples = packet_samples(packet)
        if len(packet) > MAX_PACKET:
            raise ValueError(f"an Opus packet has at most {MAX_PACKET} bytes, got {len(packet)}")
        if self.is_over:
            return b""
        if frame < self._frame:
            self.dropped += 1
            return b""
        gap = frame - self._frame
        if gap > MAX_GAP or gap % _GRAIN:
            raise ValueError(
                f"a packet follows after at most {MAX_GAP} frames, in steps of {_GRAIN}; this one after {gap}"
            )
        made = bytearray(b"" if self._sequence else self._begin())
        made += self._fill(gap)
        made += self._add(packet, samples)
        return bytes(made)

    def finish(self) -> bytes:
        """The end of the file: what has not been written yet, marked as the last. Nothing the second time."""
        if self.is_over:
            return b""
        self.is_over = True
        made = b"" if self._sequence else self._begin()
        if not self._waiting:
            # Every page has gone out already, and the mark needs one more: a grain of nothing, which the page's place in
            # time says is to be cut off (RFC 7845 §4.4).
            self._waiting.append(self._nothing(28))
        return made + self._page(last=True)

    # -- pages --

    def _begin(self) -> bytes:
        self._sequence = 2
        headers = self._stream.headers()
        self._left -= len(headers)
        return headers

    def _fill(self, gap: int) -> bytes:
        made = bytearray()
        for samples, configuration in _NOTHING:
            while gap >= samples:
                if not self.is_over:
                    self.concealed += samples
                made += self._add(self._nothing(configuration), samples)
                gap -= samples
        return bytes(made)

    def _nothing(self, configuration: int) -> bytes:
        return bytes((configuration << 3 | (4 if self._channels == 2 else 0),))

    def _add(self, packet: bytes, samples: int) -> bytes:
        if self.is_over:
            return b""
        segments = len(packet) // 255 + 1
        made = b""
        if self._waiting and self._segments + segments > MAX_SEGMENTS:
            made = self._page()
        if sum(map(len, self._waiting)) + len(packet) + MAX_SEGMENTS + _RESERVE > self._left:
            self.is_full = True
            return made + self.finish()
        self._waiting.append(packet)
        self._segments += segments
        self._frame += samples
        done = self._frame - self._first
        # A page ends where a second does.
        return made + self._page() if done // SAMPLE_RATE > (done - samples) // SAMPLE_RATE else made

    def _page(self, *, last: bool = False) -> bytes:
        page = self._stream.page(self._waiting, sequence=self._sequence, granule=self._frame - self._first, last=last)
        self._sequence += 1
        self._left -= len(page)
        self._waiting.clear()
        self._segments = 0
        return page
