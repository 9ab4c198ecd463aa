from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sound_device(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether there is a sound device; with Debian's ``pulseaudio`` there is one, which plays to nobody.

    Firefox keeps an audio context asleep on a machine without one. (Chromium makes do.)
    """
    program = shutil.which("pulseaudio")
    if program is None:
        yield Path("/dev/snd").exists()
        return
    home = tmp_path_factory.mktemp("pulse")
    socket = home / "native"
    command = [
        program,
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--disable-shm=yes",
        "--log-level=error",
        "-L",
        "module-null-sink rate=48000",
        "-L",
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
    ]
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        monkeypatch.setenv("PULSE_SERVER", f"unix:{socket}")
        try:
            yield True
        finally:
            process.terminate()
