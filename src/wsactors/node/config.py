"""Reads a node's configuration: one TOML file, then the environment, then ``--set``; closed, typed, explained.

- ``WSACTORS_GATEWAY__PORT=9000`` and ``--set gateway.port=9000`` both override ``port`` in ``[gateway]``.
- ``KEY_file`` stands for any secret ``KEY``: the file's text without its last newline.
- An unknown key, a wrong type or a value out of range is a :class:`ConfigError` that names the source, the key, what
  was expected and, for a slip of the keyboard, the key that was probably meant. Faults are told together.
"""

from __future__ import annotations

import os
import stat
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

from wsactors.errors import ConfigError
from wsactors.node import strict
from wsactors.node.secret import Secret
from wsactors.node.settings import Settings

__all__ = ["ENVIRONMENT_PREFIX", "Fault", "load_as", "load_settings", "parse_settings", "refuse_writable_by_all"]

ENVIRONMENT_PREFIX = "WSACTORS_"
_MAX_FILE_BYTES = 1_000_000
_MAX_SECRET_BYTES = 65_536
T = TypeVar("T")


@attrs.frozen
class Fault:
    """One thing that is wrong with a configuration."""

    source: str
    """The file, ``--set`` or the environment variable that holds it."""
    key: str
    """Where in it, as a dotted path; empty for the file as a whole."""
    message: str
    """What was expected, what was found, and what was probably meant."""

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.message}" if self.key else f"{self.source}: {self.message}"


def load_settings(path: Path, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``path`` and apply the environment, then ``overrides`` (each ``"section.key=value"``).

    Raises:
        ConfigError: the file cannot be read, may be written by everybody, or says something that no setting allows.
    """
    return load_as(
        Settings, path, overrides=overrides, environ=_overriding_variables(os.environ if environ is None else environ)
    )


def load_as(
    kind: type[T], path: Path, *, overrides: Sequence[str] = (), environ: Iterable[tuple[str, str, str]] = ()
) -> T:
    """As :func:`load_settings`, for any class made of :mod:`wsactors.node.fields`; ``environ``: (name, key, value).

    Raises:
        ConfigError: as :func:`load_settings`.
    """
    refuse_writable_by_all(path)
    try:
        text = path.read_bytes()[: _MAX_FILE_BYTES + 1]
    except OSError as error:
        raise ConfigError([Fault(str(path), "", f"cannot be read: {error.strerror or error}")]) from error
    if len(text) > _MAX_FILE_BYTES:
        raise ConfigError([Fault(str(path), "", f"is larger than {_MAX_FILE_BYTES} bytes; this is no configuration")])
    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(path), "", f"is not valid TOML: {error}")]) from error
    given = _Overrides(list(environ))
    given.add(overrides)
    return _parse(kind, document, str(path), path.resolve().parent, given)


def parse_settings(
    document: Mapping[str, Any],
    *,
    source: str,
    base: Path,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Turn an already parsed document into :class:`Settings`; relative paths in it start at ``base``.

    Raises:
        ConfigError: as :func:`load_settings`.
    """
    given = _Overrides(list(_overriding_variables(os.environ if environ is None else environ)))
    given.add(overrides)
    return _parse(Settings, document, source, base, given)


def refuse_writable_by_all(path: Path) -> None:
    """A configuration is code: refuse one that anybody on the machine could have written.

    Raises:
        ConfigError: ``path`` or its directory may be written by everybody (sticky directories, such as /tmp, pass).
    """
    try:
        file_mode, folder_mode = path.stat().st_mode, path.resolve().parent.stat().st_mode
    except OSError as error:
        raise ConfigError([Fault(str(path), "", f"cannot be read: {error.strerror or error}")]) from error
    if stat.S_ISDIR(file_mode):
        raise ConfigError([Fault(str(path), "", "is a directory; name the .toml file in it")])
    if file_mode & stat.S_IWOTH:
        raise ConfigError([Fault(str(path), "", f"may be written by everybody; run `chmod o-w {path}`")])
    if folder_mode & stat.S_IWOTH and not folder_mode & stat.S_ISVTX:
        folder = path.resolve().parent
        raise ConfigError(
            [Fault(str(path), "", f"lies in a folder that everybody may write; run `chmod o-w {folder}`")]
        )


# --- overrides ------------------------------------------------------------------------------------------------


@attrs.define
class _Overrides:
    """What is set from outside the file, in the order in which it counts: (origin, key, value)."""

    items: list[tuple[str, str, str]]
    faults: list[Fault] = attrs.field(factory=list)

    def add(self, arguments: Sequence[str]) -> None:
        """``--set`` arguments, each ``section.key=value``."""
        for item in arguments:
            key, equals, raw = item.partition("=")
            if equals:
                self.items.append(("--set", key.strip(), raw.strip()))
            else:
                self.faults.append(Fault("--set", item, "expected key=value, such as gateway.port=9000"))


def _parse(kind: type[T], document: Mapping[str, Any], source: str, base: Path, given: _Overrides) -> T:
    tree = _copy(document)
    origins: dict[str, str] = {}
    faults = given.faults
    for origin, key, raw in given.items:
        _override(kind, tree, key, raw, origin, origins, faults)
    _read_secret_files(kind, tree, base, source, "", faults)
    try:
        settings = strict.structure(tree, kind, base)
    except strict.Mismatch as mismatch:
        faults += [Fault(_origin(origins, key, source), key, message) for key, message in mismatch.findings]
    else:
        if not faults:
            return settings
    raise ConfigError(faults)


def _overriding_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            yield name, name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."), environ[name]


def _override(
    kind: Any, tree: dict[str, Any], key: str, raw: str, origin: str, origins: dict[str, str], faults: list[Fault]
) -> None:
    for depth, part in enumerate(parts := key.split(".")):
        inner = strict.kind_of(kind, part)
        if inner is None:
            faults.append(Fault(origin, ".".join(parts[: depth + 1]), strict.unknown_key(part, kind)))
            return
        kind = inner
    if attrs.has(kind) or typing.get_origin(kind) is Mapping:
        faults.append(Fault(origin, key, f"is a section; set one key in it: {strict.listed(kind)}"))
        return
    table = tree
    for part in parts[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):  # the file holds a plain value there; structuring says so
            return
        table = inner
    table[parts[-1]] = _from_text(kind, raw)
    origins[key] = origin


def _from_text(kind: Any, raw: str) -> Any:
    """The value that ``raw`` means for a setting of this type; what does not fit is left for the type check."""
    plain = strict.without_none(kind)
    if plain is Path:
        return str(Path(raw).expanduser().absolute()) if raw else None
    if plain in {str, Secret} or typing.get_origin(plain) is Literal:
        return raw
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        if typing.get_origin(plain) is tuple:
            return [item.strip() for item in raw.split(",") if item.strip()]
        return raw


def _origin(origins: Mapping[str, str], key: str, source: str) -> str:
    return next((origin for path, origin in origins.items() if key == path or key.startswith(f"{path}.")), source)


# --- secrets from files -------------------------------------------------------------------------------------------


def _read_secret_files(
    kind: Any, tree: dict[str, Any], base: Path, source: str, path: str, faults: list[Fault]
) -> None:
    kinds = strict.kinds(kind)  # what the class itself has are names until somebody has resolved them
    for field in attrs.fields(kind):
        key = f"{path}{field.name}"
        value = tree.get(field.name)
        if attrs.has(inner := kinds[field.name]) and isinstance(value, dict):
            _read_secret_files(inner, value, base, source, f"{key}.", faults)
        if field.metadata.get("secret") and (file := tree.pop(f"{field.name}_file", None)) is not None:
            if value is not None:
                faults.append(Fault(source, key, f"expected {field.name} or {field.name}_file, got both"))
                continue
            try:
                text = (base / Path(str(file)).expanduser()).read_bytes()[:_MAX_SECRET_BYTES].decode()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(
                    Fault(source, f"{key}_file", f"cannot be read: {getattr(error, 'strerror', None) or error}")
                )
            else:
                tree[field.name] = text.removesuffix("\n")


def _copy(value: Any) -> Any:
    """A copy whose tables may be changed."""
    match value:
        case Mapping():
            return {key: _copy(item) for key, item in value.items()}
        case _:
            return value
