"""Analyse a song in a process of its own: the node goes on, whatever the song is like and however long it is.

The child maps the sealed samples and can open nothing; it may use so much memory, processor and wall-clock time, and is
killed beyond it, or when the caller is cancelled. What it says is checked like anything from outside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable

import attrs
import msgpack
import trio

from wsactors.dj.analysis.values import DIGEST_SIZE, Analysis
from wsactors.dj.child import describe_exit, run_child
from wsactors.dj.song import Pcm, clean_text
from wsactors.errors import AnalysisFailed

_REPORT_BYTES = 1 << 18
_CHUNK = 1 << 16


@attrs.frozen
class AnalysisLimits:
    """What the analysis of one song may cost."""

    memory: int = 2 << 30
    """Bytes of address space, the mapped samples and the libraries included: half an hour of song takes about 1.5 GB."""
    cpu: int = 60
    """Seconds of processor time: a song of half an hour takes about eleven."""
    wall: float = 180.0
    """Seconds until it is killed, whatever it is doing."""


Known = Callable[[bytes], Awaitable[Analysis | None]]


async def analyse_song(pcm: Pcm, known: Known, limits: AnalysisLimits | None = None) -> tuple[bytes, Analysis]:
    """The digest of a song's samples, and what is known about them.

    `known` is asked first, with the digest; when it has an answer, the child is ended. Cancelling kills the child.
    Raises `AnalysisFailed` when it took too long, needed too much, died or said nonsense.
    """
    limits = limits or AnalysisLimits()
    rules = {"frames": pcm.frames, "memory": limits.memory, "cpu": limits.cpu}
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    async with trio.lowlevel.FdStream(ours) as stream:
        try:
            with trio.move_on_after(limits.wall):
                descriptors = [pcm.descriptor, theirs]
                arguments = [*map(str, descriptors), json.dumps(rules)]
                async with run_child("wsactors.dj.analysis_worker", arguments, descriptors) as child:
                    os.close(theirs)
                    theirs = -1
                    report = await _read(stream, b"", DIGEST_SIZE)
                    digest = report[:DIGEST_SIZE]
                    found = await known(digest) if len(digest) == DIGEST_SIZE else None
                    if found is not None and found.frames == pcm.frames:
                        return digest, found
                    report = await _read(stream, report, None)
                    return digest, _answer(report, await child.wait(), pcm.frames)
        finally:
            if theirs >= 0:
                os.close(theirs)
    raise AnalysisFailed(f"the analysis took more than {limits.wall:g} seconds and was stopped")


async def _read(stream: trio.lowlevel.FdStream, report: bytes, upto: int | None) -> bytes:
    """More of the report, to its end or until there are `upto` bytes."""
    while (upto is None or len(report) < upto) and (chunk := await stream.receive_some(_CHUNK)):
        report += chunk
        if len(report) > _REPORT_BYTES:
            raise AnalysisFailed("the analysis is longer than any honest one")
    return report


def _answer(report: bytes, status: int, frames: int) -> Analysis:
    if status != 0:
        raise AnalysisFailed(f"the analysis ended with {describe_exit(status)}")
    try:
        answer = msgpack.unpackb(report[DIGEST_SIZE:])
        if isinstance(answer, str):
            raise AnalysisFailed(f"this song is not analysed: {clean_text(answer)}")
        analysis = Analysis.from_wire(answer)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise AnalysisFailed(f"the analysis cannot be read: {clean_text(str(error))}") from None
    if analysis.frames != frames:
        raise AnalysisFailed("the analysis is of another song")
    return analysis
