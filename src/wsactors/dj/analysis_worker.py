"""The process that analyses a song: ``python -m wsactors.dj.analysis_worker PARENT PCM REPORT LIMITS``.

PCM and REPORT are inherited descriptors: the sealed samples, a pipe. LIMITS is JSON. It first tells the samples' digest
(32 bytes), so that its parent can end it when the result is known already; then msgpack of the analysis. The samples
come out of a hostile file, but they are numbers: what they can do is take long, and that is limited.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys

from wsactors.dj.analysis.values import DIGEST_SIZE
from wsactors.dj.confine import Limits, die_with_parent, limit

_FRAME_BYTES = 4
_WARM_UP = 8 * 48_000  # frames: long enough to look for a tempo
_LAST_WORDS = 1 << 16  # bytes of standard error


def main(arguments: list[str]) -> None:
    """Tell the digest, confine this process, analyse, report."""
    parent, source, report = (int(each) for each in arguments[:3])
    rules: dict[str, int] = json.loads(arguments[3])
    die_with_parent(parent)
    mapped = mmap.mmap(source, rules["frames"] * _FRAME_BYTES, prot=mmap.PROT_READ)
    _write(report, hashlib.blake2b(mapped, digest_size=DIGEST_SIZE).digest())
    # Imported only now: whoever waits for the digest does not wait for numpy and scipy.
    import msgpack
    import numpy as np

    from wsactors.dj.analysis.study import analyse

    # Both import parts of themselves when first used, and later no file can be opened: everything is used once before.
    warm_up = np.zeros((_WARM_UP, 2), np.int16)
    warm_up[:: _WARM_UP // 16] = 20_000
    analyse(warm_up)
    limit(Limits(address_space=rules["memory"], cpu_seconds=rules["cpu"], file_bytes=_LAST_WORDS, open_files=0))
    try:
        answer: object = analyse(np.frombuffer(mapped, np.int16).reshape(-1, 2)).to_wire()
    except MemoryError:
        answer = "it needs more memory than is allowed"
    _write(report, msgpack.packb(answer))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
