"""The clients are those that we say, and a scenario that goes wrong says why."""

from __future__ import annotations

import json
import re
import tomllib
import urllib.request
from collections.abc import Callable

import pytest

from tests.interop.children import JS, ROOT, Child
from tests.interop.conftest import InteropNode


def pinned_in_package_json() -> dict[str, str]:
    found: dict[str, str] = json.loads((JS / "package.json").read_text())["dependencies"]
    return found


def test_the_javascript_clients_are_those_of_package_json(start_js: Callable[..., Child]) -> None:
    child = start_js("versions.mjs")
    versions = {name: child.hear(name=name)["version"] for name in sorted(pinned_in_package_json())}
    assert versions == pinned_in_package_json()
    assert child.hear()["loaded"]
    child.say(hello=["there"])
    assert child.hear()["echo"] == {"hello": ["there"]}
    child.end()


def test_the_python_clients_load_in_their_own_process(start_py_client: Callable[..., Child]) -> None:
    child = start_py_client("versions.py")
    wanted = (ROOT / "constraints.txt").read_text()
    for name in ("python-socketio", "realtime", "websockets"):
        assert f"\n{name}=={child.hear(name=name)['version']}\n" in wanted
    assert child.hear()["loaded"]
    child.say(hello=["there"])
    assert child.hear()["echo"] == {"hello": ["there"]}
    child.end()


def test_a_client_that_fails_is_a_failed_test_that_shows_its_error(start_js: Callable[..., Child]) -> None:
    child = start_js("no_such_script.mjs")
    with pytest.raises(AssertionError, match=r"(?s)no_such_script\.mjs failed with exit code 1.*Cannot find module"):
        child.end()


def test_a_client_that_says_nothing_is_a_failed_test_in_time(start_js: Callable[..., Child]) -> None:
    child = start_js("versions.mjs")
    child.hear(loaded=True)
    with pytest.raises(AssertionError, match=r"did not come to something with \{'never': 1\} in time"):
        child.hear(within=0.1, never=1)


def test_versions_are_exact_and_name_no_registry() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned_in_package_json().values())
    lock = json.loads((JS / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == pinned_in_package_json()
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_foreign_clients_are_no_dependency_of_a_node() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    foreign = re.compile(r"python-socketio|realtime|uvicorn|websockets")
    for extra in set(extras) - {"test", "dev"}:
        assert not [item for item in extras[extra] if foreign.match(item)], extra


def test_the_node_answers(interop_node: InteropNode) -> None:
    with urllib.request.urlopen(interop_node.http + "/ready", timeout=10) as answer:
        assert answer.status == 200
