"""Music that people made, with the tempo they made it at: from Debian's packages, unpacked into a cache, never kept here.

How the tempo is known: the songs of *singularity-music* are cut at bar lines, so that length times tempo is a whole number
of bars, and they begin with a beat. Those of *nexuiz-music* have a whole number of beats per minute, or come from programs
that count a beat in 24 ticks of whole frames of 44.1 kHz, the tempo rounded to that (140 becomes 110250 / 787 = 140.0889).
Which whole number it is was for some songs read off the tempo found; that it is whole to a hundred-thousandth is the proof.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

import attrs

from wsactors.dj.analysis.values import Analysis
from wsactors.dj.analysis_process import analyse_song
from wsactors.dj.decode import decode_song

SINGULARITY, NEXUIZ = "singularity-music", "nexuiz-music"
_TICKS = 44_100 * 60 / 24


class NotFetchedError(Exception):
    """The music could not be had; the text says why."""


@attrs.frozen
class Truth:
    """What is known about a song."""

    package: str
    name: str
    beats: int | None = None
    """In the whole file, where that is cut at bar lines."""
    tempo: float | None = None
    """Beats per minute, where it is not."""
    octave: bool = True
    """Whether it is known which of twice and half is meant."""

    def bpm(self, seconds: float) -> float:
        if self.beats is not None:
            return self.beats * 60 / seconds
        assert self.tempo is not None
        return self.tempo


def _ticks(frames: int) -> float:
    return _TICKS / frames


# Left out: Chimes They Fade and thunder, which have no beat.
TRUTHS = (
    Truth(SINGULARITY, "A New Journey", 600),
    Truth(SINGULARITY, "Aberrations", 516),
    Truth(SINGULARITY, "Advanced Simulacra", 536),
    Truth(SINGULARITY, "Apex Aleph", 296, octave=False),
    Truth(SINGULARITY, "Awakening", 416),
    Truth(SINGULARITY, "By-Product", 486),
    Truth(SINGULARITY, "Coherence", tempo=48_000 * 60 / 24 / 857),
    Truth(SINGULARITY, "Deprecation", 600),
    Truth(SINGULARITY, "Enemy Unknown", 520),
    Truth(SINGULARITY, "Inevitable", 580),
    Truth(SINGULARITY, "March Thee to Dis", 108),
    Truth(SINGULARITY, "Media Threat", 580),
    Truth(SINGULARITY, "Nebula", 528),
    Truth(SINGULARITY, "Orbital Elevator", 784, octave=False),
    Truth(SINGULARITY, "Through Space", 448),
    Truth(NEXUIZ, "beast-of-insanity", tempo=140.0),
    Truth(NEXUIZ, "brainsukker", tempo=_ticks(816)),
    Truth(NEXUIZ, "breakdown-easy", tempo=_ticks(615)),
    Truth(NEXUIZ, "brokenlight", tempo=140.0),
    Truth(NEXUIZ, "calling-bogus", tempo=_ticks(648)),
    Truth(NEXUIZ, "chaos-fog", tempo=_ticks(781)),
    Truth(NEXUIZ, "desert3", tempo=138.0),
    Truth(NEXUIZ, "digital-pursuit", tempo=120.0),
    Truth(NEXUIZ, "infight", tempo=_ticks(787)),
    Truth(NEXUIZ, "neuronal-diving", tempo=_ticks(848)),
    Truth(NEXUIZ, "ninesix", tempo=89.0, octave=False),
    Truth(NEXUIZ, "northern-lights", tempo=105.0),
    Truth(NEXUIZ, "sixtyfour_", tempo=127.0),
    Truth(NEXUIZ, "sixtyfour_revisited", tempo=127.0),
    Truth(NEXUIZ, "stairs", tempo=119.0),
    Truth(NEXUIZ, "subcities", tempo=_ticks(816)),
    Truth(NEXUIZ, "thru-the-mirror", tempo=_ticks(919)),
)


def cache_folder() -> Path:
    """Where packages are kept from run to run: $WSACTORS_TEST_MUSIC, or a folder of the user's cache."""
    named = os.environ.get("WSACTORS_TEST_MUSIC")
    return Path(named) if named else Path.home() / ".cache" / "wsactors" / "test-music"


def fetch(package: str) -> dict[str, Path]:
    """Every song of a package by name. Raises `NotFetchedError`."""
    folder = cache_folder() / package
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            # Tests run in several processes: whoever is ready first puts the whole folder in its place.
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                _unpack(package, Path(scratch))
                if not folder.exists():
                    (Path(scratch) / "songs").rename(folder)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
            raise NotFetchedError(f"{package} could not be fetched with apt-get and dpkg: {error}") from None
    return {path.stem: path for path in sorted(folder.rglob("*.ogg"))}


def _unpack(package: str, scratch: Path) -> None:
    subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch, check=True, timeout=120, capture_output=True)
    (archive,) = scratch.glob("*.deb")
    songs = scratch / "songs"
    subprocess.run(["dpkg", "-x", str(archive), str(songs)], check=True, timeout=60, capture_output=True)
    for bundle in songs.rglob("*.pk3"):  # a ZIP file
        with zipfile.ZipFile(bundle) as opened:
            opened.extractall(songs)
        bundle.unlink()


async def analysed(path: Path) -> Analysis:
    """The analysis of a file, as a node makes it: decoded and analysed in processes of their own."""

    async def nothing(_digest: bytes) -> Analysis | None:
        return None

    descriptor = os.open(path, os.O_RDONLY)
    try:
        _song, pcm = await decode_song(descriptor, song="id", title=path.stem)
    finally:
        os.close(descriptor)
    return (await analyse_song(pcm, nothing))[1]


@attrs.frozen
class Verdict:
    """How far a grid is off the truth."""

    truth: float
    """Beats per minute."""
    octave: float
    """Found tempo by true tempo, to the nearest simple ratio: 1 is right."""
    error: float
    """Of the tempo, apart from that ratio: a share."""
    begin: float
    """Seconds by which the grid is late at the beginning, where it is known that the song begins with a beat."""
    end: float
    """The same at its end; for other songs by how much the grid runs away from the true tempo on the way."""

    @property
    def on_tempo(self) -> bool:
        return self.error <= 1e-4

    @property
    def on_beat(self) -> bool:
        return self.on_tempo and abs(self.begin) <= 0.010 and abs(self.end) <= 0.010


def judge(truth: Truth, *, seconds: float, bpm: float, first: float) -> Verdict:
    """Compare a grid (tempo, second of a downbeat) with what is known."""
    right = truth.bpm(seconds)
    ratios = (0.5, 2 / 3, 0.75, 1.0, 4 / 3, 1.5, 2.0)
    ratio = min(ratios, key=lambda each: abs(bpm / right / each - 1))
    error = bpm / right / ratio - 1
    beat = 60 / bpm
    begin = (first + beat / 2) % beat - beat / 2 if truth.package == SINGULARITY else 0.0
    # A grid that is faster by this share is early by this share of all the time that has passed.
    return Verdict(right, ratio, abs(error), begin, begin - error * seconds)
