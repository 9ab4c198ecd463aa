"""The printed settings, and the files in config/ held against the classes."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from wsactors.node.confdoc import defaults_toml, effective_toml, entries, reference_markdown, toml_value
from wsactors.node.config import load_settings, parse_settings
from wsactors.node.secret import Secret
from wsactors.node.settings import GatewaySettings, SessionSettings, Settings, TlsSettings

ROOT = Path(__file__).parents[2]
# What `wsactors load` reads is no node.
FILES = sorted(path for path in (ROOT / "config").glob("*.toml") if path.name != "load.toml")


def test_the_printed_defaults_are_the_defaults(tmp_path: Path) -> None:
    assert parse_settings(tomllib.loads(defaults_toml()), source="defaults", base=tmp_path, environ={}) == Settings()


def test_every_setting_says_what_it_is() -> None:
    for entry in entries():
        assert entry.doc.endswith((".", ").")), entry.key
        assert entry.doc[0].isupper() or entry.doc.split()[0] in {"off", "pretty"}, entry.key
        assert entry.key in {entry.key for entry in entries()}
        assert f"**`{entry.name}`**" in reference_markdown()
        assert entry.variable in reference_markdown()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_file_fits_the_classes(path: Path) -> None:
    settings = load_settings(path, environ={})

    assert settings.node.trees


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_file_explains_every_key(path: Path) -> None:
    lines = path.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert above.startswith("# "), f"{path.name}: {line!r} has no comment above it"


def test_the_production_file_holds_every_key_there_is() -> None:
    text = (ROOT / "config/prod.toml").read_text()
    missing = [
        entry.key for entry in entries() if f"\n{entry.name} = " not in text and f"\n# {entry.name} = " not in text
    ]
    assert missing == []


def test_the_effective_values_read_back_without_their_secrets(tmp_path: Path) -> None:
    settings = Settings(
        gateway=GatewaySettings(tls=TlsSettings(key_password=Secret("hunter2"))), sessions={"a": SessionSettings()}
    )

    text = effective_toml(settings)

    assert "hunter2" not in text
    again = parse_settings(tomllib.loads(text), source="effective", base=tmp_path, environ={})
    assert again.gateway.limits == settings.gateway.limits
    assert again.sessions == settings.sessions


@pytest.mark.parametrize(
    "value", ["plain", 'quote " and \\', "line\nbreak\x1b[31m", "umlaut ü", ("a", "b"), 3, 2.5, True]
)
def test_values_survive_toml(value: object) -> None:
    read = tomllib.loads(f"x = {toml_value(value)}")["x"]
    assert read == (list(value) if isinstance(value, tuple) else value)


def test_the_readme_names_what_sighup_reads_again() -> None:
    said = (ROOT / "README.md").read_text().partition("SIGHUP")[2].partition(").")[0]
    assert {entry.key for entry in entries() if entry.live} == {
        word.strip("`\n,( ") for word in said.split("(")[1].split(",")
    }


def test_the_page_in_docs_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == reference_markdown(), "run `make docs`"
