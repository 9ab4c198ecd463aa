"""An installed wheel carries what a node needs to boot, and the command finds it by name."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wsactors.node.config import load_settings
from wsactors.node.defaults import defaults_folder, find_config

ROOT = Path(__file__).parents[2]


def test_a_bare_name_means_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(Path("dev")) == ROOT / "config" / "dev.toml"
    assert find_config(Path("nonsense")) == Path("nonsense")
    assert find_config(Path("dev.toml")) == Path("dev.toml")
    assert find_config(Path("config/dev")) == Path("config/dev")

    (tmp_path / "dev").write_text("")
    assert find_config(Path("dev")) == Path("dev")


def test_the_wheel_carries_configuration_trees_and_pages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    package = tmp_path / "installed" / "wsactors"
    folder = defaults_folder(package)
    settings = load_settings(folder / "config" / "dev.toml", environ={})

    assert folder == package / "defaults"
    assert settings.node.trees
    assert all(tree.is_file() for tree in settings.node.trees)
    assert (package / "py.typed").is_file()
    assert list((package / "web").glob("*.html"))
    assert not list(package.rglob("tests"))
