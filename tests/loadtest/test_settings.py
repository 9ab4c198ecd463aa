from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

from wsactors.errors import ConfigError
from wsactors.loadtest.settings import LoadSettings, as_document
from wsactors.node import strict
from wsactors.node.confdoc import defaults_toml, effective_toml
from wsactors.node.config import load_as

SHIPPED = Path(__file__).parents[2] / "config" / "load.toml"


def load(tmp_path: Path, text: str, *overrides: str) -> LoadSettings:
    path = tmp_path / "load.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load_as(LoadSettings, path, overrides=overrides)


def test_the_configuration_that_comes_along_is_right_and_says_what_each_key_means() -> None:
    settings = load_as(LoadSettings, SHIPPED)

    assert list(settings.stages) == ["ramp", "hold"]
    known = {"behaviour", "transport", "fixed_count", "topic", "topics", "weight"}  # explained at their first use
    lines = SHIPPED.read_text().splitlines()
    explained: set[str] = set()
    for above, line in itertools.pairwise(lines):
        key = line.partition(" =")[0]
        if "=" in line and not line.startswith("#"):
            assert above.startswith("#") or key in explained | known | {"away_seconds"}, line
            explained.add(key)


def test_the_printed_defaults_are_a_file_of_their_own(tmp_path: Path) -> None:
    text = defaults_toml(LoadSettings)
    live = "\n".join(line.removeprefix("# ") if line.startswith("# [") else line for line in text.splitlines())

    assert tomllib.loads(text)["target"]["url"] == "ws://127.0.0.1:8080"
    settings = load(tmp_path, live)
    assert set(settings.stages) == {"demo"}


def test_settings_travel_to_the_workers_whole(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "[stages.a]\nusers = 3\n[users.b]\ntoken = 'hunter2'\n",
        "target.certificate=x.pem",
        "harness.processes=3",
    )

    again = strict.structure(as_document(settings), LoadSettings, Path("/"))
    assert again == settings
    assert again.users["b"].token is not None
    assert again.users["b"].token.reveal() == "hunter2"
    assert "hunter2" not in effective_toml(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[users.b]\n", "stages"),
        ("[stages.a]\n", "users"),
        ("[stages.a]\n[users.b]\nbehavior = 'listen'\n", "did you mean 'behaviour'"),
        ("[stages.a]\n[users.b]\nbehaviour = 'shout'\n", "expected one of"),
        ("[stages.a]\n[users.b]\naudio = true\ntransport = 'phoenix'\n", "audio is for native"),
        ("[stages.a]\n[users.b]\npresence = true\ntransport = 'phoenix'\n", "the channel decides"),
        ("[stages.a]\n[users.'<b>']\n", "short names"),
        ("[stages.a]\nseconds = -1\n[users.b]\n", "from 0"),
        ("[stages.a]\n[users.b]\n[thresholds]\nloss_share = -0.5\n", "not negative"),
        ("[stages.a]\n[users.b]\n[target]\nurl = 'http://x'\n", "ws://"),
        ("[stages.a]\n[users.b]\npath = 'x y'\n", "a path"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, text)


def test_every_setting_has_words() -> None:
    def check(kind: Any) -> None:
        for field in attrs.fields(kind):
            assert len(field.metadata["doc"]) > 5, field.name
            inner = strict.kind_of(kind, field.name)
            if attrs.has(inner):
                check(inner)

    check(LoadSettings)
