"""Network namespaces, each with a line to this machine that the kernel makes worse: iproute2, and netem where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

MTU: Final = 1_280
NET: Final = "198.18"
"""RFC 2544: for tests of networks, and of no machine in the Internet."""


class NotPermitted(Exception):
    """What it needs is not to be had here: the text says what."""


@attrs.frozen
class Namespace:
    """One namespace, with an interface ``way`` whose other end is in ours."""

    name: str
    number: int
    line: str
    """The end of the line on this side."""

    @property
    def node(self) -> str:
        """The address at which this machine is reached from within."""
        return f"{NET}.{self.number}.1"

    def run(self, *command: str) -> None:
        """Run a command inside."""
        _run("ip", "netns", "exec", self.name, *command)

    def impair(self, *netem: str) -> None:
        """Apply netem, both ways. Raises `NotPermitted` when the kernel has none."""
        try:
            _run("tc", "qdisc", "replace", "dev", self.line, "root", "netem", *netem)
            self.run("tc", "qdisc", "replace", "dev", "way", "root", "netem", *netem)
        except subprocess.CalledProcessError as error:
            raise NotPermitted(f"no netem: {error.stderr.strip()}") from error

    def cut(self) -> None:
        """Let nothing through."""
        self.run("ip", "link", "set", "way", "down")

    def mend(self) -> None:
        """Undo `cut`."""
        self.run("ip", "link", "set", "way", "up")

    def move(self) -> None:
        """Give what is inside another address: what it sends comes from there from now on, and the old one is gone."""
        self.run("ip", "address", "add", f"{NET}.{self.number}.3/24", "dev", "way")
        self.run("ip", "address", "delete", f"{NET}.{self.number}.2/24", "dev", "way")
        self.run("ip", "address", "replace", f"{NET}.{self.number}.3/24", "dev", "way")


@contextmanager
def namespaces(count: int) -> Iterator[Sequence[Namespace]]:
    """So many of them for the length of the block. Raises `NotPermitted`."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        raise NotPermitted("iproute2 is not installed")
    made: list[Namespace] = []
    try:
        for number in range(count):
            made.append(Namespace(f"wsactors-{os.getpid()}-{number}", number, f"wsa{os.getpid() % 100_000}n{number}"))
            try:
                _make(made[-1])
            except subprocess.CalledProcessError as error:
                raise NotPermitted(f"no network namespaces: {error.stderr.strip()}") from error
        yield made
    finally:
        for each in made:
            subprocess.run(["ip", "netns", "delete", each.name], check=False, capture_output=True)
            subprocess.run(["ip", "link", "delete", each.line], check=False, capture_output=True)


def _make(space: Namespace) -> None:
    _run("ip", "netns", "add", space.name)
    _run("ip", "link", "add", space.line, "mtu", str(MTU), "type", "veth", "peer", "name", "way", "netns", space.name)
    _run("ip", "address", "add", f"{space.node}/24", "dev", space.line)
    _run("ip", "link", "set", space.line, "up")
    space.run("ip", "link", "set", "way", "mtu", str(MTU), "up")
    space.run("ip", "address", "add", f"{NET}.{space.number}.2/24", "dev", "way")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
