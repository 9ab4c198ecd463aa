"""A joined topic, as the program that talks on it sees it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from wsactors.wire import native

from .membership import Membership, TopicMessage
from .presence import PresenceMirror

if TYPE_CHECKING:
    from .connection import Client


class Topic:
    """One topic: an asynchronous iterator over its messages, over all connections of its client.

    What cannot be made up for after the connection broke shows in `gaps`, and in `TopicMessage.after_gap` of the next one.
    Iterating ends when the topic is left, and raises what ended it otherwise: `ClientError`, `Disconnected`, `Overflowed`.

    Example:
        >>> async with connect("ws://127.0.0.1:8080/ws", retry=Retry()) as client:      # doctest: +SKIP
        ...     lobby = await client.join_topic("room:lobby")
        ...     await lobby.publish("said", {"text": "hello"})
        ...     async for message in lobby:
        ...         print(message.event, message.payload)
    """

    def __init__(self, client: Client, membership: Membership) -> None:
        self._client = client
        self._membership = membership
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Topic {self.name!r} {self._membership.phase} received={self._membership.received} gaps={self.gaps}>"

    @property
    def name(self) -> str:
        """The topic."""
        return self._membership.topic

    @property
    def is_joined(self) -> bool:
        """Whether the client is a member at this moment."""
        return self._membership.phase == "joined"

    @property
    def response(self) -> native.Plain:
        """What the application said to the latest join."""
        return self._membership.response

    @property
    def presence(self) -> PresenceMirror:
        """Who is there, if that was asked for."""
        return self._membership.presence

    @property
    def position(self) -> native.Position | None:
        """Everything up to here has been seen: keep it, and join with it as ``since`` another day."""
        return self._membership.since

    @property
    def recovered(self) -> bool | None:
        """Whether the latest join made up for all that was missed; None: there was nothing to make up for."""
        return self._membership.recovered

    @property
    def gaps(self) -> int:
        """How often messages were lost for good."""
        return self._membership.gaps

    @property
    def dropped(self) -> int:
        """Messages for which the buffer had no room."""
        return self._membership.dropped

    def __aiter__(self) -> Topic:
        return self

    async def __anext__(self) -> TopicMessage:
        await trio.lowlevel.checkpoint()
        buffer = self._membership.buffer
        while not buffer:
            if self._membership.phase == "ended":
                if self._membership.error is not None:
                    raise copy.copy(self._membership.error)
                raise StopAsyncIteration
            await self._changed.park()
        return buffer.popleft()

    async def changed(self) -> None:
        """Wait until something comes: a message, presence, being joined, the end."""
        if self._membership.phase == "ended":
            await trio.lowlevel.checkpoint()
        else:
            await self._changed.park()

    async def publish(
        self,
        event: str,
        payload: native.Plain = None,
        *,
        ack: bool = True,
        echo: bool | None = None,
        id: str = "",  # noqa: A002 - the field's name
        timeout: float | None = None,
    ) -> native.Position | None:
        """Send this to everybody on the topic; its place in the history, or None without ``ack``.

        Args:
            event: What kind of message it is.
            payload: Any plain value, also bytes.
            ack: Wait until it was given to everybody.
            echo: Whether it comes back here, too; None: as said on joining.
            id: What it is called, for those who get it.
            timeout: Seconds to wait for the answer, also while the client is offline.

        Raises:
            ClientError: It was refused, or there was no answer; without ``ack``, also while the topic is not joined.
            Disconnected: The connection broke; nobody knows whether it was sent to all.
        """
        if not ack:
            await self._client.tell(native.Publish(self.name, event, payload, 0, echo, id))
            return None
        published: native.Published = await self._client.request(
            lambda ref: native.Publish(self.name, event, payload, ref, echo, id), topic=self.name, timeout=timeout
        )
        return native.Position(published.epoch, published.offset)

    async def push(
        self, event: str, payload: native.Plain = None, *, ack: bool = True, timeout: float | None = None
    ) -> Any:
        """Send this to the client's channel; what that answers, or None without ``ack``. Raises as `publish` does."""
        if not ack:
            await self._client.tell(native.Push(self.name, event, payload))
            return None
        return await self._client.request(
            lambda ref: native.Push(self.name, event, payload, ref), topic=self.name, timeout=timeout
        )

    async def track(self, meta: Mapping[str, native.Plain], *, timeout: float | None = None) -> None:
        """Be present with ``meta``, also after coming back; again: with this instead. Raises as `publish` does."""
        await self._client.track(self.name, dict(meta), timeout=timeout)

    async def untrack(self, *, timeout: float | None = None) -> None:
        """Be present no more. Raises as `publish` does."""
        await self._client.track(self.name, None, timeout=timeout)

    async def leave(self) -> None:
        """Be a member no more; what waits can still be read. Raises `Disconnected` when the node is gone."""
        await self._client.leave_topic(self.name)

    def wake(self) -> None:
        """Something has changed; called by the client."""
        self._changed.unpark_all()
