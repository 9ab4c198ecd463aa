#!/usr/bin/env python3
"""How long from nothing to sound: clones the repository, runs `make run` with cold caches, presses the page's button in a
headless Chromium that has no autoplay flag, and waits for the first decoded sample that is not silence.

    make first-sound

Prints the seconds of every step and the megabytes that came over the network; fails if it took more than 120 seconds.
Chromium and this script's own environment are the measuring instrument and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.driver import open_chromium  # noqa: E402
from tests.browser.tap import Recording, tap  # noqa: E402

LIMIT_SECONDS = 120.0
# Where packages come from, and the certificates to trust, are the machine's business; everything else is left behind.
PASSED_ON = ("PIP_", "SSL_CERT", "REQUESTS_CA", "http_proxy", "https_proxy", "no_proxy", "LANG")


def received_bytes() -> int:
    """Bytes that all interfaces but the loopback have received."""
    total = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        total += 0 if name.strip() == "lo" else int(counters.split()[0])
    return total


def clean_environment(home: Path) -> dict[str, str]:
    """What a fresh login on a bare machine has: no caches, no interpreters but the system's."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
    return {**kept, "HOME": str(home), "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "PIP_NO_CACHE_DIR": "1"}


class Steps:
    """Prints what was reached, and when."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.received = received_bytes()

    def reached(self, what: str) -> float:
        """Seconds since the start."""
        seconds = time.monotonic() - self.started
        print(f"{seconds:7.1f} s  {(received_bytes() - self.received) / 1e6:7.1f} MB  {what}", flush=True)
        return seconds


async def addresses(process: trio.Process) -> dict[str, Any]:
    """What the node prints once it is ready."""
    assert process.stdout is not None
    said = b""
    async for piece in process.stdout:
        said += piece
        for line in said.splitlines():
            if line.startswith(b'{"node"') and b'"websocket"' in line and line.endswith(b"}"):
                found: dict[str, Any] = json.loads(line)
                return found
    raise SystemExit(f"`make run` ended without an address; it said:\n{said.decode(errors='replace')}")


async def first_sound(url: str, profile: Path, steps: Steps) -> float:
    """Press the button and wait until something is heard."""
    async with open_chromium(profile) as page:
        steps.reached("Chromium is up")
        await tap(page)
        await page.goto(url)
        await page.click("#sessions button")
        steps.reached("the button is pressed")
        await Recording(page).more(0.01)  # from the first sample that is not silence
        return steps.reached("the first sound in Chromium")


async def measure(source: Path, folder: Path, python: str) -> float:
    """From the clone to the sound; seconds."""
    home, clone, profile = folder / "home", folder / "wsactors", folder / "profile"
    home.mkdir()
    profile.mkdir()
    environment = clean_environment(home)
    steps = Steps()
    await trio.run_process(["git", "clone", "--quiet", f"file://{source}", str(clone)], env=environment)
    steps.reached("cloned")
    command = ["make", "run", *([f"PYTHON={python}"] if python else []), "ARGS=--set gateway.port=0 --print-addresses"]
    process = await trio.lowlevel.open_process(
        command, cwd=clone, env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        told = await addresses(process)
        steps.reached(f"the node is ready at {told['gateway']}")
        return await first_sound(told["gateway"], profile, steps)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with trio.CancelScope(shield=True), trio.move_on_after(20):
            await process.wait()


def main() -> int:
    """0 if the sound came in time."""
    parser = argparse.ArgumentParser(description="Measure the time from a clone to the first sound in a browser.")
    parser.add_argument("--source", type=Path, default=ROOT, help="the repository to clone (default: this one)")
    parser.add_argument("--python", default="", help="the interpreter `make run` is given (default: its own choice)")
    arguments = parser.parse_args()

    async def limited() -> float:
        with trio.fail_after(3 * LIMIT_SECONDS):
            return await measure(arguments.source.resolve(), Path(folder), arguments.python)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated measurement takes its node with it
    with tempfile.TemporaryDirectory(prefix="wsactors-first-sound-") as folder:
        seconds = trio.run(limited)
    verdict = "in time" if seconds <= LIMIT_SECONDS else "too late"
    print(f"{verdict}: {seconds:.1f} s of {LIMIT_SECONDS:.0f} s")
    return 0 if seconds <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
