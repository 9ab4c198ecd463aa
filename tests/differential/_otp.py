"""Running the Erlang side: compile once, ask once, remember the facts for the whole test session."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

ERLANG = Path(__file__).parent / "erlang"


@cache
def facts(module: str) -> dict[str, str]:
    """What ``MODULE:main/0`` printed: scenario → its facts, as Erlang terms in text.

    Skips the calling test where Erlang is not installed.
    """
    if shutil.which("erlc") is None or shutil.which("erl") is None:
        pytest.skip("Erlang/OTP is not installed (Debian: apt install erlang-base): nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="wsactors-otp-") as directory:
        sources = sorted(str(path) for path in ERLANG.glob("*.erl"))
        subprocess.run(["erlc", "-o", directory, *sources], check=True, timeout=120)
        run = subprocess.run(
            ["erl", "-noshell", "-pa", directory, "-s", module, "main"],
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        )
    return dict(line.split(": ", 1) for line in run.stdout.splitlines())
