"""What a battle is told when it is opened."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import attrs

from wsactors.dj.render_protocol import MAX_LOWER

MAX_NAME = 64
MAX_TITLE = 200
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def check_name(_instance: object, _attribute: object, value: object) -> None:
    """A validator: what a session may be called. Raises `ValueError`."""
    if not isinstance(value, str) or len(value) > MAX_NAME or not _NAME.fullmatch(value):
        raise ValueError(
            f"a session's name has 1 to {MAX_NAME} letters, digits, '.', '_' or '-', and begins and ends with a letter or "
            f"digit; got {value!r}"
        )


def check_title(_instance: object, _attribute: object, value: object) -> None:
    """A validator: what may be a session's title. Raises `ValueError`."""
    if not isinstance(value, str) or len(value) > MAX_TITLE:
        raise ValueError(f"a session's title has at most {MAX_TITLE} characters")


def _check_tiers(_instance: object, _attribute: object, value: tuple[int, ...]) -> None:
    fits = all(type(rate) is int and 16_000 <= rate <= 510_000 for rate in value)
    if not fits or len(value) > MAX_LOWER or list(value) != sorted(set(value), reverse=True):
        raise ValueError(
            f"tiers are at most {MAX_LOWER} bit rates from 16000 to 510000, each lower than the one before"
        )


def _as_rates(rates: Iterable[int]) -> tuple[int, ...]:
    return tuple(rates)


def _as_text(folder: str | Path | None) -> str | None:
    return None if folder is None else str(folder)


@attrs.frozen
class BattleOptions:
    """One battle: two decks and a crossfader."""

    name: str = attrs.field(default="demo", validator=check_name)
    """What people join; part of addresses."""
    title: str = attrs.field(default="", validator=check_title)
    songs: str | None = attrs.field(default=None, converter=_as_text)
    """Folder with the music to play; None plays two synthesised loops."""
    bitrate: int = attrs.field(default=128_000, validator=[attrs.validators.ge(16_000), attrs.validators.le(510_000)])
    """Bits per second of the Opus stream."""
    tiers: tuple[int, ...] = attrs.field(default=(64_000, 32_000), converter=_as_rates, validator=_check_tiers)
    """Lower bit rates, best first, for listeners who report that much is lost; those that are not lower count for nothing."""
    fade_seconds: float = attrs.field(default=16.0, validator=[attrs.validators.ge(0.0), attrs.validators.le(3600.0)])
    """With loops: seconds from one move of the crossfader to the next. With songs: seconds in which one gives way to the
    next, at most sixteen. 0 leaves the crossfader alone."""

    @property
    def lower(self) -> tuple[int, ...]:
        """The bit rates below the stream's own, best first."""
        return tuple(rate for rate in self.tiers if rate < self.bitrate)

    @property
    def track(self) -> int:
        """The number of its audio track on the wire: the same after every restart."""
        return zlib.crc32(self.name.encode())

    def part(self, part: str) -> str:
        """The registered name of one of its actors."""
        return f"battle:{self.name}:{part}"
