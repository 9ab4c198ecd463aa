"""Decode a song in a process of its own: hostile files can waste only what they are given, and break nothing.

The file is opened here, inside its folder, and handed over by descriptor; the samples come back in a memfd that this
process created, so nothing is ever opened, named or received at the child's word. The child may use so much memory,
processor and wall-clock time, and is killed beyond it, or when the caller is cancelled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import attrs
import trio

from wsactors.dj.child import describe_exit, run_child
from wsactors.dj.song import Pcm, Song, clean_text, new_memory, seal
from wsactors.dsp.bounds import LOOP_BPM
from wsactors.errors import DecodeFailed, SongRefused, SongUnreadable

_REPORT_BYTES = 8192


@attrs.frozen
class DecodeLimits:
    """What one song may cost and be."""

    seconds: int = 30 * 60
    """Longest song: half an hour of samples is 346 MB."""
    channels: int = 8
    """Most channels in the file; all are mixed down to two."""
    rate: int = 192_000
    """Highest sample rate in Hz."""
    memory: int = 1 << 30
    """Bytes of address space of the decoding process, libraries included, samples not."""
    cpu: int = 60
    """Seconds of processor time: a song of half an hour takes about five."""
    wall: float = 120.0
    """Seconds until it is killed, whatever it is doing."""


async def decode_song(source: int, *, song: str, title: str, limits: DecodeLimits | None = None) -> tuple[Song, Pcm]:
    """Decode the file open at descriptor `source` (which stays the caller's) to 48 kHz stereo int16.

    `song` becomes the song's id, `title` stands in where the file has none. Cancelling kills the decoder.
    Raises `SongRefused` (not allowed, over a limit), `SongUnreadable` (damaged) or `DecodeFailed` (the decoder died).

    >>> with library.open(song) as source:
    ...     about, samples = await decode_song(source, song=song, title="untitled")
    """
    limits = limits or DecodeLimits()
    rules = json.dumps({key: value for key, value in attrs.asdict(limits).items() if key != "wall"})
    memory = new_memory("song")
    try:
        answer = await _run("wsactors.dj.decode_worker", [source, memory], rules, limits.wall)
        frames = _frames(answer)
    except BaseException:
        os.close(memory)
        raise
    pcm = seal(memory, frames)
    found = clean_text(str(answer.get("title", "")))
    artist = clean_text(str(answer.get("artist", "")))
    return Song(id=song, title=found or clean_text(title) or "untitled", artist=artist, frames=frames), pcm


async def make_loops(seed: int = 1, *, wall: float = 60.0) -> tuple[tuple[Song, Pcm], tuple[Song, Pcm]]:
    """The two demo loops (`wsactors.dsp.loops`), synthesised in a process of their own: it takes a second of processor.

    Raises `DecodeFailed` when that process dies or takes longer than `wall` seconds.
    """
    memories = [new_memory("loop-a"), new_memory("loop-b")]
    try:
        answer = await _run("wsactors.dj.loop_worker", memories, str(seed), wall)
        frames = _frames(answer)
    except BaseException:
        for memory in memories:
            os.close(memory)
        raise
    first, second = (seal(memory, frames) for memory in memories)
    return (
        (Song(id="loop-a", title="Groove", artist="wsactors", frames=frames, loop=True, bpm=LOOP_BPM), first),
        (Song(id="loop-b", title="Answer", artist="wsactors", frames=frames, loop=True, bpm=LOOP_BPM), second),
    )


async def _run(module: str, descriptors: Sequence[int], argument: str, wall: float) -> dict[str, object]:
    """Run a worker that reports once on a pipe, then exits; its report, or the error it stands for."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    async with trio.lowlevel.FdStream(ours) as stream:
        try:
            numbers = [str(each) for each in (*descriptors, theirs)]
            async with run_child(module, [*numbers, argument], [*descriptors, theirs]) as child:
                os.close(theirs)
                theirs = -1
                with trio.move_on_after(wall) as scope:
                    report = await _read_all(stream)
                    status = await child.wait()
                if scope.cancelled_caught:
                    raise DecodeFailed(f"decoding took more than {wall:g} seconds and was stopped")
        finally:
            if theirs >= 0:
                os.close(theirs)
    return _answer(report, status)


async def _read_all(stream: trio.lowlevel.FdStream) -> bytes:
    report = b""
    while chunk := await stream.receive_some(_REPORT_BYTES):
        report += chunk
        if len(report) > _REPORT_BYTES:
            raise DecodeFailed("the decoder's report is longer than any honest one")
    return report


def _answer(report: bytes, status: int) -> dict[str, object]:
    if status != 0:
        raise DecodeFailed(f"the decoder ended with {describe_exit(status)}: the file is damaged or made to break it")
    try:
        answer = json.loads(report)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DecodeFailed("the decoder's report cannot be read")
    if "refused" in answer:
        raise SongRefused(f"this file is not played: {clean_text(str(answer['refused']))}")
    if "unreadable" in answer:
        raise SongUnreadable(f"this file cannot be played: {clean_text(str(answer['unreadable']))}")
    return answer


def _frames(answer: dict[str, object]) -> int:
    frames = answer.get("frames")
    if type(frames) is not int:
        raise DecodeFailed("the decoder's report names no length")
    return frames
