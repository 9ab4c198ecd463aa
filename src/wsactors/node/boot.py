"""Boots a node from its settings, keeps it until it is told to stop, and says how it ended.

What belongs to a whole process happens here and nowhere else: logging, signals, the garbage collector. An embedded node does
none of it.
"""

from __future__ import annotations

import functools
import gc
import json
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import structlog
import trio

from wsactors.errors import ConfigError, NodeFailed, StartError
from wsactors.node import context as contexts
from wsactors.node.causes import cause
from wsactors.node.cli import ExitCode
from wsactors.node.context import NodeContext
from wsactors.node.logs import set_level, set_up_logging
from wsactors.node.reload import applied, changed_keys
from wsactors.node.settings import NodeSettings, Settings
from wsactors.node.signals import Told, signals
from wsactors.node.terminal import visible
from wsactors.supervision import Node, TreeSpec

__all__ = ["Launch", "run_node", "serve"]

_log = structlog.get_logger(__name__)


# A node holds many objects and makes few garbage cycles. A collection of the young or the middle takes as long as there are of
# them, so those stay few (7,000 held the loop for 2 ms while actors died in masses, 50,000 for 8 ms); one of the old looks at
# every actor (0.2 s at 100,000), so it hardly ever happens.
MIDDLE_EVERY: Final = 2
"""Collections of the young after which the middle generation is collected too."""
OLD_EVERY: Final = 5_000
"""Collections of the middle generation after which the old one is collected too."""


@attrs.frozen
class Launch:
    """One start of a node."""

    settings: Settings
    trees: Sequence[TreeSpec]
    reread: Callable[[], Settings]
    """Reads the configuration again, for SIGHUP. Raises ConfigError if it is wrong now."""
    print_addresses: bool = False
    """Print the addresses as one JSON line on standard output, once the node is ready."""
    say: Callable[[str], object] = functools.partial(print, flush=True)
    """Where the addresses go."""


def run_node(launch: Launch) -> ExitCode:
    """Boot a node in this process and stay until it has stopped."""
    set_up_logging(launch.settings.logging)
    gc.set_threshold(launch.settings.node.gc_threshold, MIDDLE_EVERY, OLD_EVERY)
    return trio.run(serve, launch)


async def serve(launch: Launch) -> ExitCode:
    """The node's whole life, with this process's signals."""
    with signals() as told:
        return await live(launch, told)


async def live(launch: Launch, told: Told) -> ExitCode:
    """The node's whole life; ``told`` says when to stop and when to read the settings again."""
    settings = launch.settings.node
    context = NodeContext(launch.settings, booted=trio.current_time())
    contexts.provide(settings.name, context)
    try:
        async with new_node(settings) as node:
            with told.until_stop():
                for tree in launch.trees:
                    await node.start_tree(tree)
                _up(launch, context)
                while True:
                    await told.wait_reload()
                    reload(launch, context)
            context.health.phase = "draining"
            _log.info("stopping", node=settings.name, signal=told.stop_signal)
            await trio.sleep(settings.drain_seconds)
    except StartError as error:
        _log.critical("the node could not start", node=settings.name, reason=cause(error.reason))
        return ExitCode.NOT_STARTED
    except NodeFailed as failed:
        _log.critical("the node failed: its root supervisor gave up", node=settings.name, reason=cause(failed.reason))
        return ExitCode.NODE_FAILED
    finally:
        contexts.forget(settings.name)
    _log.info("stopped", node=settings.name)
    return ExitCode.OK


def new_node(settings: NodeSettings) -> Node:
    """The node that its settings describe, still to be entered."""
    return Node(
        settings.name,
        shutdown_timeout=settings.shutdown_timeout,
        debug=settings.debug,
        watchdog=settings.watchdog_seconds or None,
    )


def _up(launch: Launch, context: NodeContext) -> None:
    """Every tree is up: say so to balancers, people and programs."""
    context.health.phase = "ready"
    if launch.settings.node.gc_freeze:
        gc.collect()
        gc.freeze()
    _log.info("ready", node=launch.settings.node.name, admin=str(context.admin))
    if launch.print_addresses:
        launch.say(json.dumps(context.addresses()))
    else:
        for line in context.greetings():
            launch.say(visible(line, 1_000))


def reload(launch: Launch, context: NodeContext) -> None:
    """Take over the live settings as the configuration says them now; what is not live is named and waits for a restart."""
    try:
        new = launch.reread()
    except ConfigError as error:
        _log.error("the configuration is wrong now; nothing was changed", faults=str(error))
        return
    changed = list(changed_keys(context.settings, new))
    context.settings = applied(context.settings, new)
    set_level(context.settings.logging.level)
    for reread in context.reloads.values():
        reread()
    live_keys = [key for key, is_live in changed if is_live]
    waiting = [key for key, is_live in changed if not is_live]
    _log.info("configuration read again", changed=live_keys, waiting_for_restart=waiting)
