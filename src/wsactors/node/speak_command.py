"""``wsactors speak``: say something in a stage or voice session of a running node, from a file or a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsactors.node.cli import ExitCode
from wsactors.node.commands import fail

if TYPE_CHECKING:
    from wsactors.client import Stage
    from wsactors.client.speaking import Sounds

__all__ = ["speak"]


def speak(
    url: Annotated[str, typer.Argument(metavar="URL", help="quic://HOST:PORT, or ws://HOST:PORT/ws.")],
    session: Annotated[str, typer.Argument(help="The session's name.")],
    source: Annotated[
        str,
        typer.Argument(help="A WAV file at 48 kHz, or - for raw mono samples: arecord -q -t raw -f S16_LE -r 48000."),
    ],
    certificate: Annotated[
        str, typer.Option(help="SHA-256 of the node's certificate, in hexadecimal, as /webtransport.json says it.")
    ] = "",
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that may have signed it (PEM).")] = None,
    token: Annotated[str, typer.Option(envvar="WSACTORS_TOKEN", help="Who you are.")] = "",
) -> None:
    """Speak in a session; in a stage raise a hand first, and wait until a moderator lets you."""
    try:
        digest = bytes.fromhex(certificate)
    except ValueError:
        fail("--certificate: expected 64 hexadecimal digits", ExitCode.USAGE)
    how = {"certificate_sha256": digest, "ca_file": ca_file and str(ca_file), "token": token}
    typer.echo(f"{_speak(url, session, source, how)} frames said")


def _speak(url: str, session: str, source: str, how: dict[str, Any]) -> int:
    import trio

    from wsactors.client import ClientError, Disconnected, connect, join_stage
    from wsactors.client.sound_sources import read_raw, read_wav
    from wsactors.client.speaking import say

    async def run() -> int:
        sounds: Sounds = read_raw(sys.stdin.buffer) if source == "-" else read_wav(Path(source))
        async with connect(url, name="wsactors speak", **how) as client:
            stage = await join_stage(client, session)
            await _come_up(stage)
            return await say(stage, sounds)

    try:
        return trio.run(run)
    except (ClientError, Disconnected, OSError, ValueError) as error:
        fail(str(error), ExitCode.NO_NODE)


async def _come_up(stage: Stage) -> None:
    """Get onto the stage: ask, and wait."""
    if not stage.on_stage:
        typer.echo("Your hand is up. Ctrl-C gives up.", err=True)
        await stage.act("hand", up=True)
    while not stage.on_stage:
        await stage.wait(lambda: stage.on_stage or (stage.you is not None and stage.you.invited))
        if stage.listening.ended is not None:
            raise ConnectionError(stage.listening.ended)
        if not stage.on_stage:
            await stage.act("accept")
            await stage.wait(lambda: stage.on_stage)
    if stage.you is not None and stage.you.muted:
        await stage.act("mute", on=False)
