"""Synthesises the demo loops: ``python -m wsactors.dj.loop_worker PARENT OUT_A OUT_B REPORT SEED``."""

from __future__ import annotations

import json
import os
import sys

from wsactors.dj.confine import die_with_parent
from wsactors.dsp.loops import demo_loops


def main(arguments: list[str]) -> None:
    """Write both loops into the inherited memfds and report their length."""
    parent, first, second, report, seed = (int(each) for each in arguments)
    die_with_parent(parent)
    loops = demo_loops(seed)
    for descriptor, loop in zip((first, second), loops, strict=True):
        view = memoryview(loop.data).cast("B")
        while view:
            view = view[os.write(descriptor, view) :]
    os.write(report, json.dumps({"frames": len(loops[0])}).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
