"""The directory for admin sockets is this user's alone, or it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsactors.node.runtime_dir import UnsafeFolder, private_folder, runtime_folder


def test_it_is_made_private(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


def test_one_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)

    with pytest.raises(UnsafeFolder, match="chmod 700"):
        private_folder(tmp_path / "open")


def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")

    with pytest.raises(UnsafeFolder, match="not a directory"):
        private_folder(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_one_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65534, 65534)

    with pytest.raises(UnsafeFolder, match="belongs to user 65534"):
        private_folder(tmp_path / "theirs")


def test_the_usual_place_is_the_users_own() -> None:
    assert runtime_folder({"XDG_RUNTIME_DIR": "/run/user/1000"}) == Path("/run/user/1000/wsactors")
    assert str(os.geteuid()) in str(runtime_folder({})) or os.geteuid() == 0
