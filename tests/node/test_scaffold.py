"""`wsactors new` writes a project that runs, and its own test passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wsactors.node.scaffold import ScaffoldError, create_project

ROOT = Path(__file__).parents[2]


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def test_the_new_project_runs_and_its_test_passes(tmp_path: Path) -> None:
    folder = tmp_path / "My-Service"
    create_project(folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)

    ran = run_in(folder, "-W", "error", "-m", "my_service")
    tested = run_in(folder, "-m", "pytest", "-q")

    assert ran.stdout == "the counter stands at 3\n", ran.stderr
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout


def test_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    for path in create_project(tmp_path / "thing"):
        assert "@NAME@" not in path.read_text()
        assert "@NAME@" not in str(path)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "precious").write_text("mine")

    with pytest.raises(ScaffoldError, match="not empty"):
        create_project(tmp_path / "thing")
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["class", "1st", "wsactors", "a+b", "tests"])
def test_a_name_that_python_cannot_import_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScaffoldError, match="Python package"):
        create_project(tmp_path / name)
    assert not (tmp_path / name).exists()
