"""The ring's side of a speaker: whom it knows, what it says about itself, what it settles with other owners."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from gossip import (
    AccusationRefuted,
    JoinCompleted,
    LocalError,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    NameConflict,
    PingCompleted,
    RemoteError,
    State,
    UserMessageReceived,
)
from speaker.marker import decode_untrusted
from speaker.ownership import MemberFacts

if TYPE_CHECKING:
    from gossip import Event, Member
    from gossip.driver import Ring, Subscription
    from speaker.commands import Exchange, Tell
    from speaker.fast.health import Health
    from speaker.fast.pump import Pump

EXCHANGE_WITHIN: Final = 4.0
"""Seconds that an exchange with another owner may take."""
MAX_ASKED: Final = 3
"""Members asked for a sign of life, one after another."""
CHANGES: Final = (MemberJoined, MemberUpdated, MemberFailed, MemberLeft)


class RingSide:
    """Between the ring and the core."""

    def __init__(self, ring: Ring, pump: Pump, health: Health, *, is_new: bool) -> None:
        """``is_new``: there are seeds, and none was heard yet."""
        self._ring = ring
        self._pump = pump
        self._health = health
        self._is_new = is_new
        self._doubled = trio.Event()
        self._failed: set[str] = set()
        self._facts: dict[str, tuple[Member, MemberFacts]] = {}
        self.is_leaving = False
        """From the goodbye on nothing is decided any more: what was owned is answered for until it has spread."""

    async def hear(self, events: Subscription) -> None:
        """Act upon the ring's events, for ever.

        The view is ahead of the events: what waits when the members are told is told with them, a thousand joins at
        once. An event that was lost may have been about any member.
        """
        self._tell_members()
        told_up_to, lost, taken = events.waiting + events.lost, events.lost, 0
        async for event in events:
            taken += 1
            place = taken + events.lost
            if self.is_leaving:
                continue
            if place > told_up_to and (isinstance(event, CHANGES) or events.lost > lost):
                self._tell_members()
                told_up_to, lost = place + events.waiting, events.lost
            self._hear(event)

    def _hear(self, event: Event) -> None:
        pump, core = self._pump, self._pump.core
        match event:
            case JoinCompleted(_, joined, _) if joined:
                self._is_new = False
                pump.tell(core.ring_heard)
            case PingCompleted():
                pump.tell(core.ring_heard)
            case UserMessageReceived(payload, _, _):
                pump.tell(lambda now: core.receive_message(payload, now))
            case NameConflict(member, (host, port)) if member.name == core.config.node:
                self._meet_double(f"{host}:{port}")
            case AccusationRefuted():
                pump.tell(core.ring_heard)  # before the others believe it: so we announce before they withdraw
                pump.tell(core.reunited)
            case MemberFailed(member, _):
                self._failed.add(member.name)
            case MemberJoined(member) if member.name != core.config.node:
                pump.tell(core.ring_heard)
                if member.name in self._failed:
                    self._failed.discard(member.name)
                    pump.tell(core.reunited)

    def _meet_double(self, address: str) -> None:
        name = self._pump.core.config.node
        self._health.note_trouble("name", f"the node at {address} is called {name} too; give it another --node")
        if self._is_new:
            self._doubled.set()

    async def refuse_double(self) -> None:
        """Raise :class:`LocalError` as soon as this newcomer's name turns out to be taken: two nodes of one name would
        both announce what that name owns."""
        await self._doubled.wait()
        raise LocalError(
            f"a member of the ring is called {self._pump.core.config.node} already: {self._health.troubles['name']}; "
            "a node that moved to another address is let in once the ring holds its old one dead"
        )

    def _tell_members(self) -> None:
        members = self._ring.view.members()
        known, self._facts = self._facts, {}
        for member in members:  # the ring gives the same object until something about the member changes
            before = known.get(member.name)
            self._facts[member.name] = (
                before if before is not None and before[0] is member else (member, _facts(member))
            )
        self._failed &= self._facts.keys()
        facts = [told for _, told in self._facts.values()]
        self._pump.tell(lambda now: self._pump.core.members_changed(facts, now))

    def set_meta(self, meta: bytes) -> None:
        """Say this about ourselves."""
        self._ring.set_meta(meta)

    async def exchange(self, command: Exchange) -> None:
        """Tell another owner our side, exchange views with it, and have it settled. Who leaves has no side any more:
        it answers on until the other is heard."""
        if self.is_leaving:
            return
        member, succeeded = self._ring.view.member(command.member), False
        if member is not None:
            host, port = member.address
            target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            with trio.move_on_after(EXCHANGE_WITHIN):
                try:
                    for notice in command.notices:
                        await self._ring.send(command.member, notice, reliable=True)
                    await self._ring.join([target])
                    succeeded = True
                except (LocalError, RemoteError):
                    pass  # it cannot be reached by the ring: settled by what is known
        self._tell_members()
        self._pump.tell(lambda now: self._pump.core.exchanged(command.member, succeeded, now))

    async def tell(self, command: Tell) -> None:
        """Send a member something, if it can be reached."""
        with trio.move_on_after(EXCHANGE_WITHIN), suppress(LocalError, RemoteError):
            await self._ring.send(command.member, command.notice, reliable=True)

    async def hear_somebody(self) -> None:
        """Ask a few members for a sign of life: what comes back says that this node is not cut off any more."""
        names = [member.name for member in self._ring.view.live_members() if member.name != self._pump.core.config.node]
        for name in names[:MAX_ASKED]:
            try:
                await self._ring.ping(name)
            except (LocalError, RemoteError):
                continue
            return


def _facts(member: Member) -> MemberFacts:
    return MemberFacts(
        name=member.name,
        is_live=member.is_live,
        has_left=member.state is State.LEFT,
        marker=decode_untrusted(member.meta),
    )
