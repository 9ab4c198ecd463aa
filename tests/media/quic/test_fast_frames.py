from aioquic._buffer import Buffer
from aioquic.quic.packet import pull_ack_frame, push_ack_frame
from aioquic.quic.rangeset import RangeSet
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.quic.fast_frames import MAX_RANGES, read_frames, read_varint

_NUMBERS = st.sets(st.integers(0, 2_000), min_size=1, max_size=40)


@given(numbers=_NUMBERS, delay=st.integers(0, 2**30))
def test_an_acknowledgement_says_here_what_it_says_to_aioquic(numbers, delay):
    ranges = RangeSet()
    for number in sorted(numbers):
        ranges.add(number)
    buffer = Buffer(capacity=2000)
    buffer.push_uint_var(2)
    push_ack_frame(buffer, ranges, delay, 1999)

    frames = read_frames(buffer.data)

    assert frames is not None
    assert frames.acknowledgement is not None
    assert frames.acknowledgement.delay == delay
    assert frames.acknowledgement.ranges == [(each.start, each.stop - 1) for each in reversed(list(ranges))]
    assert all(frames.acknowledgement.covers(number) == (number in numbers) for number in range(max(numbers) + 2))
    assert not frames.is_eliciting


@given(payload=st.binary(max_size=200))
def test_whatever_is_read_here_is_what_aioquic_would_read(payload):
    frames = read_frames(b"\x02" + payload)

    if frames is not None and frames.acknowledgement is not None:
        ranges, delay = pull_ack_frame(Buffer(data=payload))
        assert delay == frames.acknowledgement.delay
        assert sorted(frames.acknowledgement.ranges) == [(each.start, each.stop - 1) for each in ranges] or any(
            low > high for low, high in frames.acknowledgement.ranges
        )


@given(value=st.integers(0, 2**62 - 1), before=st.binary(max_size=3))
def test_numbers_of_every_length_are_read(value, before):
    buffer = Buffer(capacity=20)
    buffer.push_uint_var(value)

    assert read_varint(before + buffer.data, len(before)) == (value, len(before) + len(buffer.data))


def test_datagrams_pings_and_padding_are_told_apart():
    frames = read_frames(b"\x01\x00\x00\x31\x03abc\x00\x30rest\x00")

    assert frames is not None
    assert frames.datagrams == [b"abc", b"rest\x00"]
    assert frames.is_eliciting
    assert frames.acknowledgement is None


def test_padding_alone_asks_for_nothing():
    frames = read_frames(b"\x00" * 20)

    assert frames is not None
    assert not frames.is_eliciting


def test_what_is_unusual_is_left_to_aioquic():
    assert read_frames(b"\x31\x05abc") is None  # cut short
    assert read_frames(b"\x06\x00\x01a") is None  # CRYPTO
    assert read_frames(b"\x02\x05\x00\x00") is None  # an acknowledgement cut short
    assert read_frames(b"\x02\x05\x00\x00\x06") is None  # of a negative number
    assert read_frames(b"\x02\x40\xff\x00" + bytes((0x40, MAX_RANGES + 1)) + b"\x00" * 200) is None
    assert read_frames(b"\x02\x00\x00\x00\x00\x02\x00\x00\x00\x00") is None  # two of them
