#!/usr/bin/env python3
"""Writes constraints.txt: the exact version of everything that the project's extras pull in, as installed in .venv.

Run it with the environment's own interpreter, after `make venv` and whatever was upgraded by hand::

    .venv/bin/python scripts/lock.py
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

HEADER = "# Exact versions of what the project was tested with; written by scripts/lock.py.\n"


def closure(name: str, extras: frozenset[str], found: dict[str, str]) -> None:
    """Add ``name`` and all it requires, here and with these extras, to ``found``."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return  # required on another platform or interpreter only
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found and not extras:
        return
    found[key] = installed.version
    for text in installed.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            closure(requirement.name, frozenset(requirement.extras), found)


def main() -> None:
    """Write the file next to pyproject.toml."""
    found: dict[str, str] = {}
    closure("wsactors", frozenset({"dev"}), found)
    closure("wsactors", frozenset({"run"}), found)
    del found["wsactors"]
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    path = Path(__file__).parents[1] / "constraints.txt"
    path.write_text(HEADER + "".join(lines))
    print(f"{path.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
