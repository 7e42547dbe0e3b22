"""What each request to an agent does: a table from request to handler.

Rules kept here:

* A handler gives back a JSON object, or raises: :class:`LocalError` when the answer is no, :class:`RemoteError` when a
  peer would have been needed.
* Nothing here waits for the asker, except :meth:`Replies.item`, which is bounded.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from gossip.addresses import pack_host, parse_join_target
from gossip.control.notices import describe_member, format_address, printable
from gossip.control.requests import (
    REQUESTS,
    ChangeKeys,
    FireEvent,
    FollowNotices,
    ForceLeave,
    Join,
    Leave,
    ListKeys,
    ListMembers,
    PingMember,
    Request,
    Requests,
    SendMessage,
    ShowInfo,
    SpreadMessage,
)
from gossip.errors import LocalError, RemoteError
from gossip.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gossip.addresses import Address
    from gossip.control.agent import Agent
    from gossip.driver import Ring

MEMBERS_PER_ITEM: Final = 200

Json: TypeAlias = dict[str, Any]


class Replies(Protocol):
    """The way back to who asked."""

    async def item(self, value: object) -> None:
        """One part of the answer."""

    async def hung_up(self) -> None:
        """Wait until nobody listens any more."""


async def _list_members(agent: Agent, request: ListMembers, replies: Replies) -> Json:
    members = agent.ring.view.members()
    for start in range(0, len(members), MEMBERS_PER_ITEM):
        part = members[start : start + MEMBERS_PER_ITEM]
        await replies.item([describe_member(member, serf=agent.serf is not None) for member in part])
    return {"count": len(members)}


async def _show_info(agent: Agent, request: ShowInfo, replies: Replies) -> Json:
    local = agent.ring.view.local
    counts = asdict(agent.ring.statistics())
    statistics = {key: printable(value) if isinstance(value, str) else value for key, value in counts.items()}
    return {
        "name": printable(local.name),
        "address": local.address[0],
        "port": local.address[1],
        **agent.describe(),
        "statistics": statistics,
    }


async def _follow_notices(agent: Agent, request: FollowNotices, replies: Replies) -> Json:
    await agent.pass_notices(replies)
    return {}


async def _join(agent: Agent, request: Join, replies: Replies) -> Json:
    report = await agent.join(request.targets)
    return {
        "joined": [format_address(address) for address in report.joined],
        "refused": [{"target": target, "reason": printable(reason)} for target, reason in report.refused],
    }


async def _leave(agent: Agent, request: Leave, replies: Replies) -> Json:
    await agent.leave()
    return {"left": printable(agent.settings.name)}


async def _force_leave(agent: Agent, request: ForceLeave, replies: Replies) -> Json:
    member = agent.ring.view.member(request.name)
    if member is None:
        raise LocalError(f"no member is called {request.name!r}")
    if member.is_live:
        raise LocalError(f"{request.name!r} is {member.state.name.lower()}: only who is dead or left is forgotten")
    agent.ring.forget(request.name)
    return {"forgotten": printable(request.name)}


async def _ping(agent: Agent, request: PingMember, replies: Replies) -> Json:
    answer: Json = {"member": printable(request.to), "rtt": None}
    try:
        answer["rtt"] = await agent.ring.ping(_destination(agent.ring, request.to))
    except RemoteError as reason:
        answer["reason"] = str(reason)
    return answer


async def _send(agent: Agent, request: SendMessage, replies: Replies) -> Json:
    destination = _destination(agent.ring, request.to)
    await agent.ring.send(destination, request.payload, reliable=request.reliable)
    return {"sent": len(request.payload), "to": printable(request.to), "reliable": request.reliable}


async def _spread(agent: Agent, request: SpreadMessage, replies: Replies) -> Json:
    agent.ring.broadcast(request.payload)
    return {"sent": len(request.payload)}


async def _fire_event(agent: Agent, request: FireEvent, replies: Replies) -> Json:
    ltime = agent.fire_event(request.name, request.payload, coalesce=request.coalesce)
    return {"fired": printable(request.name), "ltime": ltime}


async def _list_keys(agent: Agent, request: ListKeys, replies: Replies) -> Json:
    keys = [base64.b64encode(key).decode() for key in agent.ring.keyring.keys]
    return {"keys": keys, "primary": keys[0] if keys else None}


_KEY_ACTIONS: Final[dict[str, Callable[[Keyring, bytes], None]]] = {
    "install": Keyring.add,
    "use": Keyring.use,
    "remove": Keyring.remove,
}


async def _change_keys(agent: Agent, request: ChangeKeys, replies: Replies) -> Json:
    keyring = agent.ring.keyring
    if not keyring.encrypts:
        raise LocalError("this agent does not encrypt; start it with --key-file")
    action = _KEY_ACTIONS.get(request.action)
    if action is None:
        raise LocalError(f"no action {request.action!r:.40}; there are {', '.join(_KEY_ACTIONS)}")
    action(keyring, request.key)
    return {"keys": len(keyring.keys)}


Handler: TypeAlias = "Callable[[Agent, Any, Replies], Awaitable[Json]]"

HANDLERS: Final[Mapping[type[Request], Handler]] = {
    ListMembers: _list_members,
    ShowInfo: _show_info,
    FollowNotices: _follow_notices,
    Join: _join,
    Leave: _leave,
    ForceLeave: _force_leave,
    PingMember: _ping,
    SendMessage: _send,
    SpreadMessage: _spread,
    FireEvent: _fire_event,
    ListKeys: _list_keys,
    ChangeKeys: _change_keys,
}
"""Who answers which request."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What is answered on a control socket: requests by their names, and the handler of each."""

    requests: Requests
    handlers: Mapping[type[Request], Handler]

    def __or__(self, more: Desk) -> Desk:
        """Both; what has the same name is answered as in ``more``."""
        return Desk({**self.requests, **more.requests}, {**self.handlers, **more.handlers})


RING_DESK: Final = Desk(REQUESTS, HANDLERS)
"""What every agent answers."""


def _destination(ring: Ring, to: str) -> str | Address:
    """A member by name, or else an address. Raises :class:`LocalError` when it is neither."""
    if ring.view.member(to) is not None:
        return to
    try:
        target = parse_join_target(to, ring.view.local.address[1])
        pack_host(target.host)
    except LocalError:
        raise LocalError(f"{to!r} is neither a member's name nor ADDRESS[:PORT]") from None
    return target.host, target.port
