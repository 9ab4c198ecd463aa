"""``wsactors load``: reads the run's settings, makes sure that it may be run, runs it, and says how it went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsactors.node.cli import ExitCode
from wsactors.node.commands import fail

if TYPE_CHECKING:
    from wsactors.loadtest.settings import LoadSettings
    from wsactors.loadtest.target import Target

__all__ = ["load"]


def load(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The run's TOML file; load: the one that comes with wsactors.")
    ] = Path("load"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, such as stages.hold.seconds=60."),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="The target may be another machine: it is yours, and its caps are set."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while the run goes on.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the settings of this run; start nothing.")] = False,
    defaults: Annotated[
        bool, typer.Option("--print-defaults", help="Print every setting with its default and what it means.")
    ] = False,
) -> None:
    """Load a node with users, and judge how it bears them.

    The exit code says whether every threshold was kept (0), one was broken (6), or the harness itself was the limit, so that
    the numbers say nothing about the server (7). Ctrl-C ends the run early; the report is written all the same.
    """
    from wsactors.loadtest.settings import LoadSettings
    from wsactors.node.confdoc import defaults_toml, effective_toml

    if defaults:
        typer.echo(defaults_toml(LoadSettings), nl=False)
        return
    settings = _settings(config, overrides or [])
    if show:
        typer.echo(effective_toml(settings), nl=False)
        return
    raise typer.Exit(_run(settings, _target(settings, allow_remote=allow_remote), quiet=quiet))


def _settings(config: Path, overrides: list[str]) -> LoadSettings:
    from wsactors.errors import ConfigError
    from wsactors.loadtest.settings import LoadSettings
    from wsactors.node.config import load_as
    from wsactors.node.defaults import find_config

    try:
        return load_as(LoadSettings, find_config(config), overrides=overrides)
    except ConfigError as error:
        fail(str(error), ExitCode.USAGE)


def _target(settings: LoadSettings, *, allow_remote: bool) -> Target:
    """Whom to load, after everything that speaks against it; exits with what does."""
    from wsactors.loadtest.lead import HarnessRefused, make_room
    from wsactors.loadtest.target import TargetRefused, check_answers, check_caps, client_tls, find_target

    try:
        target = find_target(settings.target.url)
        check_caps(target, settings, allow_remote=allow_remote)
        client_tls(settings)
        make_room(settings)
    except (TargetRefused, HarnessRefused) as refusal:
        fail(str(refusal), ExitCode.USAGE)
    try:
        check_answers(target)
    except TargetRefused as refusal:
        fail(str(refusal), ExitCode.NO_NODE)
    return target


def _run(settings: LoadSettings, target: Target, *, quiet: bool) -> ExitCode:
    from wsactors.loadtest.lead import HarnessFault
    from wsactors.loadtest.session import run, write_files

    try:
        report = run(settings, target, quiet=quiet)
    except HarnessFault as fault:
        fail(str(fault), ExitCode.FAULT)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    try:
        for path in write_files(settings.report, report):
            typer.echo(f"written: {path}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}", ExitCode.FAULT)
    return {
        "passed": ExitCode.OK,
        "failed": ExitCode.THRESHOLD_BROKEN,
        "harness limit": ExitCode.HARNESS_LIMIT,
        "interrupted": ExitCode.INTERRUPTED,
    }[report["outcome"]]
