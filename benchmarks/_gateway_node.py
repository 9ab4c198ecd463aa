"""The node that benchmarks/gateway.py measures: ``wsactors run`` with one actor more, which publishes.

    python _gateway_node.py [KEY=VALUE...]      (settings over those below)

Says ``ok PORT``, then answers ``broadcast COUNT PAUSE-SECONDS TEXT`` with ``ok`` when all has been published.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import trio

from wsactors.actors import ProcessActor
from wsactors.node.cli import main as wsactors
from wsactors.node.context import context_of
from wsactors.realtime.service import Realtime

TOPIC: Final = "bench:room"
CONFIG: Final = Path(__file__).with_name("config") / "gateway.toml"
ANSWERS: Final = "WSACTORS_BENCH_ANSWERS"
"""Environment variable with the descriptor for answers: standard output is the node's own."""


class Publisher(ProcessActor):
    """Publishes what its standard input says."""

    async def run(self) -> None:
        """Until standard input closes; then the process ends."""
        address = context_of(self.node.name).gateway
        assert address is not None
        answers = os.fdopen(int(os.environ[ANSWERS]), "w")
        print("ok", address.port, file=answers, flush=True)
        realtime = Realtime.of(self.node)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            _, count, pause, text = line.split()
            for turn in range(int(count)):
                if turn:
                    await trio.sleep(float(pause))
                await realtime.publish(TOPIC, "message", text)
            print("ok", file=answers, flush=True)
        os._exit(0)


def main() -> None:
    """Run the node in this process."""
    os.environ[ANSWERS] = str(os.dup(1))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the publisher is
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    settings = [word for setting in ("gateway.port=0", *sys.argv[1:]) for word in ("--set", setting)]
    sys.argv = ["wsactors", "run", str(CONFIG), *settings]
    wsactors()


if __name__ == "__main__":
    main()
