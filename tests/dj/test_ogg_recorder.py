from __future__ import annotations

import io
import struct
from fractions import Fraction

import attrs
import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.ogg_recorder import MAX_GAP, OggRecorder
from wsactors.media.opus import Encoder
from wsactors.wire.errors import ProtocolError
from wsactors.wire.ogg import crc32
from wsactors.wire.opus_packet import packet_samples

FIRST = 1_000_000_320
"""A frame of the timeline, on no boundary of anything."""


@attrs.frozen
class Page:
    flags: int
    granule: int
    sequence: int
    packets: list[bytes]


def pages_of(data: bytes) -> list[Page]:
    """The pages of a file, read by the text of RFC 3533; every packet here ends on its page."""
    pages = []
    while data:
        magic, version, flags, granule, _serial, sequence, checksum, count = struct.unpack_from("<4sBBqIIIB", data)
        assert (magic, version) == (b"OggS", 0)
        lacing, at, packets, packet = data[27 : 27 + count], 27 + count, [], b""
        for size in lacing:
            packet += data[at : at + size]
            at += size
            if size < 255:
                packets.append(packet)
                packet = b""
        assert packet == b""
        assert crc32(data[:22] + bytes(4) + data[26:at]) == checksum
        pages.append(Page(flags, granule, sequence, packets))
        data = data[at:]
    return pages


def packet(size: int, configuration: int = 31) -> bytes:
    return bytes([configuration << 3 | 4]) + b"\x55" * (size - 1)


def tone(seconds: float) -> list[bytes]:
    t = np.arange(int(seconds * 48_000)) / 48_000
    sound = np.repeat((0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[:, None], 2, axis=1)
    with Encoder(channels=2) as encoder:
        return [encoder.encode(np.ascontiguousarray(sound[at : at + 960])) for at in range(0, len(sound), 960)]


def decoded(data: bytes) -> int:
    """How many frames a player gets out of a file."""
    with av.open(io.BytesIO(data), "r") as source:
        return sum(frame.samples for frame in source.decode(audio=0))


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 1_275), st.sampled_from([31, 30, 29, 28])), max_size=70),
    st.integers(-(2**40), 2**40),
)
def test_every_packet_is_in_the_file_as_it_was_at_its_frame(said: list[tuple[int, int, int]], first: int) -> None:
    recorder, data, frame, sent = OggRecorder(first, serial=7), bytearray(), first, []
    for grains, size, configuration in said:
        frame += grains % 9 * 120
        whole = packet(size + 1, configuration)
        data += recorder.take(frame, whole)
        sent.append((frame - first, whole))
        frame += packet_samples(whole)
    data += recorder.finish()

    head, tags, *pages = pages_of(bytes(data))
    assert head.packets[0].startswith(b"OpusHead")
    assert tags.packets[0].startswith(b"OpusTags")
    assert [page.sequence for page in (head, tags, *pages)] == list(range(len(pages) + 2))
    assert [page.flags for page in pages] == [0] * (len(pages) - 1) + [4]
    found, at = [], 0
    for page in pages:
        for each in page.packets:
            found.append((at, each))
            at += packet_samples(each)
        assert at - page.granule in ({0, 120} if page.flags else {0})
    assert [each for each in found if len(each[1]) > 1] == sent
    assert recorder.dropped == 0
    assert recorder.concealed == frame - first - sum(packet_samples(each) for _, each in sent)


def test_a_page_is_a_second_and_is_out_when_it_is_over() -> None:
    recorder = OggRecorder(FIRST, serial=7)
    made = [recorder.take(FIRST + number * 960, packet(320)) for number in range(125)]
    granules = [page.granule for each in made[1:] for page in pages_of(each)]
    assert granules == [48_000, 96_000]
    assert pages_of(recorder.finish())[0].granule == 120_000


def test_players_play_what_was_heard_and_stay_in_time_over_a_gap() -> None:
    recorder, data = OggRecorder(FIRST, serial=7, comments=("TITLE=Ana against Bo",)), b""
    packets = tone(4.0)
    for number, each in enumerate(packets):
        if not 60 <= number < 110:
            data += recorder.take(FIRST + number * 960, each)
    data += recorder.finish()
    assert recorder.concealed == 50 * 960
    assert decoded(data) == len(packets) * 960
    with av.open(io.BytesIO(data), "r") as source:
        stream = source.streams.audio[0]
        assert dict(stream.metadata)["TITLE"] == "Ana against Bo"
        assert stream.time_base
        source.seek(int(Fraction(3) / stream.time_base), stream=stream)
        at = next(source.decode(audio=0)).time
        assert at is not None
        assert 1.9 < at <= 3.0


def test_what_is_on_disk_is_playable_although_the_recorder_died() -> None:
    recorder = OggRecorder(FIRST, serial=7)
    data = b"".join(recorder.take(FIRST + number * 960, each) for number, each in enumerate(tone(2.5)))
    assert decoded(data) == 2 * 48_000


def test_a_recording_that_ends_on_a_page_is_exactly_as_long() -> None:
    recorder = OggRecorder(FIRST, serial=7)
    data = b"".join(recorder.take(FIRST + number * 960, each) for number, each in enumerate(tone(1.0)))
    data += recorder.finish()
    assert pages_of(data)[-1].granule == 48_000
    assert recorder.finish() == b""
    assert recorder.take(FIRST + 48_000, packet(9)) == b""
    assert decoded(data) == 48_000


def test_what_was_sent_twice_is_in_the_file_once() -> None:
    recorder = OggRecorder(FIRST, serial=7)
    for frame in (0, 960, 0, 960, 480, 1_920):
        recorder.take(FIRST + frame, packet(100))
    assert recorder.dropped == 3
    assert len(pages_of(recorder.finish())[0].packets) == 3


@given(
    st.integers(400, 20_000), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1_275)), min_size=60, max_size=60)
)
def test_a_recording_grows_to_its_limit_and_is_whole_then(limit: int, said: list[tuple[int, int]]) -> None:
    recorder, data, frame = OggRecorder(0, serial=7, limit=limit), b"", 0
    for late, size in said:
        frame += late * 960
        data += recorder.take(frame, packet(size))
        frame += 960
    data += recorder.finish()
    assert len(data) <= limit
    assert recorder.is_full == (recorder.frame < frame)
    assert pages_of(data)[-1].flags == 4


@pytest.mark.parametrize(("frame", "data", "error"), [
    (FIRST, b"", ProtocolError), (FIRST, b"\xff", ProtocolError), (FIRST, packet(7_651), ValueError),
    (FIRST + 1, packet(9), ValueError), (FIRST + MAX_GAP + 120, packet(9), ValueError),
])  # fmt: skip
def test_what_cannot_be_recorded_is_refused_and_changes_nothing(
    frame: int, data: bytes, error: type[Exception]
) -> None:
    recorder = OggRecorder(FIRST, serial=7)
    with pytest.raises(error):
        recorder.take(frame, data)
    assert recorder.frame == FIRST
    recorder.take(FIRST, packet(9))
    assert len(pages_of(recorder.finish())[0].packets) == 1


def test_the_longest_gap_is_made_up_for() -> None:
    recorder = OggRecorder(FIRST, serial=7)
    data = recorder.take(FIRST + MAX_GAP, packet(9)) + recorder.finish()
    assert pages_of(data)[-1].granule == MAX_GAP + 960
    assert len(data) < 100_000


def test_a_recording_too_small_for_its_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        OggRecorder(0, serial=7, limit=100)
