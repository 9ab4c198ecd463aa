# The import rule. A package imports only packages with a lower number; siblings on one level do not see each other;
# L0 imports no Trio, clock, socket or randomness; nobody inside imports this root package. tests/test_layers.py checks.
#
#   L0  errors  crdt  dsp  wire      pure: bytes, values and `now` in, values out
#   L1  actors                       pids, mailboxes, the scheduler, tables
#   L2  supervision                  restart policy, supervisors, tree files, Node
#   L3  cluster                      many machines
#   L4  realtime  media              topics and presence; Opus, tracks, QUIC
#   L5  dj  store                    decks and the mixer; messages on disk
#   L6  sessions                     sessions, listeners, stage, soundboard
#   L7  gateway  client              one port in; the client that talks to it
#   L8  node                         config, boot, command line
#   L9  loadtest                     thousands of listeners
"""Erlang-style actors on Trio, and on them a live-audio platform.

The names below are the friendly API; each is imported when first used, so ``import wsactors`` costs next to nothing::

    async with wsactors.Node("demo") as node:
        pid = await node.spawn(Counter, 1)
        assert await wsactors.call(pid, ("add", 2), timeout=5) == 3
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wsactors.actors import UNHANDLED as UNHANDLED
    from wsactors.actors import Actor as Actor
    from wsactors.actors import Agent as Agent
    from wsactors.actors import Answer as Answer
    from wsactors.actors import Caller as Caller
    from wsactors.actors import Continue as Continue
    from wsactors.actors import Crash as Crash
    from wsactors.actors import Down as Down
    from wsactors.actors import EventTimeout as EventTimeout
    from wsactors.actors import Exit as Exit
    from wsactors.actors import IdleAfter as IdleAfter
    from wsactors.actors import Ignore as Ignore
    from wsactors.actors import KeepState as KeepState
    from wsactors.actors import Mailbox as Mailbox
    from wsactors.actors import MonitorRef as MonitorRef
    from wsactors.actors import NamedTimeout as NamedTimeout
    from wsactors.actors import NextEvent as NextEvent
    from wsactors.actors import NextState as NextState
    from wsactors.actors import NoReply as NoReply
    from wsactors.actors import Pid as Pid
    from wsactors.actors import Postpone as Postpone
    from wsactors.actors import ProcessActor as ProcessActor
    from wsactors.actors import RepeatState as RepeatState
    from wsactors.actors import Reply as Reply
    from wsactors.actors import StateMachine as StateMachine
    from wsactors.actors import StateTimeout as StateTimeout
    from wsactors.actors import Stop as Stop
    from wsactors.actors import StopAndReply as StopAndReply
    from wsactors.actors import TaskSupervisor as TaskSupervisor
    from wsactors.actors import Via as Via
    from wsactors.actors import call as call
    from wsactors.actors import cast as cast
    from wsactors.actors import reply as reply
    from wsactors.actors import send as send
    from wsactors.actors import send_many as send_many
    from wsactors.actors import send_request as send_request
    from wsactors.errors import AmbiguousNode as AmbiguousNode
    from wsactors.errors import CallExit as CallExit
    from wsactors.errors import CallingSelf as CallingSelf
    from wsactors.errors import CallTimeout as CallTimeout
    from wsactors.errors import ChildError as ChildError
    from wsactors.errors import ConfigError as ConfigError
    from wsactors.errors import Ignored as Ignored
    from wsactors.errors import MailboxFull as MailboxFull
    from wsactors.errors import NameTaken as NameTaken
    from wsactors.errors import NodeClosed as NodeClosed
    from wsactors.errors import NodeFailed as NodeFailed
    from wsactors.errors import NoProcess as NoProcess
    from wsactors.errors import NotInActor as NotInActor
    from wsactors.errors import SpecError as SpecError
    from wsactors.errors import StartError as StartError
    from wsactors.errors import StartTimeout as StartTimeout
    from wsactors.errors import TreeError as TreeError
    from wsactors.errors import WsactorsError as WsactorsError
    from wsactors.supervision import ChildSpec as ChildSpec
    from wsactors.supervision import DynamicSupervisor as DynamicSupervisor
    from wsactors.supervision import Node as Node
    from wsactors.supervision import PartitionSupervisor as PartitionSupervisor
    from wsactors.supervision import Supervisor as Supervisor
    from wsactors.supervision import TreeSpec as TreeSpec
    from wsactors.supervision import load_tree as load_tree

_HOME = {
    "wsactors.actors": (
        "UNHANDLED Actor Agent Answer Caller Continue Crash Down EventTimeout Exit IdleAfter Ignore KeepState Mailbox "
        "MonitorRef NamedTimeout NextEvent NextState NoReply Pid Postpone ProcessActor RepeatState Reply StateMachine "
        "StateTimeout Stop StopAndReply TaskSupervisor Via call cast reply send send_many send_request"
    ),
    "wsactors.errors": (
        "AmbiguousNode CallExit CallTimeout CallingSelf ChildError ConfigError Ignored MailboxFull NameTaken "
        "NoProcess NodeClosed NodeFailed NotInActor SpecError StartError StartTimeout TreeError WsactorsError"
    ),
    "wsactors.supervision": (
        "ChildSpec DynamicSupervisor Node PartitionSupervisor Supervisor TreeSpec load_tree"
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [  # noqa: PLE0604 - drawn from the table above; a test holds the re-exports above against it
    "__version__",
    *sorted(_MODULE_OF),
]


def __getattr__(name: str) -> object:
    """Import the module that owns ``name`` and hand out the name (PEP 562)."""
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module 'wsactors' has no attribute {name!r}") from None
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
