"""Prints the settings: as a TOML file of defaults, as a reference, and as the values of a node, secrets redacted."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wsactors.node import strict
from wsactors.node.config import ENVIRONMENT_PREFIX
from wsactors.node.secret import REDACTED, Secret
from wsactors.node.settings import Settings

__all__ = ["Entry", "defaults_toml", "effective_toml", "entries", "reference_markdown", "toml_value"]

_WIDTH = 116


@attrs.frozen
class Entry:
    """One key of the configuration, as the reference shows it."""

    section: str
    """The section's dotted name, such as ``gateway.tls``."""
    name: str
    kind: str
    """The type in words: ``whole number``, ``one of "off", "auto", "on"``."""
    default: Any
    doc: str
    live: bool
    """Whether SIGHUP reads it again."""
    secret: bool

    @property
    def key(self) -> str:
        """The dotted key, as ``--set`` takes it."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return ENVIRONMENT_PREFIX + self.key.upper().replace(".", "__")


def entries(kind: type = Settings, section: str = "") -> Iterator[Entry]:
    """Every key, section by section, in the order of the classes."""
    hints = strict.kinds(kind)
    inner: list[tuple[type, str]] = []
    for field in attrs.fields(kind):
        field_kind = hints[field.name]
        path = f"{section}.{field.name}".removeprefix(".")
        if attrs.has(field_kind):
            inner.append((field_kind, path))
        elif typing.get_origin(field_kind) is Mapping:
            inner.append((typing.get_args(field_kind)[1], f"{path}.NAME"))
        else:
            meta = field.metadata
            yield Entry(
                section, field.name, _in_words(field_kind), field.default, meta["doc"], meta["live"], meta["secret"]
            )
    for inner_kind, path in inner:
        yield from entries(inner_kind, path)


def defaults_toml(kind: type = Settings) -> str:
    """A complete configuration file: every key with its default and its explanation."""
    lines: list[str] = []
    section = None
    for entry in entries(kind):
        if entry.section != section:
            section = entry.section
            off = "# " if "NAME" in section else ""
            lines += ["", f"{off}[{section.replace('NAME', 'demo')}]"]
        lines += textwrap.wrap(_remark(entry), _WIDTH, initial_indent="# ", subsequent_indent="# ")
        shown = toml_value(entry.default)
        off = "# " if entry.default is None or "NAME" in entry.section else ""
        lines.append(f"{off}{entry.name} = {shown}")
    return "\n".join(lines).lstrip() + "\n"


_PREFACE = """
`wsactors config doc` prints this page, `wsactors config defaults` a file with all of it. A node reads one TOML file, then the
environment, then `--set KEY=VALUE`; the later wins. Unknown keys and wrong types are errors. Relative paths start at the file
that names them (in `--set`, at the current directory). A file that everybody may write is refused.
"""


def reference_markdown() -> str:
    """The reference of all settings, as Markdown."""
    lines = ["# Settings", "", _PREFACE.strip()]
    section = None
    for entry in entries():
        if entry.section != section:
            section = entry.section
            lines += ["", f"## [{section}]", ""]
        lines += [
            f"- **`{entry.name}`** ({entry.kind}; default `{toml_value(entry.default)}`; `{entry.variable}`)",
            f"  {_remark(entry)}",
        ]
    return "\n".join(lines) + "\n"


def effective_toml(settings: Any) -> str:
    """What a node (or another program) really runs with, as TOML; secrets are redacted."""
    return "\n".join(_tables(settings, "")).lstrip() + "\n"


def toml_value(value: Any) -> str:
    """``value`` as TOML writes it; None, which TOML lacks, as an empty text."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case Secret():
            return toml_value(REDACTED)
        case str() | Path():
            escaped = "".join(_escape(letter) for letter in str(value))
            return f'"{escaped}"'
        case tuple() | list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case _:
            return repr(value)


def _escape(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"


def _remark(entry: Entry) -> str:
    notes = [entry.doc]
    if entry.live:
        notes.append("Read again on SIGHUP.")
    if entry.secret:
        notes.append(f"Secret: better as {entry.name}_file or {entry.variable}.")
    return " ".join(notes)


def _tables(value: Any, path: str) -> Iterator[str]:
    plain, inner = [], []
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if attrs.has(type(item)):
            inner.append((f"{path}{field.name}", item))
        elif isinstance(item, Mapping):
            inner += [(f"{path}{field.name}.{name}", each) for name, each in item.items()]
        else:
            plain.append(f"{field.name} = {toml_value(item)}")
    if path:
        yield f"\n[{path.removesuffix('.')}]"
    yield from plain
    for name, each in inner:
        yield from _tables(each, f"{name}.")


def _in_words(kind: Any) -> str:
    plain = strict.without_none(kind)
    words = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        Secret: "secret text",
    }
    if typing.get_origin(plain) is Literal:
        return "one of " + ", ".join(toml_value(item) for item in typing.get_args(plain))
    if typing.get_origin(plain) is tuple:
        return f"list of {words[typing.get_args(plain)[0]]}s"
    return words[plain]
