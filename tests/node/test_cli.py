"""The command line as a person meets it: exit codes, help, and errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.node.booting import write_application
from wsactors.node.cli import EXIT_CODES, ExitCode

ROOT = Path(__file__).parents[2]


def wsactors(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = "from wsactors.node.cli import main; main()"
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "150"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **plain, **environ},
    )  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tree.toml").write_text("[supervisor]\nstrategy = 'one_for_one'\n")
    path = tmp_path / "node.toml"
    path.write_text("[node]\nname = 'x'\ntrees = ['tree.toml']\n")
    return path


@pytest.mark.parametrize("command", [[], ["run"], ["tree"], ["top"], ["new"], ["config"], ["config", "check"]])
def test_every_command_has_help(command: list[str]) -> None:
    done = wsactors(*command, "--help")

    assert done.returncode == 0
    assert "Usage: wsactors" in done.stdout
    assert done.stderr == ""


def test_the_exit_codes_are_documented() -> None:
    shown = " ".join(wsactors("run", "--help").stdout.replace("│", " ").split())
    assert " ".join(EXIT_CODES.split()) in shown
    for code in ExitCode:
        assert f"{code.value} " in EXIT_CODES
        assert f"{code.value} " in (ROOT / "README.md").read_text().partition("Exit codes:")[2]


def test_completion_is_there() -> None:
    done = wsactors(_WSACTORS_COMPLETE="complete_bash", COMP_WORDS="wsactors ", COMP_CWORD="1")
    assert {"run", "tree", "top", "new", "config"} <= set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["run", "x.toml", "--nonsense"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    assert wsactors(*arguments).returncode == ExitCode.USAGE


@pytest.mark.parametrize("command", [["run"], ["tree"], ["config", "check"]])
def test_a_wrong_setting_is_told_and_nothing_starts(command: list[str], config: Path) -> None:
    done = wsactors(*command, str(config), "--set", "gateway.prot=9000")

    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "--set: gateway.prot: unknown key 'prot'; did you mean 'port'?\n"
    assert done.stdout == ""


@pytest.mark.parametrize("command", [["run"], ["tree"], ["config", "check"]])
def test_a_wrong_tree_is_told_and_nothing_starts(command: list[str], config: Path) -> None:
    (config.parent / "tree.toml").write_text("[supervisor]\nstrategy = 'one_for_won'\n")

    done = wsactors(*command, str(config))

    assert done.returncode == ExitCode.USAGE
    assert "tree.toml" in done.stderr
    assert "one_for_one" in done.stderr


def test_an_address_that_others_reach_needs_a_word(config: Path) -> None:
    done = wsactors("run", str(config), "--host", "0.0.0.0")

    assert done.returncode == ExitCode.USAGE
    assert "set gateway.allow_anonymous_public = true" in done.stderr
    assert "set auth.anonymous = false" in done.stderr
    checked = wsactors("config", "check", str(config), "--set", "gateway.host=0.0.0.0", "--set", "auth.anonymous=false")
    assert checked.returncode == ExitCode.OK


def test_a_wrong_tree_of_a_session_is_told_before_anything_starts(config: Path) -> None:
    (config.parent / "battle.toml").write_text("[supervisor]\nstrategy = 'one_for_won'\n")

    done = wsactors("run", str(config), "--set", f"sessions.demo.tree={config.parent / 'battle.toml'}")

    assert done.returncode == ExitCode.USAGE
    assert "battle.toml" in done.stderr


def test_an_error_cannot_paint_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('["\\u001b[2Jgateway"]\n')

    done = wsactors("config", "check", str(tmp_path / "node.toml"))

    assert done.returncode == ExitCode.USAGE
    assert "\x1b" not in done.stderr


def test_check_prints_what_a_node_would_run_with(config: Path) -> None:
    done = wsactors(
        "config", "check", str(config), "--set", "gateway.port=9000", WSACTORS_GATEWAY__TLS__KEY_PASSWORD="PLANTED"
    )

    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["gateway"]["port"] == 9000
    assert "PLANTED" not in done.stdout + done.stderr


def test_check_starts_nothing(tmp_path: Path) -> None:
    tree = "".join(f'[[child]]\nid = "{cls}"\nstart = "bootapp:{cls}"\n' for cls in ("Slow", "Refuses", "Crashes"))
    config = write_application(tmp_path, tree)

    done = wsactors("config", "check", str(config), PYTHONPATH=str(tmp_path))

    assert done.returncode == 0
    assert "3 children" in done.stderr
    assert "starting" not in done.stderr


def test_nothing_is_imported_from_the_working_directory(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    for name in ("typer", "rich", "attrs", "bootapp"):
        (config.parent / f"{name}.py").write_text("print('taken from the working directory')")
    (config.parent / "tree.toml").write_text(
        "[supervisor]\nstrategy = 'one_for_one'\n[[child]]\nid = 'it'\nstart = 'bootapp:It'\n"
    )

    done = wsactors("tree", str(config), "--set", "node.allowed_packages=bootapp")

    assert done.returncode == ExitCode.USAGE
    assert "taken from" not in done.stdout
    assert "bootapp" in done.stderr


def test_defaults_and_doc_print(tmp_path: Path) -> None:
    assert "gateway" in tomllib.loads(wsactors("config", "defaults").stdout)
    assert "WSACTORS_GATEWAY__PORT" in wsactors("config", "doc").stdout


def test_tree_prints_the_children() -> None:
    done = wsactors("tree", str(ROOT / "config/dev.toml"))

    assert done.returncode == 0, done.stderr
    assert "node.toml" in done.stdout
    assert "one_for_one" in done.stdout or "rest_for_one" in done.stdout


def test_top_says_that_nobody_answers(tmp_path: Path) -> None:
    done = wsactors("top", "--once", XDG_RUNTIME_DIR=str(tmp_path))

    assert done.returncode == ExitCode.NO_NODE
    assert "no node runs here" in done.stderr


def test_without_the_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from wsactors.node.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == ExitCode.USAGE
    assert "pip install 'wsactors[cli]'" in done.stderr
