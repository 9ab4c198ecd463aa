"""The catalogue: what was put in comes out, it stays small, and no file makes it lie or break."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import attrs
import pytest

from wsactors.dj import catalogue as module
from wsactors.dj.analysis.values import Analysis, Cue, Key, Loudness, Tempo, Waveform
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.catalogue import MAX_ANALYSIS, Catalogue
from wsactors.errors import CatalogueUnusable

FULL = Analysis(
    frames=48_000 * 200,
    grid=Beatgrid(123.5, 22_500.25),
    tempo=Tempo(0.75, 1.0),
    key=Key(9, True, 0.5),
    loudness=Loudness(-9.5, -0.25),
    waveform=Waveform(512, bytes(range(256)) * 16),
    cues=(Cue(123.5, "start"), Cue(360_123.5, "rise")),
)
GRID = Beatgrid(7.0, 24_000.0)


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_what_was_kept_is_found_again_also_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    first = Catalogue(path)
    assert first.find(digest(1)) is None
    first.keep(digest(1), FULL)
    first.keep(digest(2), Analysis(frames=1))
    first.close()
    again = Catalogue(path)
    assert again.find(digest(1)) == FULL
    assert again.find(digest(2)) == Analysis(frames=1)
    assert again.find(digest(3)) is None
    assert len(again) == 2
    assert again.rebuilt == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.close()


def test_a_grid_made_by_hand_counts_until_it_is_taken_back() -> None:
    catalogue = Catalogue(None)
    catalogue.keep(digest(1), FULL)
    catalogue.correct(digest(1), GRID)
    assert catalogue.find(digest(1)) == attrs.evolve(FULL, grid=GRID)
    catalogue.keep(digest(1), FULL)  # analysed again
    assert catalogue.find(digest(1)) == attrs.evolve(FULL, grid=GRID)
    catalogue.correct(digest(1), None)
    assert catalogue.find(digest(1)) == FULL
    catalogue.correct(digest(2), GRID)  # of a song that is analysed later
    assert catalogue.find(digest(2)) is None
    silent = Analysis(frames=5)
    catalogue.keep(digest(2), silent)
    assert catalogue.find(digest(2)) == attrs.evolve(silent, grid=GRID)


def test_songs_longest_not_asked_for_are_forgotten_and_those_corrected_by_hand_last() -> None:
    catalogue = Catalogue(None, songs=3)
    for number in range(3):
        catalogue.keep(digest(number), FULL)
    catalogue.correct(digest(1), GRID)
    assert catalogue.find(digest(0)) == FULL  # asked for: now 2 is the oldest
    catalogue.keep(digest(3), FULL)
    assert [catalogue.find(digest(number)) is not None for number in range(4)] == [True, True, False, True]
    for number in range(4, 9):
        catalogue.keep(digest(number), FULL)
    assert catalogue.find(digest(1)) is not None
    assert len(catalogue) == 3


def test_bytes_are_bounded_too() -> None:
    large = attrs.evolve(FULL, waveform=Waveform(512, os.urandom(131_072)))
    catalogue = Catalogue(None, size=300_000)
    for number in range(5):
        catalogue.keep(digest(number), large)
    assert len(catalogue) == 2
    assert catalogue.find(digest(4)) == large
    with pytest.raises(ValueError, match="at least"):
        Catalogue(None, size=MAX_ANALYSIS - 1)


def test_what_another_version_found_is_found_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(None)
    catalogue.keep(digest(1), FULL)
    monkeypatch.setattr(module, "VERSION", 99)
    assert catalogue.find(digest(1)) is None


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be looked at" * 40, None])
def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "songs.db"
    if damage is None:  # a good header, and nonsense behind it
        catalogue = Catalogue(path)
        for number in range(20):
            catalogue.keep(digest(number), FULL)
        catalogue.close()
        data = bytearray(path.read_bytes())
        data[100:] = b"\xa5" * (len(data) - 100)
        damage = bytes(data)
    path.write_bytes(damage)
    catalogue = Catalogue(path)
    assert catalogue.find(digest(1)) is None
    assert catalogue.rebuilt == 1
    catalogue.keep(digest(1), FULL)
    assert catalogue.find(digest(1)) == FULL
    assert (tmp_path / "songs.db.damaged").read_bytes() == damage
    catalogue.close()
    assert Catalogue(path).find(digest(1)) == FULL


def test_damage_while_it_is_open_is_survived_as_well(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    catalogue = Catalogue(path)
    for number in range(50):
        catalogue.keep(digest(number), FULL)
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * path.stat().st_size)
    catalogue.keep(digest(60), FULL)
    assert catalogue.find(digest(60)) == FULL
    assert catalogue.rebuilt == 1


@pytest.mark.parametrize("row", [b"", b"x" * 500, b"\x78\x9c" + b"\0" * 50, 5, "text"])
def test_a_damaged_row_is_a_song_not_known(tmp_path: Path, row: object) -> None:
    path = tmp_path / "songs.db"
    catalogue = Catalogue(path)
    catalogue.keep(digest(1), FULL)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE songs SET analysis = ?", (row,))
    other.close()
    assert catalogue.find(digest(1)) is None
    catalogue.keep(digest(1), FULL)
    assert catalogue.find(digest(1)) == FULL


def test_a_row_that_inflates_without_end_is_not_inflated(tmp_path: Path) -> None:
    import zlib

    path = tmp_path / "songs.db"
    catalogue = Catalogue(path)
    catalogue.keep(digest(1), FULL)
    bomb = zlib.compress(b"\0" * (64 << 20))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE songs SET analysis = ?", (bomb,))
    other.close()
    assert catalogue.find(digest(1)) is None


def test_what_is_no_catalogue_is_left_as_it_is(tmp_path: Path) -> None:
    foreign = tmp_path / "other.db"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE precious (x)")
    other.close()
    before = foreign.read_bytes()
    with pytest.raises(CatalogueUnusable, match="something else"):
        Catalogue(foreign)
    assert foreign.read_bytes() == before
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(CatalogueUnusable, match="cannot be opened"):
        Catalogue(tmp_path / "link.db")
    assert not (tmp_path / "elsewhere.db").exists()
    os.mkfifo(tmp_path / "pipe.db")
    with pytest.raises(CatalogueUnusable, match="no plain file"):
        Catalogue(tmp_path / "pipe.db")
    with pytest.raises(CatalogueUnusable, match="cannot be opened"):
        Catalogue(tmp_path / "no such folder" / "songs.db")


def test_a_closed_one_says_so_and_a_digest_is_a_digest() -> None:
    catalogue = Catalogue(None)
    with pytest.raises(ValueError, match="32 bytes"):
        catalogue.keep(b"short", FULL)
    catalogue.close()
    catalogue.close()
    with pytest.raises(CatalogueUnusable, match="closed"):
        catalogue.find(digest(1))
