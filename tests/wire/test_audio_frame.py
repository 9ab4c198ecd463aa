"""Audio frames: copies, roles and uplink, in Python and in the page's JavaScript alike."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsactors.wire import audio_frame as audio
from wsactors.wire.audio_frame import AudioFrame, Copy, decode_audio, decode_uplink, encode_audio, encode_redundant
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import packet_samples

MODULE = Path(__file__).parents[2] / "src/wsactors/web/js/audio_frame.js"
PACKET = b"\xfc\xff\xfe"
frames = st.builds(
    AudioFrame,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, audio.MAX_TIMESTAMP),
    st.binary(min_size=1, max_size=300),
    st.integers(0, 127),
    st.integers(0, 0x7F),
)
copies = st.builds(Copy, st.binary(min_size=1, max_size=audio.MAX_COPY), st.integers(1, audio.MAX_DISTANCE))


def redundant(frame: AudioFrame, first: Copy, *more: Copy) -> bytes:
    return encode_redundant(frame, first.payload, first.distance, *more)


@given(frames, st.lists(copies, min_size=1, max_size=audio.MAX_COPIES))
def test_copies_come_back_with_their_places(frame: AudioFrame, found: list[Copy]) -> None:
    assert decode_audio(redundant(frame, *found)) == attrs.evolve(frame, copies=tuple(found))


@given(st.binary(max_size=60) | st.builds(bytes.__add__, st.sampled_from([b"\x01", b"\x02"]), st.binary(max_size=60)))
@example(b"\x02" + b"\0" * 18 + b"\x00\x01a")
@example(b"\x02" + b"\0" * 18 + b"\x00")
@example(b"\x02" + b"\0" * 18 + b"\x00\x00ab")
def test_any_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    for decode in (decode_audio, decode_uplink):
        try:
            frame = decode(data)
        except ProtocolError:
            continue
        if frame.copies:
            assert redundant(frame, *frame.copies) == data
        else:
            assert (
                encode_audio(
                    frame.track, frame.sequence, frame.timestamp, frame.payload, level=frame.level, flags=frame.flags
                )
                == data
            )


@pytest.mark.parametrize(("copy", "distance"), [(b"", 1), (b"x" * 2_048, 1), (b"x", 0), (b"x", audio.MAX_DISTANCE + 1)])
def test_a_copy_that_cannot_be_sent_is_refused(copy: bytes, distance: int) -> None:
    with pytest.raises(ProtocolError, match="copy"):
        encode_redundant(AudioFrame(1, 1, 1, b"x"), copy, distance)
    with pytest.raises(ProtocolError, match="copy"):
        encode_redundant(AudioFrame(1, 1, 1, b"x"), b"x", 1, Copy(copy, distance))


def test_so_many_copies_and_no_more() -> None:
    one = Copy(b"x", 1)
    data = redundant(AudioFrame(1, 1, 1, b"x"), one, one, one)
    with pytest.raises(ProtocolError, match="at most 3"):
        redundant(AudioFrame(1, 1, 1, b"x"), one, one, one, one)
    with pytest.raises(ProtocolError, match="too many"):
        decode_audio(data[:19] + b"\x08\x01x" + data[19:])


def test_the_documented_bytes_are_the_real_ones() -> None:
    frame = AudioFrame(3, 258, 960, PACKET, 20, audio.FLAG_DISCONTINUITY)
    moderator = audio.FLAG_VOICE | audio.FLAG_PRIORITY | audio.ROLE_MODERATOR << audio.ROLE_SHIFT
    documented = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
    for data in (
        encode_audio(3, 258, 960, PACKET, level=20, flags=moderator),
        encode_redundant(frame, b"\xfc\xaa"),
        encode_redundant(frame, b"\xfc\xbb", 4, Copy(b"\xfc\xaa", 1)),
        encode_audio(0, 1, 960, PACKET, level=20, flags=audio.FLAG_VOICE),
    ):
        assert f"\n    {data.hex(' ')}\n" in documented


@pytest.mark.parametrize("role", [audio.ROLE_NONE, audio.ROLE_AUDIENCE, audio.ROLE_SPEAKER, audio.ROLE_MODERATOR])
def test_a_role_has_its_two_bits(role: int) -> None:
    assert decode_audio(encode_audio(1, 1, 1, b"x", flags=role << audio.ROLE_SHIFT | audio.FLAG_LAST)).role == role


@given(frames)
def test_a_speaker_says_only_what_a_speaker_may(frame: AudioFrame) -> None:
    data = encode_audio(
        frame.track, frame.sequence, frame.timestamp, frame.payload, level=frame.level, flags=frame.flags
    )
    try:
        samples = packet_samples(frame.payload)
    except ProtocolError:
        samples = 1 << 30
    if frame.track == 0 and not frame.flags & ~audio.UPLINK_FLAGS and samples <= audio.MAX_UPLINK_SAMPLES:
        assert decode_uplink(data) == frame
    else:
        with pytest.raises(ProtocolError):
            decode_uplink(data)


@pytest.mark.parametrize(
    "data",
    [
        encode_redundant(AudioFrame(0, 1, 1, PACKET), PACKET),
        encode_audio(0, 1, 1, b"\xfc" + b"x" * (audio.MAX_DATAGRAM - audio.AUDIO_HEADER_BYTES)),
        encode_audio(0, 1, 1, b"\x1b\x02"),  # two frames of 60 ms
        encode_audio(0, 1, 1, b"\xff"),  # says that it says how many frames it has, and ends
        *(encode_audio(0, 1, 1, PACKET, flags=1 << bit) for bit in (2, 4, 5, 6)),
    ],
)
def test_what_a_speaker_may_not_send_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_uplink(data)


def test_the_page_reads_and_writes_the_same() -> None:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("no node here: `apt-get install nodejs`")
    chance = random.Random(4)
    asked = [made(chance) for _ in range(400)]
    uplinks: list[dict[str, Any]] = [
        {"sequence": chance.randrange(2**32), "timestamp": chance.randrange(2**53), "level": chance.randrange(128),
         "flags": chance.choice([0, 1, 2, 8, 11]), "payload": chance.randbytes(chance.randrange(1, 200)).hex()}
        for _ in range(50)
    ]  # fmt: skip
    packets = [bytes((first, second)) for first in range(256) for second in (0, 1, 3, 48, 255)] + [b"", b"\x03"]
    done = subprocess.run(
        [node, str(Path(__file__).with_name("audio_side.mjs")), str(MODULE)],
        input=json.dumps(
            {"frames": [data.hex() for data in asked], "uplinks": uplinks, "packets": [each.hex() for each in packets]}
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    ours = [read(data) for data in asked]
    assert answer["frames"] == ours
    assert 100 < sum(each is not None for each in ours) < 350
    assert [each["timestamp"] > 2**40 for each in uplinks].count(True) > 10
    for sent, theirs in zip(uplinks, answer["uplinks"], strict=True):
        frame = decode_audio(bytes.fromhex(theirs))
        assert {**{name: getattr(frame, name) for name in sent}, "payload": frame.payload.hex()} == sent
    assert answer["packets"] == [samples_or_zero(each) for each in packets]


def made(chance: random.Random) -> bytes:
    """A frame, maybe damaged."""
    frame = AudioFrame(
        chance.randrange(2**32), chance.randrange(2**32), chance.choice([960, chance.randrange(2**53)]),
        chance.randbytes(chance.randrange(1, 60)), chance.randrange(128), chance.randrange(128),
    )  # fmt: skip
    found = [
        Copy(chance.randbytes(chance.randrange(1, 60)), chance.randrange(1, 17)) for _ in range(chance.randrange(1, 4))
    ]
    data = bytearray(redundant(frame, *found))
    if chance.random() < 0.4:
        data[0] = 1
    if chance.random() < 0.5:
        data[chance.choice([0, 1, 10, 18, 19, 20])] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(1, len(data)) :]
    return bytes(data)


def read(data: bytes) -> Any:
    try:
        frame = decode_audio(data)
    except ProtocolError:
        return None
    found = [[each.payload.hex(), each.distance] for each in frame.copies]
    return {**attrs.asdict(frame), "role": frame.role, "payload": frame.payload.hex(), "copies": found}


def samples_or_zero(packet: bytes) -> int:
    try:
        return packet_samples(packet)
    except ProtocolError:
        return 0
