"""What is known about a song's sound, as one frozen value that travels and is kept. Without numpy: a node never loads it."""

from __future__ import annotations

import math
from typing import Any, Literal, Self, TypeAlias, cast, get_args

import attrs

from wsactors.dj.beatgrid import Beatgrid

VERSION = 1
"""Grows whenever the same samples may give another result: what an older version found is found anew."""
TARGET = -14.0
"""LUFS that auto-gain brings songs to."""
MOST_GAIN = 12.0
"""dB that auto-gain adds or takes away at most."""
PEAK = -1.0
"""dBFS that auto-gain lets a song's peak reach."""
DIGEST_SIZE = 32
"""Bytes of the BLAKE2b digest that stands for a song's samples."""
NAMES = ("C", "D♭", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
"""Of tonics."""
MAX_COLUMNS = 32_768
"""Most columns of a waveform (131 kB): a song of up to 349 s has 94 a second, a longer one fewer."""
LAYERS = 4
"""Bytes of a column: peak, low (below 200 Hz), mid (to 3.2 kHz), high."""
Kind: TypeAlias = Literal["start", "rise", "break", "end"]
KINDS: frozenset[str] = frozenset(get_args(Kind))
MAX_CUES = 8
"""Most suggested cues: as many as a deck has hotcues."""
_LEAST, _MOST = -200.0, 100.0  # dB of any level that is believed
_MAX_FRAMES = 1 << 40


def _share(instance: object, attribute: Any, value: float) -> None:
    if type(value) is not float or not 0.0 <= value <= 1.0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is a number from 0 to 1, got {value!r}")


def _decibels(instance: object, attribute: Any, value: float) -> None:
    if type(value) is not float or not _LEAST <= value <= _MOST:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is a level in dB, got {value!r}")


@attrs.frozen
class Tempo:
    """How a song's beats were found. Where they are is its grid."""

    sure: float = attrs.field(validator=_share)
    """0 to 1: how far this tempo stands out before others that are not twice or half of it."""
    steady: float = attrs.field(validator=_share)
    """Share of the song whose beats are within 10 ms of the grid, by how clear they are; low where the tempo varies."""


@attrs.frozen
class Key:
    """A key."""

    tonic: int = attrs.field()
    """0 for C to 11 for B."""
    minor: bool
    sure: float
    """0 to 1: how far it stands out before the next likely; below 0.25 it is a guess."""

    @tonic.validator
    def _check(self, _attribute: object, value: object) -> None:
        if type(value) is not int or not 0 <= value < 12 or type(self.minor) is not bool:
            raise ValueError("a key is a tonic from 0 (C) to 11 (B), and whether it is minor")
        if type(self.sure) is not float or not 0 <= self.sure <= 1:
            raise ValueError(f"how sure a key is, is a number from 0 to 1, got {self.sure!r}")

    @property
    def name(self) -> str:
        """As musicians write it: ``A minor``, ``F♯ major``."""
        return f"{NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    @property
    def wheel(self) -> str:
        """As DJs write it: 1A to 12A are minor, 1B to 12B major; neighbours on the wheel are a fifth apart, 8B is C."""
        major = (self.tonic + 3) % 12 if self.minor else self.tonic
        return f"{(major * 7 + 7) % 12 + 1}{'A' if self.minor else 'B'}"

    def distance(self, other: Self) -> int:
        """Steps on that wheel, 0 (the same key) to 7; from a key to its relative (A minor, C major) it is one."""
        mine, its = (int(each.wheel[:-1]) for each in (self, other))
        around = (mine - its) % 12
        return min(around, 12 - around) + (self.minor != other.minor)


@attrs.frozen
class Loudness:
    """How loud a song is (ITU-R BS.1770)."""

    integrated: float = attrs.field(validator=_decibels)
    """LUFS of the whole song, silence left out."""
    peak: float = attrs.field(validator=_decibels)
    """dBTP of the highest point between samples."""

    def gain(self, target: float = TARGET) -> float:
        """The dB that bring the song to `target` LUFS, at most `MOST_GAIN` either way and not with its peak above `PEAK`.

        A song whose peak is above that already is not made quieter for it: the limiter takes care of that.
        """
        wanted = min(target - self.integrated, max(0.0, PEAK - self.peak))
        return max(-MOST_GAIN, min(MOST_GAIN, wanted))


@attrs.frozen
class Waveform:
    """A picture of a song, its columns one after another."""

    frames: int
    """Source frames of a column."""
    data: bytes = attrs.field(repr=False)
    """`LAYERS` bytes a column: peak, low, mid, high; 255 is full scale, each step 0.24 dB less, 0 is −60 dBFS or less."""

    def __attrs_post_init__(self) -> None:
        if type(self.frames) is not int or not 1 <= self.frames <= 1 << 24:
            raise ValueError(f"a column of a waveform has 1 to {1 << 24} frames, got {self.frames!r}")
        if type(self.data) is not bytes or len(self.data) % LAYERS or len(self.data) > MAX_COLUMNS * LAYERS:
            raise ValueError(f"a waveform is at most {MAX_COLUMNS} columns of {LAYERS} bytes")

    @property
    def columns(self) -> int:
        """How many there are."""
        return len(self.data) // LAYERS

    def overview(self, columns: int = 1_000) -> Waveform:
        """The same song in at most `columns`, each the loudest of those it stands for. Raises `ValueError` below 1."""
        if columns < 1:
            raise ValueError("an overview has at least one column")
        size = max(1, math.ceil(self.columns / columns)) * LAYERS
        starts = range(0, len(self.data), size)
        loudest = bytes(max(self.data[at + layer : at + size : LAYERS]) for at in starts for layer in range(LAYERS))
        return Waveform(self.frames * (size // LAYERS), loudest)


@attrs.frozen
class Cue:
    """A suggestion."""

    position: float = attrs.field()
    """Source frame."""
    kind: Kind
    """start: the first sound; rise: more sets in; break: much falls silent; end: from here on it only gets less."""

    @position.validator
    def _check(self, _attribute: object, value: object) -> None:
        if type(value) is not float or not 0 <= value <= 1 << 40 or self.kind not in KINDS:
            raise ValueError(f"a cue is a source frame and one of {', '.join(sorted(KINDS))}")


@attrs.frozen
class Analysis:
    """All that is known about a song's sound."""

    frames: int = attrs.field()
    """Its length in frames of 48 kHz."""
    grid: Beatgrid | None = None
    """Its beats; None where nothing repeats."""
    tempo: Tempo | None = None
    """None without a grid, and for a grid that was only made by hand."""
    key: Key | None = None
    """None for silence."""
    loudness: Loudness | None = None
    """None for silence, and for a song too short to have any (400 ms)."""
    waveform: Waveform = attrs.field(default=Waveform(1, b""))
    cues: tuple[Cue, ...] = attrs.field(default=())
    """Suggestions in the order of the song, at most `MAX_CUES`."""

    @frames.validator
    def _check_frames(self, _attribute: object, value: object) -> None:
        if type(value) is not int or not 1 <= value <= _MAX_FRAMES:
            raise ValueError(f"a song has 1 frame or more, got {value!r}")
        if self.grid is None and self.tempo is not None:
            raise ValueError("without a grid a song has no tempo")

    @cues.validator
    def _check_cues(self, _attribute: object, value: tuple[Cue, ...]) -> None:
        if len(value) > MAX_CUES:
            raise ValueError(f"at most {MAX_CUES} cues are suggested, got {len(value)}")

    def to_wire(self) -> list[object]:
        """Plain values that `from_wire` turns back into an equal analysis."""
        return [
            VERSION,
            self.frames,
            None if self.grid is None else self.grid.to_wire(),
            None if self.tempo is None else [self.tempo.sure, self.tempo.steady],
            None if self.key is None else [self.key.tonic, self.key.minor, self.key.sure],
            None if self.loudness is None else [self.loudness.integrated, self.loudness.peak],
            [self.waveform.frames, self.waveform.data],
            [[cue.position, cue.kind] for cue in self.cues],
        ]

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """The analysis in a list made by `to_wire` of this version. Raises `ValueError` for anything else, whatever it is."""
        version, frames, grid, tempo, key, loudness, waveform, cues = _list(value, 8)
        if type(version) is not int or version != VERSION:
            raise ValueError(f"this analysis was made by version {version!r}; this is version {VERSION}")
        if not isinstance(cues, list | tuple):
            raise ValueError("an analysis has a list of cues")
        return cls(
            frames=cast("int", frames),
            grid=None if grid is None else Beatgrid.from_wire(grid),
            tempo=None if tempo is None else Tempo(*_floats(tempo, 2)),
            key=None if key is None else _key(key),
            loudness=None if loudness is None else Loudness(*_floats(loudness, 2)),
            waveform=Waveform(*cast("tuple[int, bytes]", tuple(_list(waveform, 2)))),
            cues=tuple(_cue(each) for each in cues[: MAX_CUES + 1]),
        )


def _list(value: object, length: int) -> list[object]:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise ValueError(f"this part of an analysis is a list of {length}")
    return list(value)


def _floats(value: object, length: int) -> list[float]:
    numbers = _list(value, length)
    for number in numbers:
        if type(number) is not float or not math.isfinite(number):
            raise ValueError(f"this part of an analysis holds numbers, got {number!r}")
    return cast("list[float]", numbers)


def _key(value: object) -> Key:
    tonic, minor, sure = _list(value, 3)
    (sure,) = _floats([sure], 1)
    return Key(cast("int", tonic), cast("bool", minor), sure)


def _cue(value: object) -> Cue:
    position, kind = _list(value, 2)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"a cue is one of {', '.join(sorted(KINDS))}")
    return Cue(cast("float", position), cast("Kind", kind))
