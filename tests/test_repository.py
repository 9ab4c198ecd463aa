"""What a stranger who clones this repository must not find in it, and what must be there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Put together from parts, or this file would be its own first finding.
REGISTRY_HOSTS = [
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "com"), ("npmjs", "org"))
]
INDEX_OPTIONS = ["--" + option for option in ("index-url", "extra-index-url", "find-links", "trusted-host")]
MACHINE_PATHS = [
    "/" + "/".join(parts)
    for parts in (("work", ""), ("root", ""), ("opt", ""), ("tmp", "plan"), ("home", r"[a-z]\w*/"))
]
FORBIDDEN = re.compile(
    "|".join([*map(re.escape, REGISTRY_HOSTS), *INDEX_OPTIONS, *(rf"(?<![\w.~-]){path}" for path in MACHINE_PATHS)])
)
MAX_FILE_BYTES = 1_000_000


def files() -> list[Path]:
    """The files under version control; in an unpacked archive, every file that is not made by tools."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    made = {".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__", "node_modules"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_registry_or_somebodys_machine() -> None:
    found = []
    for path in files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_no_file_is_large_or_binary_music() -> None:
    heavy = [path.name for path in files() if path.stat().st_size > MAX_FILE_BYTES]
    music = [path.name for path in files() if path.suffix in {".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a"}]
    assert heavy == []
    assert music == []


def test_what_is_run_by_name_is_executable() -> None:
    for path in files():
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                assert os.access(path, os.X_OK), f"{path.relative_to(ROOT)} begins with #! but is not executable"


def test_the_constraints_are_exact_and_cover_every_requirement() -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.+!]*)", line)
            assert match, f"constraints.txt: {line!r} is not NAME==VERSION"
            pinned[match[1].lower().replace("_", "-")] = match[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", item)[0].lower() for item in wanted}  # type: ignore[index]
    assert names - {"wsactors"} <= set(pinned)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", ".ci/run"])
def test_the_papers_are_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()
