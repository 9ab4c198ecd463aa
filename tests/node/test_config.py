"""Configuration: closed, typed, overridable, and explained when it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsactors.errors import ConfigError
from wsactors.node.config import Fault, load_settings
from wsactors.node.settings import Settings


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


def faults(path: Path, *overrides: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides=overrides, environ=environ or {})
    assert str(caught.value)  # every fault is in the text, too
    return {fault.key: str(fault) for fault in caught.value.faults if isinstance(fault, Fault)}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path / "node.toml", "")


def test_an_empty_file_gives_the_defaults(config: Path) -> None:
    assert load_settings(config, environ={}) == Settings()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[gatway]\nport = 1", "gatway", "did you mean 'gateway'"),
        ("[gateway]\nprot = 1", "gateway.prot", "did you mean 'port'"),
        ("[gateway.tls]\nmod = 'on'", "gateway.tls.mod", "did you mean 'mode'"),
        ("[sessions.a]\nkidn = 'battle'", "sessions.a.kidn", "did you mean 'kind'"),
        ("[gateway]\nzzz = 1", "gateway.zzz", "expected one of: enabled, host"),
        ("[gateway]\nport = '80'", "gateway.port", "expected a whole number, got '80'"),
        ("[gateway]\nport = true", "gateway.port", "expected a whole number, got true"),
        ("[gateway]\nport = 70000", "gateway.port", "expected a number from 0 to 65535, got 70000"),
        ("[gateway.limits]\nmessage_bytes = 1", "gateway.limits.message_bytes", "from 1024 to 16777216, got 1"),
        ("[gateway]\nenabled = 'no'", "gateway.enabled", "expected true or false, got 'no'"),
        ("[gateway]\nallowed_hosts = 'abc'", "gateway.allowed_hosts", "expected a list of"),
        ("[gateway]\nallowed_hosts = ['a', 3]", "gateway.allowed_hosts.1", "expected text"),
        ("[logging]\nlevel = 'infoo'", "logging.level", "did you mean 'info'"),
        ("gateway = 3", "gateway", "expected a section, got 3"),
        ("[sessions]\na = 3", "sessions.a", "expected a section, got 3"),
        ("[sessions.'../x']", "sessions", "expected names made of letters"),
        ("[sessions.'x.']", "sessions", "ending with a letter"),
        ("[node]\nname = 'a b'", "node.name", "expected letters"),
        ("[node]\nshutdown_timeout = nan", "node.shutdown_timeout", "expected a number from"),
        ("[gateway.tls]\ncert = 'a.pem'", "gateway.tls.key", "expected both cert and key"),
    ],
)
def test_a_slip_names_file_key_and_what_was_expected(config: Path, text: str, key: str, said: str) -> None:
    write(config, text)

    found = faults(config)

    assert list(found) == [key]
    assert said in found[key]
    assert found[key].startswith(f"{config}: {key}: ")


def test_all_faults_are_told_together(config: Path) -> None:
    write(
        config, "[node]\nnam = 'x'\n[gateway]\nprot = 1\nhost = 3\n[sessions.a]\nbitrate = 1\n[sessions.b]\nbitrate = 2"
    )

    assert set(faults(config)) == {
        "node.nam",
        "gateway.prot",
        "gateway.host",
        "sessions.a.bitrate",
        "sessions.b.bitrate",
    }


def test_broken_toml_is_told_with_its_line(config: Path) -> None:
    write(config, "[gateway]\nport = = 3")

    assert "line 2" in faults(config)[""]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in faults(tmp_path / "nothing.toml")[""]


def test_environment_beats_the_file_and_set_beats_both(config: Path) -> None:
    write(config, "[gateway]\nport = 1\nhost = '127.0.0.2'\n[logging]\nlevel = 'error'")
    environ = {"WSACTORS_GATEWAY__PORT": "2", "WSACTORS_LOGGING__LEVEL": "debug", "HOME": "/"}

    settings = load_settings(config, overrides=["gateway.port=3", "sessions.new.bitrate=64000"], environ=environ)

    assert (settings.gateway.port, settings.gateway.host, settings.logging.level) == (3, "127.0.0.2", "debug")
    assert settings.sessions["new"].bitrate == 64_000


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("gateway.allowed_hosts=a.example, b.example", ("a.example", "b.example")),
        ("gateway.allowed_hosts=['a.example']", ("a.example",)),
        ("gateway.allowed_hosts=[]", ()),
    ],
)
def test_lists_may_be_set_as_people_write_them(config: Path, override: str, value: tuple[str, ...]) -> None:
    assert load_settings(config, overrides=[override], environ={}).gateway.allowed_hosts == value


@pytest.mark.parametrize("name", ["123", "true", "1e3"])
def test_a_text_that_looks_like_a_number_stays_text_in_set(config: Path, name: str) -> None:
    assert load_settings(config, overrides=[f"node.name={name}"], environ={}).node.name == name


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("gateway.prot=1", "gateway.prot", "did you mean 'port'"),
        ("gateway=1", "gateway", "is a section; set one key in it"),
        ("gateway.port", "gateway.port", "expected key=value"),
        ("gateway.port.x=1", "gateway.port.x", "there is nothing below this setting"),
        ("gateway.port=many", "gateway.port", "expected a whole number"),
    ],
)
def test_an_override_is_as_closed_as_the_file(config: Path, override: str, key: str, said: str) -> None:
    found = faults(config, override)

    assert said in found[key]
    assert found[key].startswith("--set: ")


def test_a_wrong_environment_variable_is_named(config: Path) -> None:
    found = faults(config, environ={"WSACTORS_GATEWAY__PROT": "1", "WSACTORS_GATEWAY__PORT": "x"})

    assert found["gateway.prot"].startswith("WSACTORS_GATEWAY__PROT: ")
    assert found["gateway.port"].startswith("WSACTORS_GATEWAY__PORT: ")


def test_paths_in_a_file_start_at_the_file_and_paths_in_set_at_the_user(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write(config, "[sessions.a]\nsongs = 'music'\n[sessions.b]\nsongs = ''")

    settings = load_settings(config, overrides=["sessions.c.songs=music"], environ={})

    assert settings.sessions["a"].songs == tmp_path / "music"
    assert settings.sessions["b"].songs is None
    assert settings.sessions["c"].songs == elsewhere / "music"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_file_that_everybody_may_write_is_refused(config: Path) -> None:
    config.chmod(0o646)

    assert "chmod o-w" in faults(config)[""]


def test_a_folder_that_everybody_may_write_is_refused_unless_sticky(config: Path) -> None:
    config.parent.chmod(0o777)
    assert "lies in a folder that everybody may write" in faults(config)[""]

    config.parent.chmod(0o1777)
    assert load_settings(config, environ={}) == Settings()


def test_a_secret_comes_from_a_file_and_is_shown_nowhere(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "password", "hunter2\n")
    write(config, "[gateway.tls]\nkey_password_file = 'password'")

    settings = load_settings(config, environ={})

    assert settings.gateway.tls.key_password is not None
    assert settings.gateway.tls.key_password.reveal() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{settings.gateway.tls.key_password} {settings.gateway.tls.key_password!r}"


def test_secrets_come_from_files_in_the_first_configuration_that_a_process_reads(config: Path, tmp_path: Path) -> None:
    """In a process of its own: having read one changes what Python knows about the types of the settings."""
    write(tmp_path / "secret", "hunter2-hunter2-hunter2-hunter2-hunter2\n")
    write(config, "[auth]\nsecret_file = 'secret'\n[gateway.tls]\nkey_password_file = 'secret'")
    program = (
        "import sys; from pathlib import Path; from wsactors.node.config import load_settings;"
        "read = load_settings(Path(sys.argv[1]), overrides=[f'admin.http.token_file={sys.argv[2]}'], environ={});"
        "print(*(secret.reveal() for secret in (read.auth.secret, read.gateway.tls.key_password, read.admin.http.token)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, config, tmp_path / "secret"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout.split(), done.stderr) == (["hunter2-hunter2-hunter2-hunter2-hunter2"] * 3, "")


def test_a_secret_and_its_file_together_are_refused_without_showing_it(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "password", "hunter2")
    write(config, "[gateway.tls]\nkey_password_file = 'password'\nkey_password = 'hunter3'")

    found = faults(config)

    assert "got both" in found["gateway.tls.key_password"]
    assert "hunter" not in str(found)


def test_a_secret_of_the_wrong_type_is_not_shown(config: Path) -> None:
    write(config, "[gateway.tls]\nkey_password = 271828")

    assert "271828" not in str(faults(config))


def test_a_missing_secret_file_is_named(config: Path) -> None:
    write(config, "[gateway.tls]\nkey_password_file = 'nothing'")

    assert "cannot be read" in faults(config)["gateway.tls.key_password_file"]
