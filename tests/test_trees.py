"""Every supervisor file that comes with the project loads, and every configuration names files that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsactors.node.config import load_settings
from wsactors.supervision import load_tree

ROOT = Path(__file__).parents[1]
TREES = sorted((ROOT / "supervisors").glob("*.toml"))
# What `wsactors load` reads is no node.
CONFIGS = sorted(path for path in (ROOT / "config").glob("*.toml") if path.name != "load.toml")


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_a_shipped_tree_loads(path: Path) -> None:
    assert list(load_tree(path).walk())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_boots_shipped_trees(path: Path) -> None:
    settings = load_settings(path, environ={})

    assert settings.node.trees
    for tree in settings.node.trees:
        assert tree.resolve() in TREES
