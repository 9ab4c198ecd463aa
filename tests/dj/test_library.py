"""A song folder gives out ids, never paths, and nothing outside it can be reached through it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wsactors.dj.library import Library, open_inside
from wsactors.errors import SongRefused, SongUnknown

KEY = b"k" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    (root / "album").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("b.mp3", "a.FLAC", "album/c.ogg", "notes.txt", ".hidden/d.mp3"):
        (root / name).write_bytes(b"x")
    (tmp_path / "secret.mp3").write_bytes(b"secret")
    return root


def titles(library: Library) -> list[str]:
    library.scan()
    return [entry.title for entry in library.entries.values()]


def test_a_scan_finds_songs_by_suffix_in_order(folder: Path) -> None:
    assert titles(Library(folder, key=KEY)) == ["a", "b", "c"]


def test_ids_say_nothing_and_depend_on_the_key(folder: Path) -> None:
    first, second = Library(folder, key=KEY), Library(folder, key=b"q" * 32)
    first.scan()
    second.scan()
    for song, entry in first.entries.items():
        assert len(song) == 32
        assert set(song) <= set("0123456789abcdef")
        assert str(folder) not in repr(entry)
        assert "album" not in repr(entry)
    assert not first.entries.keys() & second.entries.keys()
    again = Library(folder, key=KEY)
    again.scan()
    assert again.entries.keys() == first.entries.keys()


def test_a_song_is_opened_by_id_and_closed(folder: Path) -> None:
    library = Library(folder, key=KEY)
    library.scan()
    song = next(iter(library.entries))
    with library.open(song) as descriptor:
        assert os.read(descriptor, 10) == b"x"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(descriptor, 1)
    for unknown in ("nope", "../secret.mp3", "", str(folder / "b.mp3")):
        with pytest.raises(SongUnknown), library.open(unknown):
            pass


@pytest.mark.parametrize(
    "path",
    [
        ("..", "secret.mp3"),
        ("album", "..", "..", "secret.mp3"),
        ("../secret.mp3",),
        ("album/c.ogg",),
        ("",),
        (),
        (".",),
        ("b.mp3\0",),
        ("/etc/passwd",),
    ],
)
def test_no_path_leads_out(folder: Path, path: tuple[str, ...]) -> None:
    with pytest.raises(SongRefused) as caught:
        open_inside(folder, path)
    assert "secret" not in str(caught.value)


def test_links_are_neither_found_nor_followed(folder: Path) -> None:
    (folder / "link.mp3").symlink_to(folder.parent / "secret.mp3")
    (folder / "inner.mp3").symlink_to(folder / "b.mp3")
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    assert titles(Library(folder, key=KEY)) == ["a", "b", "c"]
    for path in (("link.mp3",), ("inner.mp3",), ("up", "secret.mp3")):
        with pytest.raises(SongRefused, match="link"):
            open_inside(folder, path)


def test_a_file_swapped_for_a_link_after_the_scan_is_refused(folder: Path) -> None:
    library = Library(folder, key=KEY)
    library.scan()
    song = next(entry.id for entry in library.entries.values() if entry.title == "b")
    (folder / "b.mp3").unlink()
    (folder / "b.mp3").symlink_to(folder.parent / "secret.mp3")
    with pytest.raises(SongRefused, match="link"), library.open(song):
        pass
    (folder / "b.mp3").unlink()
    with pytest.raises(SongRefused, match="gone"), library.open(song):
        pass


def test_pipes_sockets_devices_and_folders_are_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.mp3")  # opening it plainly would wait for ever
    (folder / "dir.mp3").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock.mp3"))
        assert titles(Library(folder, key=KEY)) == ["a", "b", "c"]
        for name in ("pipe.mp3", "dir.mp3", "sock.mp3"):
            with pytest.raises(SongRefused):
                open_inside(folder, (name,))
    with pytest.raises(SongRefused, match="plain file"):
        open_inside(Path("/dev"), ("zero",))


def test_a_scan_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.dj.library.MAX_SONGS", 2)
    assert titles(Library(folder, key=KEY)) == ["a", "b"]
    deep = folder.joinpath(*["d"] * 12)
    deep.mkdir(parents=True)
    (deep / "deep.mp3").write_bytes(b"x")
    monkeypatch.undo()
    assert "deep" not in titles(Library(folder, key=KEY))


def test_a_folder_that_is_none_is_an_error_that_says_so(folder: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        Library(folder / "b.mp3", key=KEY)
    with pytest.raises(ValueError, match="16 random bytes"):
        Library(folder, key=b"short")
