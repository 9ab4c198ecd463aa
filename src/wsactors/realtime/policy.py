"""Who may do what: rules from the configuration, then a callback or an actor that is asked, with a deadline and a memory.

What takes too long, crashes or answers nonsense is refused. On a private topic nothing is allowed that nobody has allowed.
Answers are remembered for a while by who asked (with which token), what and where; a kick or a revocation forgets them, and an
answer that was on its way then is not remembered.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs
import trio

from wsactors.actors import Pid, Runtime
from wsactors.actors.log import log
from wsactors.wire.plain import Plain

from .identity import User
from .limits import LimitOptions
from .rules import Action, Rule, first_word

__all__ = ["ALLOWED", "Decide", "Decider", "Decision", "Policy", "PolicyOptions"]

_WORDS: Final[dict[Action, str]] = {
    "connect": "You may not connect.",
    "join": "You may not join this topic.",
    "publish": "You may not publish on this topic.",
    "presence_read": "You may not see who is present on this topic.",
    "presence_write": "You may not be present on this topic.",
}


@attrs.frozen
class Decision:
    """What a policy says."""

    allow: bool
    reason: str = ""
    """For people, when the answer is no."""
    code: str = "unauthorized"
    limits: LimitOptions | None = None
    """For this connection (on "connect") or channel (on "join"), instead of the usual ones."""


ALLOWED: Final = Decision(allow=True)
_PASSING: Final = frozenset({"timeout", "policy_failed"})
"""Codes of what is a fault of the moment, not an answer."""


@attrs.frozen(eq=False)
class Decide:
    """Call to a policy actor. Answered with a `Decision` or a bool; anything else is a no."""

    __is_value__ = True

    action: Action
    user: User
    topic: str = ""
    """Empty for "connect"."""
    params: Plain = None
    """What the client said on joining or connecting."""
    private: bool = False


Decider: TypeAlias = Callable[[Decide], "Decision | bool | Awaitable[Decision | bool]"]


@attrs.frozen
class PolicyOptions:
    """How a policy is asked."""

    rules: tuple[Rule, ...] = ()
    deadline: float = 2.0
    """Seconds in which the callback or actor must have answered; after that the answer is no."""
    cache_seconds: float = 60.0
    cache_entries: int = 50_000


class Policy:
    """The policy of one node.

    Args:
        node: where an actor is called.
        options: rules and limits.
        decider: asked what no rule decides: a callback, or an actor's pid or name.

    >>> policy = Policy(node, decider="policy")                                      # doctest: +SKIP
    >>> (await policy.decide("join", user, "room:42")).allow
    """

    def __init__(
        self,
        node: Runtime,
        options: PolicyOptions = PolicyOptions(),
        decider: Decider | Pid | str | None = None,
    ) -> None:
        self._node = node
        self._options = options
        self._decider = decider
        self._memory: OrderedDict[tuple[Any, ...], tuple[float, Decision]] = OrderedDict()
        self._forgotten = 0
        """How often something was forgotten: an answer to a question from before is not remembered."""

    def known(self, action: Action, user: User, topic: str = "", *, private: bool = False) -> Decision | None:
        """The decision, if nobody has to be asked; None: `decide` has to."""
        by_rule = self._by_rules(action, user, topic, private)
        return self._remembered(_key(action, user, topic, private)) if by_rule is None else by_rule

    async def decide(
        self, action: Action, user: User, topic: str = "", params: Plain = None, *, private: bool = False
    ) -> Decision:
        """The decision. Never raises for what the decider does. If there are ``params``, it is asked each time."""
        key = _key(action, user, topic, private)
        found = self._by_rules(action, user, topic, private)
        if found is None and params is None:
            found = self._remembered(key)
        if found is not None:
            return found
        before = self._forgotten
        decision = await self._ask(Decide(action, user, topic, params, private))
        if params is None and decision.code not in _PASSING and before == self._forgotten:
            self._remember(key, decision)
        return decision

    def forget(self, subject: str | None = None, topic: str | None = None) -> int:
        """Forget what was decided about a person or a topic, or all there is; how many decisions.

        Call this when a person is kicked or revoked, or when what the decider goes by has changed.
        """
        self._forgotten += 1
        gone = [
            key for key in self._memory if (subject is None or key[0] == subject) and (topic is None or key[3] == topic)
        ]
        for key in gone:
            del self._memory[key]
        return len(gone)

    def __len__(self) -> int:
        """Decisions remembered."""
        return len(self._memory)

    # --- inside -------------------------------------------------------------------------------------------------

    def _by_rules(self, action: Action, user: User, topic: str, private: bool) -> Decision | None:
        word = first_word(self._options.rules, action, user, topic)
        if word is None and self._decider is None:
            word = not private
        if word is None:
            return None
        return ALLOWED if word else Decision(allow=False, reason=_WORDS[action])

    def _remembered(self, key: tuple[Any, ...]) -> Decision | None:
        found = self._memory.get(key)
        if found is None:
            return None
        until, decision = found
        if until <= trio.current_time():
            del self._memory[key]
            return None
        self._memory.move_to_end(key)
        return decision

    async def _ask(self, question: Decide) -> Decision:
        answer: Any = None
        with trio.move_on_after(self._options.deadline) as scope:
            try:
                answer = await self._answer(question)
            except Exception as error:  # a policy that is broken allows nothing
                log(
                    __name__,
                    "error",
                    "policy_failed",
                    action=question.action,
                    topic=question.topic,
                    type=type(error).__name__,
                )
                return Decision(allow=False, reason=_WORDS[question.action], code="policy_failed")
        if scope.cancelled_caught:
            log(__name__, "warning", "policy_timeout", action=question.action, topic=question.topic)
            return Decision(allow=False, reason="That could not be decided in time. Try again later.", code="timeout")
        if isinstance(answer, Decision):
            return answer if answer.allow or answer.reason else attrs.evolve(answer, reason=_WORDS[question.action])
        if answer is True:
            return ALLOWED
        if answer is not False:
            log(__name__, "error", "policy_answers_nonsense", action=question.action, kind=type(answer).__name__)
        return Decision(allow=False, reason=_WORDS[question.action])

    async def _answer(self, question: Decide) -> Any:
        decider = self._decider
        if isinstance(decider, Pid | str):
            # A little less than the scope around it: whichever ends first, the answer is no.
            return await self._node.call(decider, question, timeout=self._options.deadline * 2)
        assert decider is not None
        answer = decider(question)
        return await answer if inspect.isawaitable(answer) else answer

    def _remember(self, key: tuple[Any, ...], decision: Decision) -> None:
        self._memory[key] = (trio.current_time() + self._options.cache_seconds, decision)
        self._memory.move_to_end(key)
        while len(self._memory) > self._options.cache_entries:
            self._memory.popitem(last=False)


def _key(action: Action, user: User, topic: str, private: bool) -> tuple[Any, ...]:
    """The stamp stands for the token, so for role and claims: a new token is decided anew."""
    return (user.subject, user.stamp, action, topic, private)
