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
    from wsactors.actors import ANY as ANY
    from wsactors.actors import END as END
    from wsactors.actors import HIGHEST as HIGHEST
    from wsactors.actors import LOWEST as LOWEST
    from wsactors.actors import ROW as ROW
    from wsactors.actors import UNHANDLED as UNHANDLED
    from wsactors.actors import Actor as Actor
    from wsactors.actors import Agent as Agent
    from wsactors.actors import Answer as Answer
    from wsactors.actors import Attached as Attached
    from wsactors.actors import Branch as Branch
    from wsactors.actors import Caller as Caller
    from wsactors.actors import Continue as Continue
    from wsactors.actors import Crash as Crash
    from wsactors.actors import Down as Down
    from wsactors.actors import EventTimeout as EventTimeout
    from wsactors.actors import Exit as Exit
    from wsactors.actors import GroupChange as GroupChange
    from wsactors.actors import GroupRef as GroupRef
    from wsactors.actors import IdleAfter as IdleAfter
    from wsactors.actors import Ignore as Ignore
    from wsactors.actors import KeepState as KeepState
    from wsactors.actors import Mailbox as Mailbox
    from wsactors.actors import Member as Member
    from wsactors.actors import MonitorRef as MonitorRef
    from wsactors.actors import NamedTimeout as NamedTimeout
    from wsactors.actors import NameRegistry as NameRegistry
    from wsactors.actors import NextEvent as NextEvent
    from wsactors.actors import NextState as NextState
    from wsactors.actors import NodeInfo as NodeInfo
    from wsactors.actors import NoReply as NoReply
    from wsactors.actors import Outcome as Outcome
    from wsactors.actors import Pid as Pid
    from wsactors.actors import Postpone as Postpone
    from wsactors.actors import ProcessActor as ProcessActor
    from wsactors.actors import ProcessInfo as ProcessInfo
    from wsactors.actors import Registry as Registry
    from wsactors.actors import RepeatState as RepeatState
    from wsactors.actors import Reply as Reply
    from wsactors.actors import Request as Request
    from wsactors.actors import RequestId as RequestId
    from wsactors.actors import Response as Response
    from wsactors.actors import Semaphores as Semaphores
    from wsactors.actors import State as State
    from wsactors.actors import StateMachine as StateMachine
    from wsactors.actors import StateTimeout as StateTimeout
    from wsactors.actors import Status as Status
    from wsactors.actors import Stop as Stop
    from wsactors.actors import StopAndReply as StopAndReply
    from wsactors.actors import Subscription as Subscription
    from wsactors.actors import Table as Table
    from wsactors.actors import TableChange as TableChange
    from wsactors.actors import TableInfo as TableInfo
    from wsactors.actors import TableTransfer as TableTransfer
    from wsactors.actors import Target as Target
    from wsactors.actors import Task as Task
    from wsactors.actors import TaskStream as TaskStream
    from wsactors.actors import TaskSupervisor as TaskSupervisor
    from wsactors.actors import Timeout as Timeout
    from wsactors.actors import TimerRef as TimerRef
    from wsactors.actors import TokenBuckets as TokenBuckets
    from wsactors.actors import TraceEvent as TraceEvent
    from wsactors.actors import Tracer as Tracer
    from wsactors.actors import V as V
    from wsactors.actors import Via as Via
    from wsactors.actors import at_death as at_death
    from wsactors.actors import call as call
    from wsactors.actors import cast as cast
    from wsactors.actors import get_state as get_state
    from wsactors.actors import is_normal as is_normal
    from wsactors.actors import not_at_death as not_at_death
    from wsactors.actors import replace_state as replace_state
    from wsactors.actors import reply as reply
    from wsactors.actors import resume as resume
    from wsactors.actors import send as send
    from wsactors.actors import send_many as send_many
    from wsactors.actors import send_request as send_request
    from wsactors.actors import status as status
    from wsactors.actors import suspend as suspend
    from wsactors.actors import suspended as suspended
    from wsactors.actors import trace as trace
    from wsactors.actors import untrace as untrace
    from wsactors.errors import AmbiguousNode as AmbiguousNode
    from wsactors.errors import AnalysisFailed as AnalysisFailed
    from wsactors.errors import BadKey as BadKey
    from wsactors.errors import BadPattern as BadPattern
    from wsactors.errors import BadResult as BadResult
    from wsactors.errors import BadRow as BadRow
    from wsactors.errors import CallExit as CallExit
    from wsactors.errors import CallingSelf as CallingSelf
    from wsactors.errors import CallTimeout as CallTimeout
    from wsactors.errors import CatalogueUnusable as CatalogueUnusable
    from wsactors.errors import ChildError as ChildError
    from wsactors.errors import CodeChangeFailed as CodeChangeFailed
    from wsactors.errors import ConfigError as ConfigError
    from wsactors.errors import DecodeFailed as DecodeFailed
    from wsactors.errors import Ignored as Ignored
    from wsactors.errors import MailboxFull as MailboxFull
    from wsactors.errors import MutableMessage as MutableMessage
    from wsactors.errors import NameTaken as NameTaken
    from wsactors.errors import NodeClosed as NodeClosed
    from wsactors.errors import NodeError as NodeError
    from wsactors.errors import NodeFailed as NodeFailed
    from wsactors.errors import NodeNameTaken as NodeNameTaken
    from wsactors.errors import NoProcess as NoProcess
    from wsactors.errors import NoSuchKey as NoSuchKey
    from wsactors.errors import NoSuchSession as NoSuchSession
    from wsactors.errors import NoSuchTable as NoSuchTable
    from wsactors.errors import NotInActor as NotInActor
    from wsactors.errors import OpusError as OpusError
    from wsactors.errors import OpusUnavailable as OpusUnavailable
    from wsactors.errors import RenderFault as RenderFault
    from wsactors.errors import ScopeLeak as ScopeLeak
    from wsactors.errors import SongError as SongError
    from wsactors.errors import SongRefused as SongRefused
    from wsactors.errors import SongUnknown as SongUnknown
    from wsactors.errors import SongUnreadable as SongUnreadable
    from wsactors.errors import SpecError as SpecError
    from wsactors.errors import StartError as StartError
    from wsactors.errors import StartTimeout as StartTimeout
    from wsactors.errors import TableAccess as TableAccess
    from wsactors.errors import TableError as TableError
    from wsactors.errors import TableFull as TableFull
    from wsactors.errors import TableGone as TableGone
    from wsactors.errors import TableKindError as TableKindError
    from wsactors.errors import TableNameTaken as TableNameTaken
    from wsactors.errors import TreeError as TreeError
    from wsactors.errors import WsactorsError as WsactorsError
    from wsactors.realtime import AuthRefused as AuthRefused
    from wsactors.realtime import Channel as Channel
    from wsactors.realtime import Credentials as Credentials
    from wsactors.realtime import JoinRefused as JoinRefused
    from wsactors.realtime import Position as Position
    from wsactors.realtime import PresenceDiff as PresenceDiff
    from wsactors.realtime import Publication as Publication
    from wsactors.realtime import PublishRefused as PublishRefused
    from wsactors.realtime import Realtime as Realtime
    from wsactors.realtime import RealtimeOptions as RealtimeOptions
    from wsactors.realtime import TopicOptions as TopicOptions
    from wsactors.realtime import User as User
    from wsactors.realtime import start_realtime as start_realtime
    from wsactors.supervision import Backoff as Backoff
    from wsactors.supervision import ChildCount as ChildCount
    from wsactors.supervision import ChildInfo as ChildInfo
    from wsactors.supervision import ChildSpec as ChildSpec
    from wsactors.supervision import DynamicSupervisor as DynamicSupervisor
    from wsactors.supervision import Node as Node
    from wsactors.supervision import Partitions as Partitions
    from wsactors.supervision import PartitionSupervisor as PartitionSupervisor
    from wsactors.supervision import Supervisor as Supervisor
    from wsactors.supervision import SupervisorOptions as SupervisorOptions
    from wsactors.supervision import TreeSpec as TreeSpec
    from wsactors.supervision import count_children as count_children
    from wsactors.supervision import delete_child as delete_child
    from wsactors.supervision import get_child_spec as get_child_spec
    from wsactors.supervision import load_tree as load_tree
    from wsactors.supervision import restart_child as restart_child
    from wsactors.supervision import start_child as start_child
    from wsactors.supervision import start_tree as start_tree
    from wsactors.supervision import terminate_child as terminate_child
    from wsactors.supervision import which_children as which_children

_HOME = {
    "wsactors.actors": (
        "ANY END HIGHEST LOWEST ROW UNHANDLED V Actor Agent Answer Attached Branch Caller Continue Crash Down "
        "EventTimeout Exit GroupChange GroupRef IdleAfter Ignore KeepState Mailbox Member MonitorRef NamedTimeout "
        "NameRegistry NextEvent NextState NodeInfo NoReply Outcome Pid Postpone ProcessActor ProcessInfo Registry "
        "RepeatState Reply Request RequestId Response Semaphores State StateMachine StateTimeout Status Stop "
        "StopAndReply Subscription Table TableChange TableInfo TableTransfer Target Task TaskStream TaskSupervisor "
        "Timeout TimerRef TokenBuckets TraceEvent Tracer Via at_death call cast get_state is_normal not_at_death "
        "replace_state reply resume send send_many send_request status suspend suspended trace untrace"
    ),
    "wsactors.errors": (
        "WsactorsError CallExit CallTimeout NoProcess CallingSelf MailboxFull StartError Ignored StartTimeout "
        "NameTaken NodeError NodeClosed NodeNameTaken AmbiguousNode NodeFailed ConfigError NotInActor "
        "CodeChangeFailed ScopeLeak MutableMessage BadResult OpusError OpusUnavailable SongError SongRefused "
        "SongUnreadable DecodeFailed AnalysisFailed SongUnknown CatalogueUnusable RenderFault SpecError ChildError "
        "TreeError TableError TableGone TableAccess TableNameTaken TableFull TableKindError NoSuchTable NoSuchKey "
        "BadKey BadRow BadPattern NoSuchSession"
    ),
    "wsactors.realtime": (
        "AuthRefused Channel Credentials JoinRefused Position PresenceDiff Publication PublishRefused Realtime "
        "RealtimeOptions TopicOptions User start_realtime"
    ),
    "wsactors.supervision": (
        "Backoff ChildCount ChildInfo ChildSpec DynamicSupervisor Node Partitions PartitionSupervisor Supervisor "
        "SupervisorOptions TreeSpec count_children delete_child get_child_spec load_tree restart_child start_child "
        "start_tree terminate_child which_children"
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
