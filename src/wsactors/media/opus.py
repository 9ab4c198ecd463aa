"""Opus by libopus itself, through ctypes: no build step, every control, and no copy of the samples.

The library is Debian's ``libopus0``; where that is missing, the one inside the PyAV wheel. An :class:`Encoder` and a
:class:`Decoder` own native memory: close them (they are context managers) or drop the last reference, and it is freed
at once. Neither may be used by two threads at a time: libopus runs without the GIL and keeps its state unlocked.

Constants and call rules: ``opus_defines.h`` and ``opus.h`` of libopus 1.3, RFC 6716 (packets), RFC 7845 §4.2
(pre-skip).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from wsactors.errors import OpusError, OpusUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pcm = NDArray[np.float32]

SAMPLE_RATE = 48_000
"""Hz. Opus always decodes to 48 kHz; we encode nothing else."""
MAX_PACKET = 48 * 1275 + 98
"""Bytes of the largest packet there can be: 48 frames of 2.5 ms at 1,275 bytes, and their lengths (RFC 6716 §3.2.5)."""
MAX_FRAMES = 5760
"""Frames (samples per channel) in the longest packet: 120 ms at 48 kHz."""

# One frame never codes to more than 1,275 bytes (RFC 6716 §3.4); 60 ms may be three of them, and their lengths.
_MAX_ENCODED = 3 * 1275 + 7
_FRAME_SIZES = (120, 240, 480, 960, 1920, 2880)
_CONCEALED_STEP = 120

_SET_BITRATE, _GET_BITRATE = 4002, 4003
_SET_COMPLEXITY, _GET_COMPLEXITY = 4010, 4011
_SET_INBAND_FEC, _GET_INBAND_FEC = 4012, 4013
_SET_PACKET_LOSS, _GET_PACKET_LOSS = 4014, 4015
_SET_DTX, _GET_DTX = 4016, 4017
_GET_LOOKAHEAD = 4027
_RESET_STATE = 4028


class Application(IntEnum):
    """What the encoder optimises for."""

    VOIP = 2048
    """Intelligible speech at low rates."""
    AUDIO = 2049
    """Faithful music: the default. Look-ahead 312 frames (6.5 ms)."""
    LOW_DELAY = 2051
    """Music with a look-ahead of 120 frames (2.5 ms); no speech modes."""


def _candidates() -> list[str]:
    found = ["libopus.so.0"]
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        # The wheel renames what it bundles with a content hash, hence the glob.
        libs = Path(spec.origin).parent.parent / "av.libs"
        found += sorted(str(path) for path in libs.glob("libopus-*.so*"))
    return found


@functools.cache
def load_library() -> ctypes.CDLL:
    """Find and load libopus once per process.

    Raises `OpusUnavailable`, which says what to install, when there is none.
    """
    tried: list[str] = []
    for name in _candidates():
        try:
            return _declare(ctypes.CDLL(name))
        except (OSError, AttributeError) as error:  # AttributeError: a file of that name without these functions
            tried.append(f"{name}: {error}")
    raise OpusUnavailable(
        "no libopus found; install it with `apt-get install libopus0`, or `pip install av`, whose wheel brings one "
        f"(tried {'; '.join(tried)})"
    )


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    """Tell ctypes every signature used here: an undeclared pointer would be cut to 32 bits."""
    pointer, i32, cint = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "opus_get_version_string": (ctypes.c_char_p, []),
        "opus_strerror": (ctypes.c_char_p, [cint]),
        "opus_encoder_create": (pointer, [i32, cint, cint, ctypes.POINTER(cint)]),
        "opus_encode_float": (i32, [pointer, pointer, cint, pointer, i32]),
        "opus_encoder_destroy": (None, [pointer]),
        "opus_decoder_create": (pointer, [i32, cint, ctypes.POINTER(cint)]),
        "opus_decoder_get_nb_samples": (cint, [pointer, ctypes.c_char_p, i32]),
        "opus_decode_float": (cint, [pointer, ctypes.c_char_p, i32, pointer, cint, cint]),
        "opus_decoder_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    # Variadic: no argtypes, so every argument is wrapped by hand where they are called.
    lib.opus_encoder_ctl.restype = lib.opus_decoder_ctl.restype = cint
    return lib


def version() -> str:
    """The loaded library's own version string, such as ``libopus 1.3.1``."""
    text: bytes = load_library().opus_get_version_string()
    return text.decode("ascii", "replace")


def _check(code: int, doing: str) -> int:
    if code < 0:
        text: bytes = load_library().opus_strerror(code)
        raise OpusError(f"libopus could not {doing}: {text.decode('ascii', 'replace')} ({code})")
    return code


def _check_range(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
    return value


class _Native:
    """Owner of one native object: freed once, by `close`, the end of a ``with`` block, or with the last reference."""

    __slots__ = ("_free", "_lib", "_pointer", "channels")

    def __init__(self, kind: str, channels: int, *options: int) -> None:
        self._pointer: int | None = None
        self._lib = load_library()
        self._free = getattr(self._lib, f"opus_{kind}_destroy")
        self.channels = _check_range("channels", channels, 1, 2)
        code = ctypes.c_int()
        create = getattr(self._lib, f"opus_{kind}_create")
        self._pointer = create(SAMPLE_RATE, channels, *options, ctypes.byref(code))
        _check(code.value, f"make a{'n' if kind == 'encoder' else ''} {kind}")

    @property
    def closed(self) -> bool:
        """True once the native state is freed."""
        return self._pointer is None

    def _open(self) -> int:
        if self._pointer is None:
            raise ValueError(f"this {type(self).__name__} is closed: make a new one")
        return self._pointer

    def close(self) -> None:
        """Free the native state. Closing twice does nothing; using it afterwards raises `ValueError`."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            self._free(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Construction may have failed before the slot was filled.
        if getattr(self, "_pointer", None) is not None:
            self.close()


class Encoder(_Native):
    """Float samples in, Opus packets out.

    >>> encoder = Encoder(channels=2, bitrate=128_000)
    >>> packet = encoder.encode(np.zeros((960, 2), np.float32))

    `bitrate` (bits per second, 6,000–510,000), `complexity` (0–10), `fec`, `dtx` and `expected_loss` (percent) may be
    changed while it runs. No packet is larger than `max_packet` bytes: what goes as a datagram has to fit one.
    Raises `ValueError` for a value out of range, `OpusUnavailable` without libopus.
    """

    __slots__ = ("_buffer", "_size", "_view")

    def __init__(
        self,
        channels: int = 2,
        *,
        application: Application = Application.AUDIO,
        bitrate: int = 128_000,
        complexity: int = 10,
        fec: bool = False,
        dtx: bool = False,
        expected_loss: int = 0,
        max_packet: int = _MAX_ENCODED,
    ) -> None:
        super().__init__("encoder", channels, Application(application))
        self._buffer = ctypes.create_string_buffer(_MAX_ENCODED)
        self._view = memoryview(self._buffer).cast("B")
        self._size = _check_range("max_packet", max_packet, 40, _MAX_ENCODED)
        self.bitrate = bitrate
        self.complexity = complexity
        self.fec = fec
        self.dtx = dtx
        self.expected_loss = expected_loss

    def encode(self, pcm: Pcm) -> bytes:
        """Code 2.5, 5, 10, 20, 40 or 60 ms into one packet: a C-contiguous float32 array of shape (frames, channels), ±1.0.

        The array is read in place. Raises `ValueError` for any other shape, type or layout (libopus would read past
        it), `OpusError` when libopus refuses.
        """
        if (
            type(pcm) is not np.ndarray
            or pcm.dtype != np.float32
            or pcm.ndim != 2
            or pcm.shape[1] != self.channels
            or pcm.shape[0] not in _FRAME_SIZES
            or not pcm.flags.c_contiguous
        ):
            raise ValueError(self._shape_error(pcm))
        size = self._lib.opus_encode_float(self._open(), pcm.ctypes.data, pcm.shape[0], self._buffer, self._size)
        return bytes(self._view[: _check(size, "encode a frame")])

    def _shape_error(self, pcm: object) -> str:
        sizes = ", ".join(map(str, _FRAME_SIZES))
        wanted = f"a C-contiguous float32 array of shape (n, {self.channels}) with n one of {sizes}"
        if not isinstance(pcm, np.ndarray):
            return f"encode() needs {wanted}, got {type(pcm).__name__}"
        layout = "C-contiguous" if pcm.flags.c_contiguous else "not C-contiguous"
        return f"encode() needs {wanted}, got {layout} {pcm.dtype} of shape {pcm.shape}; try numpy.ascontiguousarray"

    def reset(self) -> None:
        """Forget all history, as if freshly made; the settings stay."""
        _check(self._lib.opus_encoder_ctl(ctypes.c_void_p(self._open()), ctypes.c_int(_RESET_STATE)), "reset")

    @property
    def lookahead(self) -> int:
        """Frames by which the decoded sound lags the input: the pre-skip of an Ogg stream (RFC 7845 §4.2)."""
        return self._get(_GET_LOOKAHEAD)

    @property
    def bitrate(self) -> int:
        """Target in bits per second."""
        return self._get(_GET_BITRATE)

    @bitrate.setter
    def bitrate(self, value: int) -> None:
        self._set(_SET_BITRATE, _check_range("bitrate", value, 6_000, 510_000))

    @property
    def complexity(self) -> int:
        """0 (cheapest) to 10 (best): 37 to 106 µs per 20 ms of stereo at 128 kb/s on a 2020s server core."""
        return self._get(_GET_COMPLEXITY)

    @complexity.setter
    def complexity(self, value: int) -> None:
        self._set(_SET_COMPLEXITY, _check_range("complexity", value, 0, 10))

    @property
    def fec(self) -> bool:
        """Whether speech packets carry a coarse copy of the one before."""
        return bool(self._get(_GET_INBAND_FEC))

    @fec.setter
    def fec(self, value: bool) -> None:
        self._set(_SET_INBAND_FEC, int(bool(value)))

    @property
    def dtx(self) -> bool:
        """Whether silence is sent as next to nothing. Not a voice detector: noise defeats it."""
        return bool(self._get(_GET_DTX))

    @dtx.setter
    def dtx(self, value: bool) -> None:
        self._set(_SET_DTX, int(bool(value)))

    @property
    def expected_loss(self) -> int:
        """Per cent of packets expected to be lost: how much of the rate goes to resilience."""
        return self._get(_GET_PACKET_LOSS)

    @expected_loss.setter
    def expected_loss(self, value: int) -> None:
        self._set(_SET_PACKET_LOSS, _check_range("expected_loss", value, 0, 100))

    def _set(self, request: int, value: int) -> None:
        code = self._lib.opus_encoder_ctl(ctypes.c_void_p(self._open()), ctypes.c_int(request), ctypes.c_int32(value))
        _check(code, f"set control {request} to {value}")

    def _get(self, request: int) -> int:
        value = ctypes.c_int32()
        code = self._lib.opus_encoder_ctl(ctypes.c_void_p(self._open()), ctypes.c_int(request), ctypes.byref(value))
        _check(code, f"read control {request}")
        return value.value


class Decoder(_Native):
    """Opus packets in, float samples out; lost packets are concealed.

    >>> decoder = Decoder(channels=2)
    >>> sound = decoder.decode(packet)      # float32, (frames, 2)
    >>> guess = decoder.decode(None)        # one packet was lost: as long as the last one
    """

    __slots__ = ("_last",)

    def __init__(self, channels: int = 2) -> None:
        super().__init__("decoder", channels)
        self._last = 960

    def decode(self, packet: bytes | None, *, fec: bool = False, lost: int | None = None) -> Pcm:
        """Decode one packet into a fresh array of shape (frames, channels).

        `None` conceals one lost packet. With ``fec=True`` the packet is the one *after* the lost one, and what it
        carries of the lost one is decoded (decode it again, plainly, afterwards). `lost` is how many frames were lost,
        a multiple of 120 (2.5 ms); by default as many as the last packet had.
        Raises `OpusError` for bytes that are no Opus packet and `ValueError` for arguments that cannot be one.
        """
        pointer = self._open()
        given: object = packet  # callers without a type checker are to be told, not to crash
        missing = self._last if lost is None else _check_range("lost", lost, _CONCEALED_STEP, MAX_FRAMES)
        if missing % _CONCEALED_STEP:
            raise ValueError(f"lost must be a multiple of {_CONCEALED_STEP} frames, got {missing}")
        if packet is None:
            if fec:
                raise ValueError("fec=True needs the packet after the lost one, got None")
            return self._into(pointer, None, 0, missing, False)
        if not isinstance(given, bytes) or not 0 < len(given) <= MAX_PACKET:
            what = f"{len(given)} bytes" if isinstance(given, bytes) else type(given).__name__
            raise ValueError(f"a packet is 1 to {MAX_PACKET} bytes or None, got {what}")
        frames = _check(self._lib.opus_decoder_get_nb_samples(pointer, packet, len(packet)), "read the packet")
        if fec:
            return self._into(pointer, packet, len(packet), missing, True)
        sound = self._into(pointer, packet, len(packet), frames, False)
        self._last = frames
        return sound

    def _into(self, pointer: int, packet: bytes | None, size: int, frames: int, fec: bool) -> Pcm:
        out: Pcm = np.empty((frames, self.channels), np.float32)
        count = self._lib.opus_decode_float(pointer, packet, size, out.ctypes.data, frames, int(fec))
        return out[: _check(count, "decode a packet")]

    def reset(self) -> None:
        """Forget all history: the next packet starts a new stream."""
        _check(self._lib.opus_decoder_ctl(ctypes.c_void_p(self._open()), ctypes.c_int(_RESET_STATE)), "reset")
