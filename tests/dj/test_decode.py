"""Decoding: every format gives the right samples, and no file harms the node, however it was made."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

pytest.importorskip("av")

from wsactors.dj import decode
from wsactors.dj.decode import DecodeLimits, decode_song, make_loops
from wsactors.dj.song import Pcm, Song, clean_text
from wsactors.dsp.loops import demo_loops
from wsactors.errors import DecodeFailed, SongRefused, SongUnreadable

from . import hostile


async def decoded(path: Path, **limits: Any) -> tuple[Song, Any]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        song, pcm = await decode_song(descriptor, song="id", title="fallback", limits=DecodeLimits(**limits))
    finally:
        os.close(descriptor)
    return song, samples(pcm)


def samples(pcm: Pcm) -> Any:
    with mmap.mmap(pcm.descriptor, pcm.size, prot=mmap.PROT_READ) as mapped:
        return np.frombuffer(mapped, np.int16).reshape(-1, 2).copy()


def strongest(sound: Any) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * 48_000 / len(sound))


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        ("mp3", "libmp3lame", 44_100),
        ("flac", "flac", 44_100),
        ("opus", "libopus", 48_000),
        ("m4a", "aac", 44_100),
        ("wav", "pcm_s16le", 22_050),
        ("mka", "flac", 96_000),
    ],
)
async def test_every_allowed_format_sounds_right(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = hostile.coded(tmp_path / f"x.{suffix}", codec, seconds=2, rate=rate, tags={"title": "Ein Lied"})
    song, sound = await decoded(path)
    assert song.frames == len(sound) == pytest.approx(96_000, abs=2_500)
    assert song.title == ("fallback" if suffix == "wav" and song.title == "fallback" else "Ein Lied")
    assert strongest(sound[12_000:84_000, 0]) == pytest.approx(440, abs=2)
    assert np.abs(sound[12_000:84_000]).max() == pytest.approx(10_000, rel=0.08)


@pytest.mark.parametrize(("channels", "rate"), [(1, 48_000), (8, 48_000), (2, 192_000), (1, 8_000)])
async def test_any_allowed_shape_becomes_stereo_at_48_khz(tmp_path: Path, channels: int, rate: int) -> None:
    path = hostile.tone(tmp_path / "x.wav", channels=channels, rate=rate)
    _song, sound = await decoded(path)
    assert len(sound) == pytest.approx(48_000, abs=100)
    assert strongest(sound[4_800:43_200, 0]) == pytest.approx(440, abs=3)
    assert strongest(sound[4_800:43_200, 1]) == pytest.approx(440, abs=3)


async def test_silence_is_a_song_like_any_other(tmp_path: Path) -> None:
    _song, sound = await decoded(hostile.coded(tmp_path / "x.flac", "flac", hertz=0))
    assert len(sound) == 48_000
    assert not sound.any()


@pytest.mark.parametrize(
    ("limits", "shape", "words"),
    [
        ({"channels": 2}, {"channels": 8}, "8 channels"),
        ({"rate": 96_000}, {"rate": 192_000}, "192000 Hz"),
        ({}, {"rate": 4_000}, "4000 Hz"),
        ({"seconds": 1}, {"seconds": 3.0}, "longer than the 1 seconds"),
    ],
)
async def test_what_is_over_a_limit_is_refused_with_the_limit(
    tmp_path: Path, limits: dict[str, int], shape: dict[str, Any], words: str
) -> None:
    with pytest.raises(SongRefused, match=words):
        await decoded(hostile.tone(tmp_path / "x.wav", **shape), **limits)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'other.wav'\n",
        "#EXTM3U\n#EXTINF:10,\nother.wav\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        ";FFMETADATA1\ntitle=x\n",
        "",
        "not a song\n" * 1_000,
    ],
)
async def test_a_script_or_playlist_in_a_song_s_clothes_opens_nothing(tmp_path: Path, text: str) -> None:
    hostile.tone(tmp_path / "other.wav")
    path = tmp_path / "song.mp3"
    path.write_text(text)
    with pytest.raises(SongRefused) as caught:
        await decoded(path)
    assert str(tmp_path) not in str(caught.value)


def test_pyav_alone_would_have_opened_the_other_file(tmp_path: Path) -> None:
    """Proof that the attack is real: the same bytes, opened by name and without our rules, play another file."""
    import av

    hostile.tone(tmp_path / "other.wav")
    path = tmp_path / "song.mp3"
    path.write_text("ffconcat version 1.0\nfile 'other.wav'\n")
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 48_000


async def test_ten_hours_in_six_megabytes_are_refused_at_once(tmp_path: Path) -> None:
    path = hostile.endless_flac(tmp_path / "x.flac", 10)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SongRefused, match="longer than the 1800 seconds"):
        await decoded(path)


async def test_a_file_that_lies_about_its_length_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    """The header says one second; five minutes follow. Nothing but counting what comes out finds it."""
    path = hostile.endless_flac(tmp_path / "x.flac", 5 / 60)
    data = bytearray(path.read_bytes())
    word = int.from_bytes(data[18:26], "big")
    data[18:26] = (word >> 36 << 36 | 48_000).to_bytes(8, "big")
    path.write_bytes(data)
    with pytest.raises(SongRefused, match="longer than the 60 seconds"):
        await decoded(path, seconds=60)


async def test_a_recording_of_a_stream_that_has_run_for_hours_is_as_long_as_it_is(tmp_path: Path) -> None:
    """What a listener saved of `/listen/NAME.ogg`: its first page says how long the stream had played by then."""
    saved = hostile.late_ogg(tmp_path / "saved.ogg", seconds=3, after=7_200)
    _song, sound = await decoded(saved, seconds=30)
    assert len(sound) == pytest.approx(3 * 48_000, abs=2_000)
    assert strongest(sound[:, 0]) == pytest.approx(440, abs=1)
    with pytest.raises(SongRefused, match="2 seconds"):
        await decoded(saved, seconds=2)


async def test_a_truncated_song_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = hostile.coded(tmp_path / "x.mp3", "libmp3lame", seconds=4, rate=44_100).read_bytes()
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole[: len(whole) // 2])
    _song, sound = await decoded(path)
    assert 48_000 < len(sound) < 3 * 48_000
    assert strongest(sound[12_000:48_000, 0]) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("suffix", "codec"), [("flac", "flac"), ("opus", "libopus"), ("m4a", "aac")])
async def test_corrupt_songs_play_or_are_refused_but_never_hurt(tmp_path: Path, suffix: str, codec: str) -> None:
    data = bytearray(hostile.coded(tmp_path / f"x.{suffix}", codec, seconds=3).read_bytes())
    rng = np.random.default_rng(7)
    for at in rng.integers(200, len(data), 400):
        data[int(at)] = int(rng.integers(256))
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(data)
    try:
        _song, sound = await decoded(path)
    except (SongRefused, SongUnreadable, DecodeFailed):
        return
    assert len(sound) < 48_000 * 60


@pytest.mark.parametrize(
    "prefix", [b"", b"fLaC", b"OggS\0\2", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"\x1aE\xdf\xa3", b"ID3\3\0\0"]
)
async def test_noise_with_a_famous_beginning_is_refused(tmp_path: Path, prefix: bytes) -> None:
    path = hostile.random_bytes(tmp_path / "x.mp3", 100_000, prefix)
    with pytest.raises((SongRefused, SongUnreadable, DecodeFailed)):
        await decoded(path)


async def test_a_wav_that_claims_four_gigabytes_and_has_none_is_unreadable(tmp_path: Path) -> None:
    header = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16)
    path = tmp_path / "x.wav"
    path.write_bytes(header + b"data\xff\xff\xff\xf0")
    with pytest.raises((SongUnreadable, SongRefused)):
        await decoded(path)


async def test_a_huge_tag_is_cut_and_a_hostile_one_made_harmless(tmp_path: Path) -> None:
    sound = hostile.coded(tmp_path / "x.mp3", "libmp3lame").read_bytes()
    path = tmp_path / "tag.mp3"
    path.write_bytes(hostile.id3(b"T" * 8_000_000) + sound)
    song, _samples = await decoded(path)
    assert song.title == "T" * 200
    path.write_bytes(hostile.id3(b"\xff\xfe\xc3\x28") + sound)  # no text in any encoding
    assert len((await decoded(path))[1])
    path.write_bytes(hostile.id3(b"<b>\x1b[31mred\r\n\x00") + sound)
    song, _samples = await decoded(path)
    assert song.title == "<b>[31mred"


def test_text_is_made_safe_to_show() -> None:
    assert clean_text("a\u202eb\x00\n\tc  d\ud800") == "ab c d"
    assert clean_text("  ") == ""
    assert len(clean_text("x" * 10_000_000)) == 200


async def test_cover_art_is_ignored(tmp_path: Path) -> None:
    """A picture beside the sound is not decoded: its codec is not on the list, and broken bytes of it harm nothing."""
    sound = hostile.coded(tmp_path / "x.flac", "flac").read_bytes()
    picture = struct.pack(">I", 3) + struct.pack(">I", 9) + b"image/png" + bytes(4) + bytes(16)
    picture += struct.pack(">I", 5_000) + b"\x89PNG\r\n\x1a\n" + os.urandom(4_992)
    first = 4 + 4 + 34
    assert sound[4] & 0x7F == 0
    block = b"\x06" + len(picture).to_bytes(3, "big") + picture
    path = tmp_path / "art.flac"
    path.write_bytes(sound[:first] + block + sound[first:])
    _song, samples_ = await decoded(path)
    assert len(samples_) == 48_000


async def test_a_decoder_that_wants_too_much_memory_is_refused_and_the_node_lives(tmp_path: Path) -> None:
    path = hostile.coded(tmp_path / "x.flac", "flac", seconds=5)
    with pytest.raises((SongRefused, SongUnreadable, DecodeFailed)):
        await decoded(path, memory=64 << 20)  # less than it has already: whatever it asks for, it does not get
    song, _samples = await decoded(path)
    assert song.frames == 240_000


@pytest.mark.parametrize(
    ("limits", "words"), [({"cpu": 1}, "SIGXCPU|SIGKILL"), ({"wall": 0.5}, "more than 0.5 seconds")]
)
async def test_a_decoder_that_never_ends_is_ended(
    tmp_path: Path, limits: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spin = tmp_path / "wsactors_test_spin.py"
    spin.write_text(
        "import sys, json\nfrom wsactors.dj.confine import Limits, limit\n"
        "limit(Limits(1 << 30, json.loads(sys.argv[-1])['cpu'], 1000, 0))\nwhile True: pass\n"
    )
    monkeypatch.setattr("wsactors.dj.child._PACKAGE_ROOT", f"{Path(decode.__file__).parents[2]}:{tmp_path}")
    run = decode._run

    async def spinning(_module: str, descriptors: Any, argument: str, wall: float) -> dict[str, object]:
        return await run("wsactors_test_spin", descriptors, argument, wall)

    monkeypatch.setattr(decode, "_run", spinning)
    with pytest.raises(DecodeFailed, match=words):
        await decoded(hostile.tone(tmp_path / "x.wav"), **limits)
    assert not children()


async def test_cancelling_kills_the_decoder_and_leaves_nothing(tmp_path: Path) -> None:
    path = hostile.tone(tmp_path / "x.wav", seconds=200)
    open_before = open_descriptors()
    with trio.move_on_after(0.12) as scope:
        await decoded(path)
    assert scope.cancelled_caught
    assert not children()
    assert open_descriptors() == open_before


async def test_descriptors_are_all_returned(tmp_path: Path) -> None:
    path = hostile.tone(tmp_path / "x.wav")
    await decoded(path)
    open_before = open_descriptors()
    for _ in range(3):
        await decoded(path)
        with pytest.raises(SongRefused):
            await decoded(path, rate=44_100)
    assert open_descriptors() == open_before


async def test_the_samples_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    descriptor = os.open(hostile.tone(tmp_path / "x.wav"), os.O_RDONLY)
    _song, pcm = await decode_song(descriptor, song="id", title="x")
    os.close(descriptor)
    with pytest.raises(PermissionError):
        os.pwrite(pcm.descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(pcm.descriptor, 0)
    pcm.close()
    with pytest.raises(ValueError, match="closed"):
        pcm.descriptor  # noqa: B018


@pytest.mark.parametrize(
    ("report", "error"),
    [
        (b'{"frames": 48000}', "promised 48000 frames"),  # nothing was written
        (b'{"frames": -1}', "promised"),
        (b'{"frames": true}', "no length"),
        (b"[" * 5_000, "cannot be read"),
        (b"7", "cannot be read"),
        (b"x" * 9_000, "longer than any honest"),
        (b"", "cannot be read"),
    ],
)
async def test_a_decoder_taken_over_by_its_file_is_not_believed(
    tmp_path: Path, report: bytes, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "wsactors_test_liar.py"
    liar.write_text(f"import os, sys\nos.write(int(sys.argv[4]), {report!r})\n")
    monkeypatch.setattr("wsactors.dj.child._PACKAGE_ROOT", f"{Path(decode.__file__).parents[2]}:{tmp_path}")
    run = decode._run

    async def lying(_module: str, descriptors: Any, argument: str, wall: float) -> dict[str, object]:
        return await run("wsactors_test_liar", descriptors, argument, wall)

    monkeypatch.setattr(decode, "_run", lying)
    with pytest.raises(DecodeFailed, match=error):
        await decoded(hostile.tone(tmp_path / "x.wav"))


async def test_the_demo_loops_come_from_a_process_of_their_own() -> None:
    (first, a), (second, b) = await make_loops(1)
    assert (first.id, second.id, first.loop) == ("loop-a", "loop-b", True)
    wanted = demo_loops(1)
    assert np.array_equal(samples(a), wanted[0])
    assert np.array_equal(samples(b), wanted[1])


def test_a_killed_parent_leaves_no_decoder_behind(tmp_path: Path) -> None:
    """kill -9 of the parent while its child is busy and listens to nothing: the kernel ends the child."""
    (tmp_path / "wsactors_test_busy.py").write_text(
        "import sys\nfrom wsactors.dj.confine import die_with_parent\ndie_with_parent(int(sys.argv[1]))\n"
        "import os; os.write(int(sys.argv[2]), b'!')\nwhile True: pass\n"
    )
    program = (
        "import os, sys, trio\n"
        "from wsactors.dj import child\n"
        "child._PACKAGE_ROOT = f'{child._PACKAGE_ROOT}:{sys.argv[1]}'\n"
        "async def main():\n"
        "    ours, theirs = os.pipe()\n"
        "    async with child.run_child('wsactors_test_busy', [str(theirs)], [theirs]) as busy:\n"
        "        os.read(ours, 1)\n"
        "        print(busy.pid, flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < deadline, "the child outlived its parent"
            os.sched_yield()
