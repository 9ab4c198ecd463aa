from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sound_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sound server with a device that plays to nobody: Firefox keeps an audio context asleep on a machine without one.

    (Chromium makes do without a device.)
    """
    program = shutil.which("pulseaudio")
    if program is None:
        if Path("/dev/snd").exists():
            yield
            return
        pytest.skip("Firefox plays no sound on a machine without a sound device: `apt-get install pulseaudio`")
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
            yield
        finally:
            process.terminate()
