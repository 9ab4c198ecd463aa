"""What a supervisor is told: child specs, its own options, and the words both are made of. Pure: nothing here starts anything.

The words and defaults are those of OTP's ``supervisor``; a wrong word is a :class:`SpecError` that names the right ones.
"""

from __future__ import annotations

import builtins
import difflib
import math
import typing
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from wsactors.errors import SpecError

__all__ = [
    "AutoShutdown",
    "Backoff",
    "ChildSpec",
    "ChildType",
    "Restart",
    "Shutdown",
    "Strategy",
    "SupervisorOptions",
    "check_children",
    "did_you_mean",
]

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted with a crashed child: nobody else, everybody, or those started after it."""

Restart = Literal["permanent", "transient", "temporary"]
"""When a child is restarted: always, only when it ended abnormally, or never."""

Shutdown = float | Literal["brutal_kill", "infinity"]
"""Seconds a child has between the exit signal ``"shutdown"`` and the kill; or kill at once; or wait for ever."""

AutoShutdown = Literal["never", "any_significant", "all_significant"]
"""Whether the supervisor ends (reason ``"shutdown"``) with the first, or the last, of its significant children."""

ChildType = Literal["worker", "supervisor"]

STRATEGIES: Final[tuple[str, ...]] = typing.get_args(Strategy)
RESTARTS: Final[tuple[str, ...]] = typing.get_args(Restart)
AUTO_SHUTDOWNS: Final[tuple[str, ...]] = typing.get_args(AutoShutdown)
CHILD_TYPES: Final[tuple[str, ...]] = typing.get_args(ChildType)
SHUTDOWN_WORDS: Final = ("brutal_kill", "infinity")

WORKER_SHUTDOWN: Final = 5.0
"""Seconds a worker gets to stop (OTP: 5000 ms). A supervisor gets ``"infinity"``: its children have limits of their own."""

MAX_INTENSITY: Final = 1_000_000
"""Restarts a supervisor remembers at most; each costs one float."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``' Did you mean "permanent"?'`` for a slip of the keyboard, else the empty string."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f' Did you mean "{close[0]}"?' if close else ""


def wrong_word(word: object, known: tuple[str, ...]) -> str | None:
    """Why ``word`` is none of ``known``, or None if it is one."""
    if isinstance(word, str) and word in known:
        return None
    return f"expected one of {', '.join(known)}, got {word!r}.{did_you_mean(word, known)}"


def wrong_shutdown(value: object) -> str | None:
    """Why ``value`` is no ``shutdown``, or None if it is one."""
    if isinstance(value, str):
        if value in SHUTDOWN_WORDS:
            return None
    elif is_number(value) and 0 <= value < math.inf:
        return None
    return f'expected seconds (0 or more), "brutal_kill" or "infinity", got {value!r}.{did_you_mean(value, SHUTDOWN_WORDS)}'


def wrong_significance(*, significant: bool, restart: object, auto_shutdown: object = None) -> str | None:
    """Why the child may not be significant, or None. ``auto_shutdown=None`` means: the supervisor is not known yet."""
    if not significant:
        return None
    if restart == "permanent":
        return 'a permanent child is always restarted and so never significant: use restart "transient" or "temporary"'
    if auto_shutdown == "never":
        return 'the supervisor has auto_shutdown "never": set it to "any_significant" or "all_significant"'
    return None


def is_number(value: object) -> typing.TypeGuard[float]:
    """Whether ``value`` is an int or float; True and False are neither here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_between(value: object, low: float, high: float, unit: str) -> str | None:
    """Why ``value`` is no number in ``low <= value <= high``, or None if it is one."""
    if is_number(value) and low <= value <= high:
        return None
    above = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
    return f"expected {unit} ({above}), got {value!r}"


def _raise_if(subject: str, faults: Iterable[tuple[str, str | None]]) -> None:
    found = [f"{key}: {why}" for key, why in faults if why]
    if found:
        raise SpecError(f"{subject}: " + "; ".join(found))


@attrs.frozen
class Backoff:
    """Opt-in pause before a restart; OTP has none, so that a start that keeps failing burns its intensity in microseconds.

    The n-th restart in a row waits ``initial * factor ** n`` seconds, at most ``maximum``, shortened by a random share of up
    to ``jitter`` so that many actors that died together do not come back together. A child that then lives for
    ``reset_after`` seconds starts again at ``initial``. Every attempt still counts against the intensity, so give it one
    that lets the pauses work: with a pause of 1 s or more, ``intensity=5, period=60`` gives up after the fifth in a minute.
    """

    initial: float = 0.1
    """Seconds before the first restart."""
    maximum: float = 30.0
    """Seconds no pause exceeds."""
    factor: float = 2.0
    """How much longer each further pause is."""
    jitter: float = 0.2
    """Share of the pause (0 to 1) that chance may take off."""
    reset_after: float = 60.0
    """Seconds a child must live for its next pause to be ``initial`` again."""

    def __attrs_post_init__(self) -> None:
        _raise_if("backoff", self.faults(attrs.asdict(self)))

    @staticmethod
    def faults(values: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
        """Every key of ``values`` with what is wrong with it, if anything."""
        if "initial" in values:
            yield "initial", number_between(values["initial"], 0, 3_600, "seconds")
        if "maximum" in values:
            yield "maximum", number_between(values["maximum"], 0, 86_400, "seconds")
        if "factor" in values:
            yield "factor", number_between(values["factor"], 1, 100, "a factor")
        if "jitter" in values:
            yield "jitter", number_between(values["jitter"], 0, 1, "a share")
        if "reset_after" in values:
            yield "reset_after", number_between(values["reset_after"], 0, math.inf, "seconds")


@attrs.frozen
class SupervisorOptions:
    """A supervisor's own options: OTP's ``sup_flags`` and the opt-in ``backoff``."""

    strategy: Strategy = "one_for_one"
    intensity: int = 1
    """Restarts allowed in any ``period``; one more and the supervisor gives up, with exit reason ``"shutdown"``."""
    period: float = 5.0
    """Seconds."""
    auto_shutdown: AutoShutdown = "never"
    backoff: Backoff | None = None

    def __attrs_post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in attrs.fields(SupervisorOptions)}
        _raise_if("supervisor", self.faults(values))

    @staticmethod
    def faults(values: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
        """Every key of ``values`` with what is wrong with it, if anything. ``backoff`` is checked by its own class."""
        if "strategy" in values:
            yield "strategy", wrong_word(values["strategy"], STRATEGIES)
        if "intensity" in values:
            whole = isinstance(values["intensity"], int)
            why = number_between(values["intensity"], 0, MAX_INTENSITY, "a whole number of restarts")
            yield "intensity", why or (None if whole else f"expected a whole number, got {values['intensity']!r}")
        if "period" in values:
            why = number_between(values["period"], 0, math.inf, "seconds")
            yield "period", why or ("expected more than 0 seconds" if values["period"] == 0 else None)
        if "auto_shutdown" in values:
            yield "auto_shutdown", wrong_word(values["auto_shutdown"], AUTO_SHUTDOWNS)


@attrs.frozen(eq=False, repr=False)
class Kwargs(Mapping[str, Any]):
    """Keyword arguments that nobody can change later, so that a spec may be sent as a message."""

    pairs: tuple[tuple[str, Any], ...] = ()

    def __getitem__(self, name: str) -> Any:
        for key, value in self.pairs:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return repr(dict(self.pairs))


_NO_KWARGS: Final = Kwargs()
_HIDDEN: Final = {"secret": True}


def _fixed(kwargs: Mapping[str, Any]) -> Kwargs:
    if isinstance(kwargs, Kwargs):
        return kwargs
    return Kwargs(tuple(kwargs.items())) if kwargs else _NO_KWARGS


def _as_tuple(args: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(args)


@attrs.frozen(eq=False)
class ChildSpec:
    """How one child is started, restarted and stopped.

    >>> ChildSpec("counter", Counter, (1,), restart="transient", shutdown=2.0)     # doctest: +SKIP

    Raises:
        SpecError: a word that is no restart, shutdown or type; ``significant`` with ``permanent``; ``start`` is no class.
    """

    id: Hashable
    """What the supervisor's functions call it; unique within the supervisor. (A ``DynamicSupervisor`` uses the pid.)"""
    start: builtins.type[Any]  # `type` is a field here
    """The ``Actor`` class (``Supervisor`` is one): started as ``start`` with ``args`` and ``kwargs`` given to its ``init``."""
    args: tuple[Any, ...] = attrs.field(default=(), converter=_as_tuple, repr=False, metadata=_HIDDEN)
    kwargs: Kwargs = attrs.field(default=_NO_KWARGS, converter=_fixed, repr=False, metadata=_HIDDEN)
    """Logs, crash reports and tools show neither these nor ``args``: they may hold secrets."""
    restart: Restart = "permanent"
    significant: bool = attrs.field(default=False, kw_only=True)
    """Its end may end the supervisor: see ``auto_shutdown``."""
    name: str | None = attrs.field(default=None, kw_only=True)
    """The name it is registered under in its node, while it lives."""
    type: ChildType = attrs.field(kw_only=True)
    """``"supervisor"`` for supervisor classes, else ``"worker"``."""
    shutdown: Shutdown = attrs.field(kw_only=True)
    """Default: 5 s for a worker, ``"infinity"`` for a supervisor."""

    @type.default  # noqa: A003 - OTP's word, and attrs' way
    def _default_type(self) -> ChildType:
        return "supervisor" if getattr(self.start, "child_type", None) == "supervisor" else "worker"

    @shutdown.default
    def _default_shutdown(self) -> Shutdown:
        return "infinity" if self.type == "supervisor" else WORKER_SHUTDOWN

    def __attrs_post_init__(self) -> None:
        _raise_if(f"child {self.id!r}", self._faults())

    def _faults(self) -> Iterator[tuple[str, str | None]]:
        yield "id", _wrong_id(self.id)
        yield "start", _wrong_start(self.start)
        yield "restart", wrong_word(self.restart, RESTARTS)
        yield "type", wrong_word(self.type, CHILD_TYPES)
        yield "shutdown", wrong_shutdown(self.shutdown)
        yield "significant", wrong_significance(significant=self.significant, restart=self.restart)
        name: object = self.name
        if name is not None and not (isinstance(name, str) and name):
            yield "name", f"expected a non-empty string, got {self.name!r}"

    def without_arguments(self) -> ChildSpec:
        """The same spec with nothing to start it with: what is kept of a temporary child, which is never started again."""
        return attrs.evolve(self, args=(), kwargs=_NO_KWARGS) if self.args or self.kwargs else self


def _wrong_id(child_id: object) -> str | None:
    try:
        hash(child_id)
    except TypeError:
        return f"expected something hashable, such as a string, got {child_id!r}"
    return "expected an id, got None" if child_id is None else None


def _wrong_start(start: object) -> str | None:
    if isinstance(start, type):
        return None if hasattr(start, "init") else f"expected a subclass of Actor, got the class {start.__qualname__}"
    name = type(start).__qualname__
    return f"expected a class, got {start!r}: give the class itself and its arguments in args, as ({name}, args=(...))"


def check_children(children: Iterable[ChildSpec], auto_shutdown: AutoShutdown) -> tuple[ChildSpec, ...]:
    """The specs, once it is sure that they fit together and to their supervisor.

    Raises:
        SpecError: two have one id, one is no ``ChildSpec``, or one is significant where ``auto_shutdown`` is ``"never"``.
    """
    specs: tuple[object, ...] = tuple(children)
    checked: list[ChildSpec] = []
    seen: set[Hashable] = set()
    faults: list[tuple[str, str | None]] = []
    for number, spec in enumerate(specs):
        if not isinstance(spec, ChildSpec):
            faults.append((f"child {number}", f"expected a ChildSpec, got {spec!r}"))
            continue
        if spec.id in seen:
            faults.append((f"child {spec.id!r}", "a second child has this id; ids are unique within a supervisor"))
        seen.add(spec.id)
        checked.append(spec)
        why = wrong_significance(significant=spec.significant, restart=spec.restart, auto_shutdown=auto_shutdown)
        faults.append((f"child {spec.id!r}", why))
    _raise_if("supervisor", faults)
    return tuple(checked)
