"""A song: what is known about it, and its samples in anonymous shared memory.

The samples never enter this process: a decoding child wrote them into a memfd, a render process maps it, and here is
only the descriptor. When the last descriptor and mapping are gone, so is the memory, also after kill -9 of anybody.
"""

from __future__ import annotations

import fcntl
import os
import stat
import unicodedata

import attrs

from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.errors import DecodeFailed

BYTES_PER_FRAME = 4
"""Two channels of int16."""
MAX_TEXT = 200
"""Longest title or artist, in characters."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@attrs.frozen
class Song:
    """What there is to say about a song, safe to show to anybody."""

    id: str
    """Opaque; means nothing outside this node."""
    title: str
    frames: int
    """Length in frames of 48 kHz."""
    artist: str = ""
    loop: bool = False
    """Made to repeat without a seam."""
    bpm: float | None = None
    """Beats per minute at its recorded speed, where that is known."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / SAMPLE_RATE


@attrs.frozen(eq=False, repr=False)
class Pcm:
    """Owner of a memfd with int16 stereo samples at 48 kHz. Closed by `close`, or with the last reference.

    The samples are sealed, so it may travel in messages: whoever holds it holds the same sound.
    """

    _descriptor: int
    frames: int

    @property
    def descriptor(self) -> int:
        """The descriptor, to be passed on while this object lives. Raises `ValueError` when closed."""
        if self._descriptor < 0:
            raise ValueError("these samples were closed: load the song again")
        return self._descriptor

    @property
    def size(self) -> int:
        """Bytes of memory it holds."""
        return self.frames * BYTES_PER_FRAME

    def close(self) -> None:
        """Give up our descriptor. Closing twice does nothing."""
        descriptor = self._descriptor
        if descriptor >= 0:
            object.__setattr__(self, "_descriptor", -1)  # the one thing about it that ever changes
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Pcm {self.frames} frames{' closed' if self._descriptor < 0 else ''}>"


def new_memory(name: str) -> int:
    """An empty, sealable memfd for a child to write samples into; `name` shows in /proc only."""
    return os.memfd_create(f"wsactors-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(descriptor: int, frames: int) -> Pcm:
    """Take over a written memfd once its writer has ended: freeze it, check its size, own it.

    Raises `DecodeFailed` (and closes it) when it does not hold exactly `frames` frames: its writer lied.
    """
    pcm = Pcm(descriptor, frames)
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        status = os.fstat(descriptor)
    except OSError as error:
        pcm.close()
        raise DecodeFailed(f"the decoded samples could not be sealed: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode) or frames < 1 or status.st_size != frames * BYTES_PER_FRAME:
        pcm.close()
        raise DecodeFailed(f"the decoder promised {frames} frames and delivered {status.st_size} bytes")
    return pcm


def clean_text(text: str) -> str:
    """A tag made safe to show: one line, no control, format or surrogate characters, at most `MAX_TEXT` long."""
    # Cut first: normalising is linear, but a tag may be megabytes.
    head = text[: 4 * MAX_TEXT]
    spaced = "".join(" " if char.isspace() else char for char in head)
    visible = "".join(char for char in spaced if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return " ".join(visible.split())[:MAX_TEXT]
