"""The actor runtime: actors without tasks, mailboxes, links and monitors, names, groups, timers and tables."""

from wsactors.actors.actor import Actor, TimerRef
from wsactors.actors.agent import Agent
from wsactors.actors.calls import RequestId, call, cast, reply, send, send_many, send_request
from wsactors.actors.groups import GroupChange, GroupRef, Groups, Member
from wsactors.actors.introspection import (
    State,
    Status,
    get_state,
    replace_state,
    resume,
    status,
    suspend,
    suspended,
    trace,
    untrace,
)
from wsactors.actors.kind import Mailbox
from wsactors.actors.last_step import at_death, not_at_death
from wsactors.actors.machine_results import (
    Answer,
    EventTimeout,
    KeepState,
    NamedTimeout,
    NextEvent,
    NextState,
    Postpone,
    RepeatState,
    StateTimeout,
    StopAndReply,
)
from wsactors.actors.messages import (
    UNHANDLED,
    Continue,
    Crash,
    Down,
    Exit,
    IdleAfter,
    Ignore,
    NoReply,
    Reply,
    Response,
    Stop,
    Timeout,
    is_normal,
)
from wsactors.actors.monitors import MonitorRef
from wsactors.actors.patterns import ANY, ROW, V
from wsactors.actors.pid import NameRegistry, Pid, Target, Via
from wsactors.actors.process_actor import Attached, ProcessActor
from wsactors.actors.ratelimit import TokenBuckets
from wsactors.actors.registry import Registry
from wsactors.actors.requests import Request
from wsactors.actors.runtime import Runtime
from wsactors.actors.semaphore import Semaphores
from wsactors.actors.state_machine import StateMachine
from wsactors.actors.statistics import Branch, NodeInfo, ProcessInfo
from wsactors.actors.table import Table
from wsactors.actors.table_changes import Subscription
from wsactors.actors.table_reads import END
from wsactors.actors.table_spec import TableChange, TableInfo, TableTransfer
from wsactors.actors.tables import Tables
from wsactors.actors.task_stream import TaskStream
from wsactors.actors.task_supervisor import Outcome, Task, TaskSupervisor
from wsactors.actors.term_order import HIGHEST, LOWEST
from wsactors.actors.threads import FromThread
from wsactors.actors.tracing import TraceEvent, Tracer

Caller = Request
"""What ``handle_call`` gets as its second argument: hand it to ``reply`` to answer later."""

__all__ = [
    "ANY",
    "END",
    "HIGHEST",
    "LOWEST",
    "ROW",
    "UNHANDLED",
    "Actor",
    "Agent",
    "Answer",
    "Attached",
    "Branch",
    "Caller",
    "Continue",
    "Crash",
    "Down",
    "EventTimeout",
    "Exit",
    "FromThread",
    "GroupChange",
    "GroupRef",
    "Groups",
    "IdleAfter",
    "Ignore",
    "KeepState",
    "Mailbox",
    "Member",
    "MonitorRef",
    "NameRegistry",
    "NamedTimeout",
    "NextEvent",
    "NextState",
    "NoReply",
    "NodeInfo",
    "Outcome",
    "Pid",
    "Postpone",
    "ProcessActor",
    "ProcessInfo",
    "Registry",
    "RepeatState",
    "Reply",
    "Request",
    "RequestId",
    "Response",
    "Runtime",
    "Semaphores",
    "State",
    "StateMachine",
    "StateTimeout",
    "Status",
    "Stop",
    "StopAndReply",
    "Subscription",
    "Table",
    "TableChange",
    "TableInfo",
    "TableTransfer",
    "Tables",
    "Target",
    "Task",
    "TaskStream",
    "TaskSupervisor",
    "Timeout",
    "TimerRef",
    "TokenBuckets",
    "TraceEvent",
    "Tracer",
    "V",
    "Via",
    "at_death",
    "call",
    "cast",
    "get_state",
    "is_normal",
    "not_at_death",
    "replace_state",
    "reply",
    "resume",
    "send",
    "send_many",
    "send_request",
    "status",
    "suspend",
    "suspended",
    "trace",
    "untrace",
]
