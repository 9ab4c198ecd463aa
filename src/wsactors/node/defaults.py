"""The configuration and supervisor files that come with wsactors: in the wheel, or in the checkout it runs from."""

from __future__ import annotations

from pathlib import Path

__all__ = ["defaults_folder", "find_config"]

_PACKAGE = Path(__file__).resolve().parents[1]


def defaults_folder(package: Path = _PACKAGE) -> Path:
    """The folder with ``config/`` and ``supervisors/``: inside an installed package, else the checkout around ``src``."""
    inside = package / "defaults"
    return inside if inside.is_dir() else package.parents[1]


def find_config(named: Path) -> Path:
    """``named`` itself, or, for a bare name such as ``dev`` that is no file here, the configuration that comes with wsactors."""
    if named.exists() or named.suffix or len(named.parts) != 1:
        return named
    shipped = defaults_folder() / "config" / f"{named.name}.toml"
    return shipped if shipped.is_file() else named
