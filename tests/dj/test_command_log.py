from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.commands import commands
from wsactors.dj import command_log as log
from wsactors.dj.command import Load, Play
from wsactors.dj.command_log import (
    Applied,
    Began,
    Changed,
    Ended,
    Entry,
    Hashed,
    Known,
    LogWriter,
    Rebuilt,
    Shed,
    read_log,
)

frames = st.integers(-(2**53), 2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)
digests = st.binary(min_size=16, max_size=16)
entries = (
    st.builds(Began, frames, texts, st.integers(0, 255), plain, plain)
    | st.builds(Applied, frames, frames, texts, st.sampled_from([(), ("a",), ("a", "b")]), commands)
    | st.builds(
        Known, frames, texts, st.binary(min_size=32, max_size=32), frames, plain, st.floats(0, 4), st.booleans()
    )
    | st.builds(Changed, frames, plain)
    | st.builds(Shed, frames, st.lists(texts, max_size=3).map(tuple))
    | st.builds(Rebuilt, frames)
    | st.builds(Hashed, frames, frames, digests)
)
logs = st.lists(entries, max_size=6)
END = Ended(48_000, "over")


def written(found: list[Entry], limit: int = log.MAX_LOG) -> bytes:
    writer = LogWriter(limit)
    return b"".join(map(writer.take, found))


@given(logs, st.integers(1, 40))
def test_a_log_comes_back_as_it_was_however_it_is_read(found: list[Entry], piece: int) -> None:
    data = written([*found, END])
    assert read_log(data) == ([*found, END], "well")
    reader = log.LogReader()
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    assert [entry for each in pieces for entry in reader.take(each)] == [*found, END]
    assert (reader.ends, reader.good) == ("well", len(data))


@given(logs, st.data())
def test_a_log_cut_anywhere_keeps_all_entries_before_the_cut(found: list[Entry], data: st.DataObject) -> None:
    whole = written([*found, END])
    cut = data.draw(st.integers(0, len(whole) - 1))
    reader = log.LogReader()
    kept = list(reader.take(whole[:cut]))
    assert kept == [*found, END][: len(kept)]
    assert reader.ends == "cut"
    assert len(written([*found, END][: len(kept) + 1])) > cut >= reader.good
    # Whoever goes on writing cuts there, and the rest fits seamlessly.
    assert read_log(whole[: reader.good] + whole[reader.good :]) == ([*found, END], "well")


@given(logs.filter(bool), st.data())
def test_a_log_damaged_anywhere_keeps_all_entries_before_the_damage(found: list[Entry], data: st.DataObject) -> None:
    whole = bytearray(written([*found, END]))
    at = data.draw(st.integers(len(log.MAGIC), len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    kept, ends = read_log(bytes(whole))
    assert kept == [*found, END][: len(kept)]
    assert ends != "well"
    assert len(written([*found, END][: len(kept) + 1])) > at


@given(st.binary(max_size=60).map(lambda data: log.MAGIC + data) | st.binary(max_size=40))
def test_bytes_are_a_log_or_refused(data: bytes) -> None:
    try:
        read_log(data)
    except log.LogError:
        assert not data.startswith(log.MAGIC)


@pytest.mark.parametrize(
    "body",
    [
        [], ["applied"], ["applied", 1, 1, "ana", [], {"t": "play"}],
        ["applied", 1, 1, "ana", 3, {"t": "play", "deck": "a"}], ["ended", 1.5, ""],
        ["hashed", 1, 2, b"short"], ["began", 1, "x", 1, {"n": float("nan")}, None], ["shed", 1, 3], 7, {"ended": 1},
        ["ended", 1 << 60, ""], [["ended"], 1, ""], ["rebuilt", 1, 2],
    ],
)  # fmt: skip
def test_what_no_writer_wrote_is_damage_even_with_the_right_sum(body: Any) -> None:
    packed = msgpack.packb(body)
    record = struct.pack("<II", len(packed), zlib.crc32(packed)) + packed
    assert read_log(written([Rebuilt(5)]) + record) == ([Rebuilt(5)], "damaged")


def test_a_huge_record_is_damage_and_not_waited_for() -> None:
    assert read_log(log.MAGIC + struct.pack("<II", 1 << 31, 0)) == ([], "damaged")


def test_another_file_is_no_log() -> None:
    with pytest.raises(log.LogError, match="no log"):
        read_log(b"OggS" + bytes(100))


@given(st.integers(72, 600))
def test_a_log_grows_to_its_limit_and_says_that_it_is_full(limit: int) -> None:
    writer = LogWriter(limit)
    found: list[Entry] = [Applied(at, at + 5, "ana", ("a",), Play("a")) for at in range(50)]
    data = b"".join(map(writer.take, found))
    assert len(data) <= limit
    assert writer.is_full
    kept, ends = read_log(data)
    assert ends == "well"
    assert kept == [*found[: len(kept) - 1], Ended(len(kept) - 1, "full")]


@pytest.mark.parametrize(
    "entry",
    [Changed(1, "x" * 70_000), Changed(1, float("nan")), Changed(1 << 70, 1), Changed(1, (1, 2)),  # type: ignore[arg-type]
     Applied(1, 1, "ana", (), Load("c", "x")), Applied(1, 1, "ana", ("c",), Play("a")), Rebuilt(1 << 70),
     Rebuilt(1 << 60), Hashed(0, 1, b"short"), Changed(1, "\ud800")],
)  # fmt: skip
def test_what_cannot_be_read_again_is_not_written(entry: Entry) -> None:
    writer = LogWriter()
    with pytest.raises(ValueError, match=r"entry|expected|plain|integer|finite|surrogate"):
        writer.take(entry)
    assert read_log(writer.take(Rebuilt(1)))[0] == [Rebuilt(1)]


def test_a_log_too_small_to_say_that_it_is_full_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        LogWriter(20)


SOUND = np.random.default_rng(5).standard_normal((3_500, 2)).astype(np.float32)


@given(st.lists(st.sampled_from([1, 256, 480, 960, 3_000]), min_size=1), st.integers(-3_000, 3_000))
def test_hashes_are_of_whole_seconds_whatever_the_blocks(sizes: list[int], start: int) -> None:
    hasher = log.PcmHasher(start, rate=1_000)
    found, at = [], 0
    while at < len(SOUND):
        size = sizes[(at * 7) % len(sizes)]
        found += hasher.take(SOUND[at : at + size].data)
        at += size
    found += hasher.skip_to(0)
    assert sum(each.frames for each in found) == len(SOUND)
    for each in found:
        part = SOUND[each.frame - start : each.frame - start + each.frames]
        assert each.digest == hashlib.blake2b(part.tobytes(), digest_size=16).digest()
    assert all(each.frame % 1_000 == 0 for each in found[1:])
    assert all((each.frame + each.frames) % 1_000 == 0 for each in found[:-1])


def test_a_gap_ends_a_second_and_the_next_begins_behind_it() -> None:
    hasher = log.PcmHasher(0, rate=1_000)
    hasher.take(SOUND[:100].data)
    (cut,) = hasher.skip_to(1_500)
    assert (cut.frame, cut.frames) == (0, 100)
    assert hasher.skip_to(1_500) == []
    (after,) = hasher.take(SOUND[:500].data)
    assert (after.frame, after.frames) == (1_500, 500)


def test_half_a_frame_is_no_block() -> None:
    with pytest.raises(ValueError, match="whole frames"):
        log.PcmHasher(0).take(bytes(12))
    assert log.PcmHasher(0).take(b"") == []
