"""Starting a node's topics: the supervisor that a configured node names in a file, and the call for an embedded one."""

from __future__ import annotations

from wsactors.actors import Runtime
from wsactors.cluster import Backbone, RelayPartition
from wsactors.supervision import ChildSpec, DynamicSupervisor, Supervisor

from .identity import Authenticator
from .node_topics import TOPICS
from .options import RealtimeOptions
from .permission import PermissionOptions
from .service import CHANNELS, Realtime
from .watch import SocketWatch


class RealtimeSupervisor(Supervisor):
    """A node's relay, topics and channels.

    >>> await node.spawn(RealtimeSupervisor, RealtimeOptions())                        # doctest: +SKIP
    >>> Realtime.of(node)                                                             # doctest: +SKIP
    """

    async def init(
        self,
        options: RealtimeOptions = RealtimeOptions(),  # noqa: B008 - frozen
        authenticator: Authenticator | None = None,
        backbone: Backbone | None = None,
        allowed_packages: tuple[str, ...] = ("wsactors",),
        permission: PermissionOptions = PermissionOptions(),  # noqa: B008 - frozen
    ) -> object:
        """Raises `ValueError` when a channel class is none."""
        realtime = Realtime(
            self.node,
            options,
            authenticator=authenticator,
            permission=permission,
            backbone=backbone,
            allowed_packages=allowed_packages,
        )
        realtime.places.later = lambda when, do: SocketWatch.current().at(when, do)
        for topics in options.topics:
            realtime.channel_class(topics)
        children = [
            ChildSpec(name, RelayPartition, (groups, load), name=name)
            for name, groups, load in realtime.relay.partition_args()
        ]
        # Nobody leans on another's life: receivers are the relay's, channels look for their topic again.
        for name, most in ((TOPICS, options.max_topics), (CHANNELS, options.max_channels)):
            arguments = {"max_children": most, "extra_args": (realtime,)}
            children.append(ChildSpec(name, DynamicSupervisor, kwargs=arguments, name=name, type="supervisor"))
        return await super().init("one_for_one", children, intensity=20, period=10.0)


async def start_realtime(
    node: Runtime,
    options: RealtimeOptions = RealtimeOptions(),  # noqa: B008 - frozen
    *,
    authenticator: Authenticator | None = None,
    backbone: Backbone | None = None,
    allowed_packages: tuple[str, ...] = ("wsactors",),
    permission: PermissionOptions = PermissionOptions(),  # noqa: B008 - frozen
) -> Realtime:
    """Give an embedded node topics. A configured one has them by its supervisor file.

    Args:
        node: an open node.
        options: what its topics are like.
        authenticator: decides who somebody is; default: everybody is anonymous.
        backbone: the way to other nodes; default: there are none.
        allowed_packages: where channel classes may come from.
        permission: what clients may do; default: everything on topics that are not private.

    Raises:
        StartError: a channel class is none.

    >>> realtime = await start_realtime(node)                                        # doctest: +SKIP
    """
    await node.spawn(RealtimeSupervisor, options, authenticator, backbone, allowed_packages, permission)
    return Realtime.of(node)
