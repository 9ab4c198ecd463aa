"""The node that benchmarks/audio_latency.py measures: ``wsactors run`` with one actor more, which listens inside.

    python _audio_node.py [KEY=VALUE...]      (settings over those of config/audio.toml)

Says ``ok PORT`` of QUIC, then answers each line on stdin with one line:

    listen SESSION    ok 0         (one more listener, offered every frame as any other; the first is 0)
    heard             ok (LISTENER KEY TIME_US)...        (since the last time)
    cpu               ok MS        (of the processor, by this process so far)

A listener in here is a sink like others, offered what they are offered, in the order in which they have come: so it tells when
a frame left the session, and the last one when all had it. KEY is the CRC-32 of a frame's payload, TIME_US the machine's clock.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from pathlib import Path
from typing import Final

import trio

from wsactors.actors import ProcessActor
from wsactors.node.cli import main as wsactors
from wsactors.node.context import context_of
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.directory import SessionDirectory
from wsactors.wire.audio_frame import AUDIO_HEADER_BYTES

CONFIG: Final = Path(__file__).with_name("config") / "audio.toml"
ANSWERS: Final = "WSACTORS_BENCH_ANSWERS"
"""Environment variable with the descriptor for answers: standard output is the node's own."""


class Ear:
    """A sink that notes when it is offered sound."""

    def __init__(self, number: int, heard: list[tuple[int, int, float]]) -> None:
        self._number = number
        self._heard = heard

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`."""
        if key == AUDIO:
            self._heard.append((self._number, zlib.crc32(memoryview(data)[AUDIO_HEADER_BYTES:]), time.monotonic()))
        return True


class Ears(ProcessActor):
    """Listens to what its standard input says."""

    async def run(self) -> None:
        """Until standard input closes; then the process ends."""
        offer = context_of(self.node.name).quic
        assert offer is not None
        self._heard: list[tuple[int, int, float]] = []
        self._count = 0
        answers = os.fdopen(int(os.environ[ANSWERS]), "w")
        print("ok", offer.port, file=answers, flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print("ok", await self._answer(line.split()), file=answers, flush=True)
        os._exit(0)

    async def _answer(self, words: list[str]) -> str:
        match words:
            case ["listen", session]:
                await SessionDirectory(self.node).join(session, Ear(self._count, self._heard), self.pid)
                self._count += 1
                return "0"
            case ["heard"]:
                told = " ".join(f"{number} {key} {at * 1e6:.0f}" for number, key, at in self._heard)
                self._heard.clear()
                return told
            case ["cpu"]:
                return f"{time.process_time() * 1e3:.3f}"
        raise ValueError(f"no such command: {words}")


def main() -> None:
    """Run the node in this process."""
    os.environ[ANSWERS] = str(os.dup(1))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the ears are
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    settings = [word for setting in sys.argv[1:] for word in ("--set", setting)]
    sys.argv = ["wsactors", "run", str(CONFIG), *settings]
    wsactors()


if __name__ == "__main__":
    main()
