"""Every public exception of the runtime, and whose fault each one is.

::

    WsactorsError
    ├── CallExit                 the callee did not answer; ``.reason`` is its exit reason
    │   ├── CallTimeout          it did not answer in time
    │   ├── NoProcess            there is nobody at that address
    │   └── CallingSelf          you called yourself: a deadlock, refused
    ├── MailboxFull              the target's mailbox refused the request: slow down, retry or shed
    ├── StartError               ``init`` raised, stopped or was killed; nothing was left behind
    │   ├── Ignored              ``init`` returned ``Ignore()``
    │   ├── StartTimeout         ``init`` took longer than the starter allowed
    │   └── NameTaken            the name belongs to a live actor; ``.pid`` says which
    ├── NodeError
    │   ├── NodeClosed           the node is not running (not yet, or not any more)
    │   ├── NodeNameTaken        two live nodes of one name in one process
    │   ├── AmbiguousNode        a name was given where several nodes are open: use ``node.call(...)``
    │   └── NodeFailed           the node's root supervisor gave up; ``.reason`` says why
    ├── SpecError                a child spec or supervisor option is wrong; nothing was started
    ├── ChildError               a supervisor declined a request about a child; ``.reason`` is OTP's word for it
    ├── TreeError                a supervisor file is wrong; ``.faults`` lists every fault, nothing was started
    ├── ConfigError              a node's configuration is wrong; ``.faults`` lists every fault, nothing was started
    ├── NotInActor               the function needs to be called from an actor (or use ``node.attach()``)
    ├── CodeChangeFailed         new code could not be loaded; the old one goes on
    ├── ScopeLeak                a handler left a cancel scope or nursery open after its turn
    ├── MutableMessage           debug mode: the message could be changed after it was sent
    ├── BadResult                a handler returned something outside the result vocabulary
    ├── OpusError                libopus refused: a damaged packet, or a control it does not know
    ├── OpusUnavailable          no libopus on this machine; says what to install
    ├── SongError
    │   ├── SongRefused          the file may not be played: outside the folder, no audio file, over a limit
    │   ├── SongUnreadable       an audio file, but damaged beyond use
    │   ├── DecodeFailed         the decoder was stopped (time, memory) or died; the file is suspect
    │   ├── AnalysisFailed       the analysis was stopped (time, memory) or died; the song can be played without
    │   └── SongUnknown          no song has this id
    ├── TableError
    │   ├── TableGone            the table was dropped, or died with its owner
    │   ├── TableAccess          this actor may not do that to the table: it is not the owner
    │   ├── TableNameTaken       another live table has the name
    │   ├── TableFull            the table is at max_rows (or the node at its number of tables); nothing was written
    │   ├── TableKindError       this kind of table (set, bag ...) has no such operation
    │   ├── NoSuchTable          no live table has this name
    │   ├── NoSuchKey            the operation needs a row with this key
    │   ├── BadKey               the value cannot be a key: wrong type, NaN, nested too deep
    │   ├── BadRow               a row, position or counter operation has the wrong shape
    │   └── BadPattern           a pattern, guard or template is not well formed
    ├── CatalogueUnusable        the file of songs' analyses cannot be opened, read or written; says what to do
    ├── NoSuchSession            no session of that name can be joined now
    └── RenderFault              the render process broke its protocol, stalled or died
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class WsactorsError(Exception):
    """Base of every exception this library raises on purpose."""


class CallExit(WsactorsError):
    """A ``call`` ended without an answer because of the callee.

    ``reason`` is the exit reason (``"noproc"``, ``"timeout"``, ``"killed"``, a ``Crash`` ...); ``target`` is what was called.
    """

    def __init__(self, reason: Any, target: object = None) -> None:
        super().__init__(reason, target)
        self.reason = reason
        self.target = target

    def __str__(self) -> str:
        return f"call to {self.target} failed: {self.reason}"


class CallTimeout(CallExit):
    """The callee did not answer within the caller's time-out. A late answer is dropped."""

    def __init__(self, target: object = None) -> None:
        super().__init__("timeout", target)

    def __str__(self) -> str:
        return f"call to {self.target} timed out; raise timeout=, or make the callee answer faster"


class NoProcess(CallExit):
    """Nobody lives at the address: the actor is dead or the name is not registered."""

    def __init__(self, target: object = None) -> None:
        super().__init__("noproc", target)

    def __str__(self) -> str:
        return f"no live actor at {self.target}"


class CallingSelf(CallExit):
    """An actor called itself, which could never be answered. Use a method, or ``cast``."""

    def __init__(self, target: object = None) -> None:
        super().__init__("calling_self", target)


class MailboxFull(WsactorsError):
    """The target's mailbox is at its limit and refused the request; nothing was queued."""


class StartError(WsactorsError):
    """The child's ``init`` did not succeed. ``reason`` is its exit reason; no name, link or monitor was left behind."""

    def __init__(self, reason: Any, what: object = None) -> None:
        super().__init__(reason, what)
        self.reason = reason
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} did not start: {self.reason}"


class Ignored(StartError):
    """``init`` returned ``Ignore()``: the child declined to run, which is not a failure to a supervisor."""

    def __init__(self, what: object = None) -> None:
        super().__init__("ignore", what)


class StartTimeout(StartError):
    """``init`` was still running when the starter's ``timeout`` passed; the child was killed."""

    def __init__(self, what: object = None) -> None:
        super().__init__("timeout", what)


class NameTaken(StartError):
    """The name is registered to another live actor (``pid``)."""

    def __init__(self, name: object, pid: object) -> None:
        super().__init__(("already_started", pid), name)
        self.name = name
        self.pid = pid

    def __str__(self) -> str:
        return f"the name {self.name!r} belongs to {self.pid}; choose another, or stop that actor first"


class NodeError(WsactorsError):
    """Something about a node as a whole."""


class NodeClosed(NodeError):
    """The node is not open: enter ``async with Node(...)`` first, or it has already stopped."""


class NodeNameTaken(NodeError):
    """A live node of this process already has the name; names tell pids of two nodes apart."""


class AmbiguousNode(NodeError):
    """A registered name was used outside an actor while no node, or several, are open: use ``node.call`` and friends."""


class NodeFailed(NodeError):
    """The node's root supervisor gave up. ``reason`` is its exit reason."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the node's root supervisor gave up: {self.reason}"


class ConfigError(WsactorsError):
    """The configuration of a node is wrong, and nothing was started. Mend every fault in ``faults`` and start again."""

    def __init__(self, faults: Iterable[object]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class NotInActor(WsactorsError):
    """Called from a task that is no actor. Use the node's method of the same name, or ``async with node.attach() as me``."""


class CodeChangeFailed(WsactorsError):
    """A module could not be loaded anew: no source, a syntax error, or it raised. Mend it, try again; nothing has changed."""


class ScopeLeak(WsactorsError):
    """A handler ended with a cancel scope or nursery still open.

    What is opened in a handler must be closed in the same handler: the task belongs to the scheduler, not to the actor.
    For work that lives longer use ``self.start_soon(fn, *args)`` or a ``ProcessActor``.
    """


class MutableMessage(WsactorsError):
    """Debug mode refuses a message that its sender could still change. Send tuples, strings, bytes, numbers or frozen attrs."""


class BadResult(WsactorsError):
    """A handler returned a value outside the closed result vocabulary (``NoReply``, ``Reply``, ``Stop``, ...)."""


class OpusError(WsactorsError):
    """libopus refused what it was given. After a damaged packet the decoder stays usable: conceal it with ``decode(None)``."""


class OpusUnavailable(WsactorsError):
    """No usable libopus was found. The message says what to install."""


class SongError(WsactorsError):
    """A song could not be had. The message may be shown to whoever asked for it: it names no path of this machine."""


class SongRefused(SongError):
    """The file may not be played, by rule: outside its folder, not a plain file, not an allowed format, over a limit."""


class SongUnreadable(SongError):
    """The file claims to be audio but cannot be decoded. Try it in another player; it is probably damaged or cut short."""


class DecodeFailed(SongError):
    """The decoding process ran out of its time or memory, or died. The node is unharmed; treat the file as hostile."""


class AnalysisFailed(SongError):
    """The analysing process ran out of its time or memory, or died. The node is unharmed, and the song can be played."""


class SongUnknown(SongError):
    """No song has this id: it was never in the library, or its folder has been scanned again since."""


class CatalogueUnusable(WsactorsError):
    """The file in which songs' analyses are kept cannot be opened, read or written. The message says what to do."""


class RenderFault(WsactorsError):
    """The render process broke its protocol, stopped sending or died. Its host crashes with this and is restarted."""


class SpecError(WsactorsError, ValueError):
    """A child spec or a supervisor's options break a rule. The text says which rule; nothing was started."""


class ChildError(WsactorsError):
    """A supervisor declined a request about one of its children and changed nothing.

    ``reason`` is OTP's word: ``"not_found"``, ``"already_present"``, ``("already_started", pid)``, ``"running"``,
    ``"restarting"`` or ``"max_children"``; the text says what to do instead.
    """

    def __init__(self, reason: object, advice: str) -> None:
        super().__init__(reason, advice)
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        return self.advice


class TreeFault:
    """One thing that is wrong with a supervisor file: which ``file``, the ``key`` path in it, and what was expected."""

    __slots__ = ("file", "key", "message")

    def __init__(self, file: str, key: str, message: str) -> None:
        self.file = file
        self.key = key
        self.message = message

    def __repr__(self) -> str:
        return f"TreeFault({self.file!r}, {self.key!r}, {self.message!r})"

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.message}" if self.key else f"{self.file}: {self.message}"


class TreeError(WsactorsError):
    """Supervisor files are wrong, and nothing was started. Mend every fault listed in ``faults`` and load them again."""

    def __init__(self, faults: Iterable[TreeFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class TableError(WsactorsError):
    """A table refused an operation, and is as it was before. The caller's fault unless a subclass says otherwise."""


class TableGone(TableError):
    """The table does not exist any more: it was dropped, or its owner died without an heir. Make a new one."""


class TableAccess(TableError):
    """The calling actor may not do this. Only the owner writes a protected table and reads a private one."""


class TableNameTaken(TableError):
    """Another live table of this node has the name. Choose another, or drop that table first."""


class TableFull(TableError):
    """The table is at its ``max_rows``, or the node at its number of tables. Nothing was written: delete some or allow more."""


class TableKindError(TableError):
    """This kind of table has no such operation: a bag has no counters, a set has no ranges."""


class NoSuchTable(TableError, LookupError):
    """No live table of this node has the name."""


class NoSuchKey(TableError, LookupError):
    """The operation needs a row with this key, and there is none (or it has expired)."""


class BadKey(TableError, TypeError):
    """The value cannot be a table key. The text says what can."""


class BadRow(TableError, TypeError):
    """A row, a position in a row or an operation on a counter has the wrong shape. The text says what was expected."""


class BadPattern(TableError, TypeError):
    """A pattern, guard or result template is not well formed. The text says what was expected."""


class NoSuchSession(WsactorsError):
    """No session of that name can be joined now: there is none, or it is full. Ask for the list of sessions."""
