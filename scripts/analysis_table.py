#!/usr/bin/env python3
"""How right the analysis is about real music: a table of all songs of two Debian packages whose tempo is known.

    .venv/bin/python scripts/analysis_table.py

Fetches 136 MB once, with `apt-get download`, into ~/.cache/wsactors/test-music (or $WSACTORS_TEST_MUSIC). Songs are decoded
and analysed as a node does it, in processes of their own; then keys are counted on made progressions. Takes a few minutes.
The last column is how many seconds of song are decoded and analysed in a second of processor.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import trio

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.dj.analysis import synthetic  # noqa: E402
from tests.dj.analysis.real_music import TRUTHS, NotFetchedError, Verdict, analysed, fetch, judge  # noqa: E402
from wsactors.dj.analysis.key import find_key  # noqa: E402
from wsactors.dj.analysis.values import Analysis  # noqa: E402


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(name: str, analysis: Analysis, verdict: Verdict, cost: float) -> str:
    """A line of the table."""
    assert analysis.grid is not None
    assert analysis.tempo is not None
    key, loudness = analysis.key, analysis.loudness
    return (
        f"{name:22} {verdict.truth:9.4f} {analysis.grid.bpm():9.4f} {verdict.octave:5.2f} {verdict.error * 100:8.4f}"
        f" {verdict.begin * 1000:6.1f} {verdict.end * 1000:6.1f} {analysis.tempo.sure:5.2f} {analysis.tempo.steady:6.2f}"
        f"  {key.wheel if key else '-':3} {key.sure if key else 0:4.2f}"
        f" {loudness.integrated if loudness else 0:6.1f} {loudness.peak if loudness else 0:5.1f}"
        f" {analysis.frames / 48_000 / cost:5.0f}"
    )


def keys() -> None:
    """How often the key of made progressions is found, in all twelve keys."""
    found = count = 0
    print("\nkeys found, of 12: 30 cents sharp, with drums, and how sure")
    for minor, progressions in ((False, synthetic.MAJOR), (True, synthetic.MINOR)):
        for name, steps in progressions.items():
            right, sure = [0, 0], 0.0
            for tonic in range(12):
                for drums in (False, True):
                    key = find_key(synthetic.in_key(tonic, steps, cents=0 if drums else 30, drums_too=drums))
                    right[drums] += key is not None and (key.tonic, key.minor) == (tonic, minor)
                    sure += key.sure / 24 if key else 0
            print(f"{'minor' if minor else 'major'}  {name:14} {right[0]:3} {right[1]:3}  {sure:.2f}", flush=True)
            found, count = found + sum(right), count + 24
    print(f"{found} of {count}")


async def main() -> None:
    """Print the table and the sums."""
    print(
        f"{'song':22} {'true BPM':>9} {'found':>9} ratio  error % begin    end   sure steady  key sure   LUFS  dBTP  x real\n"
        f"{'':22} {'':9} {'':9} {'':5} {'':8} {'ms':>5} {'ms':>6}"
    )
    verdicts: list[tuple[bool, Verdict]] = []
    for truth in TRUTHS:
        before = _processor()
        analysis = await analysed(fetch(truth.package)[truth.name])
        cost = _processor() - before
        if analysis.grid is None:
            print(f"{truth.name:22} no beats found")
            continue
        verdict = judge(
            truth, seconds=analysis.frames / 48_000, bpm=analysis.grid.bpm(), first=analysis.grid.first / 48_000
        )
        verdicts.append((truth.octave, verdict))
        print(row(truth.name, analysis, verdict, cost), flush=True)
    known = [verdict for octave, verdict in verdicts if octave]
    count = len(TRUTHS)
    print(f"\ntempo within 0.01 % (any octave): {sum(verdict.on_tempo for _, verdict in verdicts)} of {count}")
    print(f"and within 10 ms to the end:      {sum(verdict.on_beat for _, verdict in verdicts)} of {count}")
    print(f"right octave, where it is known:  {sum(verdict.octave == 1 for verdict in known)} of {len(known)}")


if __name__ == "__main__":
    try:
        trio.run(main)
        keys()
    except NotFetchedError as error:
        sys.exit(str(error))
