"""The process that touches a hostile file: ``python -m wsactors.dj.decode_worker PARENT IN OUT REPORT LIMITS``.

IN, OUT and REPORT are inherited descriptors: the song, an empty memfd, a pipe. LIMITS is JSON. It confines itself,
decodes the first audio stream to 48 kHz stereo int16 into OUT, writes one JSON line to REPORT and exits.
What it may open is settled before the first byte is parsed: with no descriptor left to hand out, no demuxer, protocol
or playlist can open anything, whatever the allow-lists miss.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import av
from av.audio.resampler import AudioResampler

from wsactors.dj.confine import Limits, die_with_parent, limit

_RATE = 48_000
_FRAME_BYTES = 4
_MAX_STREAMS = 32
_MAX_TAGS = 256
_MAX_TAG_CHARACTERS = 1000
_MAX_DAMAGED = 200
_DEMUXERS = "aac,aiff,caf,flac,matroska,mov,mp3,ogg,w64,wav,wv"
_CODEC_NAMES = (
    "aac alac flac mp3 mp3float mp2 mp2float opus libopus vorbis wavpack pcm_alaw pcm_mulaw pcm_u8 pcm_s8 pcm_s16le "
    "pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be"
)
_CODECS = frozenset(_CODEC_NAMES.split())
_OPTIONS = {
    "format_whitelist": _DEMUXERS,
    "codec_whitelist": ",".join(sorted(_CODECS)),
    "protocol_whitelist": "none",
    "probesize": "5000000",
    "max_streams": str(_MAX_STREAMS),
}


# Tags need not be valid UTF-8; from version 19 on, PyAV knows no other way than to bear it.
_TAG_OPTIONS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class _RefusedError(Exception):
    """The file breaks a rule; the text may be shown to the person who chose it."""


class _UnreadableError(Exception):
    """The file is damaged."""


class _Reader:
    """The input descriptor as PyAV wants it: an object with read and seek, and a name that is not its path."""

    name = "song"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


def _check_stream(stream: Any, container: Any, rules: dict[str, int]) -> None:
    context = stream.codec_context
    if context.codec.name not in _CODECS:
        raise _RefusedError(f"its sound is coded as {context.codec.name}, which is not played here")
    if not 1 <= context.channels <= rules["channels"]:
        raise _RefusedError(f"it has {context.channels} channels; at most {rules['channels']} are allowed")
    if not 8_000 <= context.sample_rate <= rules["rate"]:
        raise _RefusedError(f"its rate is {context.sample_rate} Hz; 8000 to {rules['rate']} are allowed")
    # In Ogg a recording of a live stream begins where that stream was, and its end is all the file says: hours, for a minute.
    # Whatever a file says of itself, `_write_all` counts.
    begin = max(container.start_time or 0, 0)
    if container.duration is not None and container.duration - begin > rules["seconds"] * 1_000_000:
        raise _too_long(rules)


def _too_long(rules: dict[str, int]) -> _RefusedError:
    return _RefusedError(f"it is longer than the {rules['seconds']} seconds that are allowed")


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame of the stream; a few damaged packets are skipped, as players do."""
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            raise _UnreadableError(f"the file breaks off or is damaged ({error.strerror})") from None
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            damaged += 1
            if damaged > _MAX_DAMAGED:
                raise _UnreadableError("too much of it is damaged") from None


def _decode(source: int, target: int, rules: dict[str, int]) -> dict[str, object]:
    try:
        container: Any = av.open(_Reader(source), mode="r", container_options=_OPTIONS, **_TAG_OPTIONS)
    except av.error.FFmpegError as error:
        raise _RefusedError(f"it is not an audio file of a kind that is played here ({error.strerror})") from None
    with container:
        if not container.streams.audio:
            raise _RefusedError("it holds no sound")
        stream = container.streams.audio[0]
        _check_stream(stream, container, rules)
        frames = _write_all(container, stream, target, rules)
        tags = _tags(container.metadata) | _tags(stream.metadata)
    if frames == 0:
        raise _UnreadableError("no sound could be decoded from it")
    return {"frames": frames, "title": tags.get("title", ""), "artist": tags.get("artist", "")}


def _write_all(container: Any, stream: Any, target: int, rules: dict[str, int]) -> int:
    resampler = AudioResampler(format="s16", layout="stereo", rate=_RATE)
    most = rules["seconds"] * _RATE
    total = 0
    for frame in _decoded(container, stream):
        for piece in resampler.resample(frame):
            total += _write(target, piece)
            if total > most:
                raise _too_long(rules)
    for piece in resampler.resample(None):
        total += _write(target, piece)
    return total


def _write(target: int, piece: Any) -> int:
    samples: int = piece.samples
    # A plane may be longer than its samples: it is padded for SIMD.
    view = memoryview(piece.planes[0])[: samples * _FRAME_BYTES]
    while view:
        view = view[os.write(target, view) :]
    return samples


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, (key, value) in enumerate(metadata.items()):
        if index >= _MAX_TAGS:
            break
        if key.lower() in {"title", "artist"}:
            found[key.lower()] = value[:_MAX_TAG_CHARACTERS]
    return found


def _load_everything() -> None:
    """Import all of PyAV now: it imports parts of itself when first used, and later no file can be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in {"av.__main__", "av.datasets"}:
            importlib.import_module(module.name)


def main(arguments: list[str]) -> None:
    """Confine this process, decode, report."""
    parent, source, target, report = (int(each) for each in arguments[:4])
    rules: dict[str, int] = json.loads(arguments[4])
    die_with_parent(parent)
    _load_everything()
    limit(
        Limits(
            address_space=rules["memory"],
            cpu_seconds=rules["cpu"],
            file_bytes=(rules["seconds"] + 2) * _RATE * _FRAME_BYTES,
            open_files=0,
        )
    )
    av.logging.set_level(None)
    try:
        answer: dict[str, object] = _decode(source, target, rules)
    except _RefusedError as error:
        answer = {"refused": str(error)}
    except _UnreadableError as error:
        answer = {"unreadable": str(error)}
    except MemoryError:
        answer = {"refused": "decoding it needs more memory than is allowed"}
    os.write(report, json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
