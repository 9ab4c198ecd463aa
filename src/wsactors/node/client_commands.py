"""``wsactors listen``: hear a session of a running node from a terminal, and say how well."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsactors.node.cli import ExitCode
from wsactors.node.commands import fail

if TYPE_CHECKING:
    from wsactors.client.hearing import Quality
    from wsactors.client.sound_files import SoundFile
    from wsactors.media.opus import Pcm

__all__ = ["listen"]

_FILES = {".wav", ".ogg", ".opus"}


def listen(
    url: Annotated[str, typer.Argument(metavar="URL", help="quic://HOST:PORT, or ws://HOST:PORT/ws.")],
    session: Annotated[str, typer.Argument(help="The session's name.")],
    files: Annotated[
        list[Path] | None, typer.Option("--write", metavar="FILE", help="Write what is heard: .wav, .ogg or .opus.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long; without it until the session ends.")] = None,
    certificate: Annotated[
        str, typer.Option(help="SHA-256 of the node's certificate, in hexadecimal, as /webtransport.json says it.")
    ] = "",
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that may have signed it (PEM).")] = None,
    token: Annotated[str, typer.Option(envvar="WSACTORS_TOKEN", help="Who you are.")] = "",
) -> None:
    """Hear a session and print, as JSON, how well: loss, concealed sound, jitter, buffer and latency of each track."""
    for file in files or ():
        if file.suffix.lower() not in _FILES:
            fail(f"--write: {file} must end in one of {', '.join(sorted(_FILES))}", ExitCode.USAGE)
    try:
        digest = bytes.fromhex(certificate)
    except ValueError:
        fail("--certificate: expected 64 hexadecimal digits", ExitCode.USAGE)
    heard = _listen(
        url,
        session,
        files or [],
        seconds,
        {"certificate_sha256": digest, "ca_file": ca_file and str(ca_file), "token": token},
    )
    typer.echo(json.dumps(heard, indent=2))


def _listen(
    url: str, session: str, files: list[Path], seconds: float | None, how: Mapping[str, Any]
) -> dict[str, object]:
    import trio

    from wsactors.client import ClientError, Disconnected, connect
    from wsactors.client.hearing import hear

    async def run() -> dict[str, object]:
        async with connect(url, name="wsactors listen", **how) as client:
            listening = await client.join(session)
            with ExitStack() as stack:
                writers = [stack.enter_context(_writer(file)) for file in files]

                def write(sound: Pcm) -> None:
                    for writer in writers:
                        writer.write(sound)

                quality = await hear(client, listening, write, seconds=seconds)
            latency = client.latency.history[-1] if client.latency.history else None
            return {
                "session": session,
                "node": client.node,
                "latency_ms": _ms(latency),
                "tracks": [_told(number, each) for number, each in quality.items()],
            }

    try:
        return trio.run(run)
    except (ClientError, Disconnected, ValueError, OSError) as error:
        fail(str(error), ExitCode.NO_NODE)


def _writer(path: Path) -> SoundFile:
    from wsactors.client.sound_files import OggFile, WavFile

    return WavFile(path) if path.suffix.lower() == ".wav" else OggFile(path)


def _told(number: int, quality: Quality) -> dict[str, object]:
    return {
        "track": number,
        "frames": quality.statistics.received,
        "loss": round(quality.loss, 5),
        "concealed": round(quality.concealed, 5),
        "jitter_ms": _ms(quality.jitter),
        "buffer_ms": _ms(quality.buffer),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds * 1e3, 2)
