"""Analysis in a process of its own: the same result, bounded, and never believed blindly."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import trio

from wsactors.dj import analysis_process as module
from wsactors.dj.analysis.study import analyse
from wsactors.dj.analysis.values import Analysis
from wsactors.dj.analysis_process import AnalysisLimits, analyse_song
from wsactors.dj.child import run_child
from wsactors.dj.song import Pcm, new_memory, seal
from wsactors.errors import AnalysisFailed

from .analysis import synthetic
from .test_decode import children, open_descriptors


def pcm_of(samples: Any) -> Pcm:
    memory = new_memory("test")
    view = memoryview(samples.tobytes())
    while view:
        view = view[os.write(memory, view) :]
    return seal(memory, len(samples))


async def nothing(_digest: bytes) -> Analysis | None:
    return None


async def test_a_process_of_its_own_finds_the_same() -> None:
    samples = synthetic.drums(124.3, hat=0.1, seconds=12.0)
    pcm = pcm_of(samples)
    open_before = open_descriptors()
    digest, analysis = await analyse_song(pcm, nothing)
    assert analysis == analyse(samples)
    assert analysis.grid is not None
    assert digest == hashlib.blake2b(samples.tobytes(), digest_size=32).digest()
    assert open_descriptors() == open_before
    assert not children()


async def test_what_is_known_already_is_not_done_again() -> None:
    pcm = pcm_of(synthetic.clicks(120.0, seconds=2.0))
    asked: list[bytes] = []
    before = Analysis(frames=pcm.frames)

    async def known(digest: bytes) -> Analysis | None:
        asked.append(digest)
        return before

    assert await analyse_song(pcm, known) == (asked[0], before)
    assert not children()

    async def of_another(_digest: bytes) -> Analysis | None:
        return Analysis(frames=5)  # no catalogue of ours says that: it is not used

    assert (await analyse_song(pcm, of_another))[1] != Analysis(frames=5)


@pytest.mark.parametrize("samples", [np.zeros((1, 2), np.int16), np.zeros((480_000, 2), np.int16)])
async def test_silence_is_analysed_like_any_song(samples: Any) -> None:
    _digest, analysis = await analyse_song(pcm_of(samples), nothing)
    assert analysis == analyse(samples)
    assert analysis.grid is None


async def test_a_long_noise_in_which_everything_rises_all_the_time_stays_within_half_of_the_limit() -> None:
    noise = np.random.default_rng(1).integers(-20_000, 20_000, (48_000 * 20, 2), dtype=np.int16)
    samples = np.tile(noise, (6, 1))
    _digest, analysis = await analyse_song(pcm_of(samples), nothing, AnalysisLimits(memory=1 << 30))
    assert analysis.frames == len(samples)


async def test_too_little_memory_is_an_error_and_harms_nobody() -> None:
    pcm = pcm_of(synthetic.clicks(120.0, seconds=20.0))
    with pytest.raises(AnalysisFailed):
        await analyse_song(pcm, nothing, AnalysisLimits(memory=64 << 20))
    assert not children()


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    (tmp_path / "wsactors_test_stand_in.py").write_text(program)
    monkeypatch.setattr("wsactors.dj.child._PACKAGE_ROOT", f"{Path(module.__file__).parents[2]}:{tmp_path}")

    def instead(_module: str, arguments: Any, descriptors: Any) -> Any:
        return run_child("wsactors_test_stand_in", arguments, descriptors)

    monkeypatch.setattr(module, "run_child", instead)


@pytest.mark.parametrize(
    ("limits", "words"), [({"cpu": 1}, "SIGXCPU|SIGKILL"), ({"wall": 0.5}, "more than 0.5 seconds")]
)
async def test_an_analysis_that_never_ends_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], words: str
) -> None:
    spin = (
        "import sys, json\nfrom wsactors.dj.confine import Limits, limit\n"
        "limit(Limits(1 << 30, json.loads(sys.argv[-1])['cpu'], 1000, 0))\nwhile True: pass\n"
    )
    stand_in(tmp_path, monkeypatch, spin)
    with pytest.raises(AnalysisFailed, match=words):
        await analyse_song(pcm_of(np.zeros((100, 2), np.int16)), nothing, AnalysisLimits(**limits))
    assert not children()


GOOD = msgpack.packb(Analysis(frames=100).to_wire())


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (b"", "cannot be read"),
        (b"short", "cannot be read"),
        (bytes(32), "cannot be read"),
        (bytes(32) + b"\xc1", "cannot be read"),
        (bytes(32) + b"\x91" * 5_000, "cannot be read"),
        (bytes(32) + msgpack.packb([1, 2, 3]), "cannot be read"),
        (bytes(32) + GOOD + b"more", "cannot be read"),
        (bytes(32) + struct.pack(">BI", 0xDD, 0xFFFFFFFF), "cannot be read"),
        (bytes(32) + msgpack.packb(Analysis(frames=7).to_wire()), "another song"),
        (bytes(32) + msgpack.packb("<b>\x1b[31m"), r"not analysed: <b>\[31m"),
        (bytes(300_000), "longer than any honest one"),
    ],
)
async def test_a_process_that_lies_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: bytes, words: str
) -> None:
    (tmp_path / "report").write_bytes(report)
    lie = f"import os, sys\nos.write(int(sys.argv[3]), open({str(tmp_path / 'report')!r}, 'rb').read())\n"
    stand_in(tmp_path, monkeypatch, lie)
    with pytest.raises(AnalysisFailed, match=words):
        await analyse_song(pcm_of(np.zeros((100, 2), np.int16)), nothing)
    assert not children()


async def test_cancelling_kills_it_and_leaves_nothing() -> None:
    pcm = pcm_of(synthetic.clicks(120.0, seconds=2.0))
    open_before = open_descriptors()
    with trio.CancelScope() as scope:

        async def stop(_digest: bytes) -> Analysis | None:
            scope.cancel()
            return None

        await analyse_song(pcm, stop)
    assert scope.cancelled_caught
    assert not children()
    assert open_descriptors() == open_before
