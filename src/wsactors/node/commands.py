"""The commands themselves; see :mod:`wsactors.node.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import attrs
import typer

from wsactors.node.cli import EXIT_CODES, ExitCode
from wsactors.node.defaults import find_config
from wsactors.node.terminal import as_text, visible

if TYPE_CHECKING:
    from rich.tree import Tree

    from wsactors.node.settings import Settings
    from wsactors.supervision import TreeSpec

__all__ = ["app"]

app = typer.Typer(
    help="Erlang-style actors on Trio, and on them a live-audio platform.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Check, print and explain configuration.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(config_app, name="config")

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The node's TOML file; or dev: the one that comes with wsactors.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, such as gateway.port=9000."),
]


def fail(message: str, code: ExitCode) -> NoReturn:
    """Say ``message`` on standard error and exit with ``code``."""
    typer.echo("\n".join(visible(line, 1_000) for line in message.splitlines()), err=True)
    raise typer.Exit(code)


def read_settings(path: Path, overrides: list[str]) -> Settings:
    """The settings in ``path``, or an exit with what is wrong."""
    from wsactors.errors import ConfigError
    from wsactors.gateway.options import GatewayRefused, check_exposure
    from wsactors.node.config import load_settings
    from wsactors.node.wiring import admin_http_options, gateway_options, quic_gateway_options

    try:
        settings = load_settings(find_config(path), overrides=overrides)
    except ConfigError as error:
        fail(str(error), ExitCode.USAGE)
    try:
        if settings.gateway.enabled:
            gateway = gateway_options(settings.gateway, None, requires_login=not settings.auth.anonymous)
            check_exposure(gateway)
            if settings.quic.enabled:
                check_exposure(quic_gateway_options(settings.quic, gateway), "quic.host")
        if settings.admin.http.enabled:
            admin_http_options(settings, None)
    except GatewayRefused as refusal:
        fail(str(refusal), ExitCode.USAGE)
    return settings


def read_trees(settings: Settings) -> list[TreeSpec]:
    """The supervision trees that ``settings`` name, or an exit with what is wrong. Starts nothing."""
    from wsactors.errors import TreeError
    from wsactors.node.session_settings import session_tree_file
    from wsactors.supervision import load_tree

    try:
        for path in {session_tree_file(session) for session in settings.sessions.values()}:
            load_tree(path, settings.node.allowed_packages)  # opened later, by then nobody reads the error
        return [load_tree(path, settings.node.allowed_packages) for path in settings.node.trees]
    except TreeError as error:
        fail(str(error), ExitCode.USAGE)


@app.command(epilog=EXIT_CODES)
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    host: Annotated[str | None, typer.Option(help="Address to bind; short for --set gateway.host=...")] = None,
    songs: Annotated[Path | None, typer.Option(help="Folder with music for every session that names none.")] = None,
    print_addresses: Annotated[
        bool, typer.Option("--print-addresses", help="Print the addresses as one JSON line on standard output.")
    ] = False,
) -> None:
    """Boot a node and serve until it is told to stop.

    SIGTERM or Ctrl-C: an ordered stop, last started first. A second Ctrl-C: at once. SIGHUP: the live settings are read
    again.
    """
    from wsactors.node.boot import Launch, run_node
    from wsactors.node.config import load_settings

    given = list(overrides or ())
    if host is not None:
        given.append(f"gateway.host={host}")

    def read() -> Settings:
        return with_songs(load_settings(find_config(config), overrides=given), songs)

    settings = with_songs(read_settings(config, given), songs)
    launch = Launch(settings, read_trees(settings), read, print_addresses=print_addresses)
    raise typer.Exit(run_node(launch))


def with_songs(settings: Settings, folder: Path | None) -> Settings:
    """``settings`` with this folder for every session that names none."""
    if folder is None:
        return settings
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        fail(f"--songs: {folder} is no folder; name one with music in it", ExitCode.USAGE)
    sessions = {
        name: attrs.evolve(session, songs=session.songs or folder) for name, session in settings.sessions.items()
    }
    return attrs.evolve(settings, sessions=sessions)


@app.command()
def tree(config: ConfigFile, overrides: Overrides = None) -> None:
    """Print the supervision trees that a node would boot. Starts nothing."""
    from rich.console import Console
    from rich.tree import Tree

    settings = read_settings(config, list(overrides or ()))
    root = Tree(as_text(settings.node.name, "bold"))
    for spec in read_trees(settings):
        _branch(root, spec, spec.name)
    Console().print(root)


def _branch(above: Tree, tree_spec: TreeSpec, child_id: object) -> None:
    options = tree_spec.options
    head = as_text(child_id, "bold")
    limits = f"{options.strategy}, at most {options.intensity} restarts in {options.period:g} s"
    branch = above.add(head.append(visible(f"  {Path(tree_spec.file).name}: {limits}"), style="dim"))
    for child in tree_spec.children:
        below = tree_spec.subtrees.get(child.id)
        if below is not None:
            _branch(branch, below, child.id)
            continue
        shutdown = f"{child.shutdown:g} s" if isinstance(child.shutdown, int | float) else child.shutdown
        what = f"{child.start.__module__}:{child.start.__qualname__}"
        line = as_text(child.id).append(visible(f"  {what}  {child.restart}, shutdown {shutdown}"), style="dim")
        branch.add(line)


@app.command()
def top(
    node: Annotated[str | None, typer.Argument(help="Name of the node; needed only if several run here.")] = None,
    socket: Annotated[
        Path | None, typer.Option(help="The node's admin socket, if it is not in the usual place.")
    ] = None,
    sort: Annotated[Literal["cpu", "queue", "handled", "pid"], typer.Option(help="What comes first.")] = "cpu",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many actors are shown.")] = 30,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
) -> None:
    """Show the actors of a running node, live, read over its local admin socket.

    The socket is NAME.sock in $XDG_RUNTIME_DIR/wsactors, or in /run/wsactors for root, or in /tmp/wsactors-UID.
    """
    from wsactors.node.top import NoNode, Query, watch

    try:
        watch(Query(node=node, socket=socket, sort=sort, limit=limit), None if once else interval)
    except NoNode as error:
        fail(str(error), ExitCode.NO_NODE)
    except KeyboardInterrupt:
        return


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create; its name names the package.")],
) -> None:
    """Create a minimal project that embeds the actor runtime, with a supervision tree and a test."""
    from wsactors.node.scaffold import ScaffoldError, create_project

    try:
        written = create_project(folder)
    except ScaffoldError as error:
        fail(str(error), ExitCode.USAGE)
    except OSError as error:
        fail(f"{folder}: {error.strerror or error}", ExitCode.USAGE)
    for path in written:
        typer.echo(visible(path))
    package = next(path.parent.name for path in written if path.name == "__main__.py")
    typer.echo(f"\nTry it:  cd {visible(folder)} && python -m {package}")


@config_app.command("check", epilog=EXIT_CODES)
def config_check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check a configuration and the supervisor files it names, and print the effective settings. Starts nothing."""
    from wsactors.node.confdoc import effective_toml

    settings = read_settings(config, list(overrides or ()))
    trees = read_trees(settings)
    typer.echo(effective_toml(settings), nl=False)
    children = sum(1 for spec in trees for _ in spec.walk())
    typer.echo(f"\n# {visible(config)}: fine; {len(trees)} supervisor file(s), {children} children", err=True)


@config_app.command("defaults")
def config_defaults() -> None:
    """Print a complete configuration file with every default, each explained."""
    from wsactors.node.confdoc import defaults_toml

    typer.echo(defaults_toml(), nl=False)


@config_app.command("doc")
def config_doc() -> None:
    """Print the reference of all settings, as Markdown."""
    from wsactors.node.confdoc import reference_markdown

    typer.echo(reference_markdown(), nl=False)
