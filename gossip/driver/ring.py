"""What a program does with a running member."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gossip.core import Membership
from gossip.driver import sockets
from gossip.driver.pump import Pump
from gossip.driver.subscription import Subscription
from gossip.errors import RemoteError
from gossip.events import JoinCompleted, PingCompleted, StreamMessageSent
from gossip.policy import ACCEPT_ALL, Policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gossip.addresses import Address
    from gossip.config import GossipConfig
    from gossip.keyring import Keyring
    from gossip.statistics import Statistics
    from gossip.view import View


@dataclass(frozen=True, slots=True)
class JoinReport:
    """How a join went: the addresses that answered, and (text or address, reason) for the others."""

    joined: tuple[Address, ...]
    refused: tuple[tuple[str, str], ...]
    unresolved: tuple[str, ...] = ()
    """The targets among the refused that stand for no address, so that there was nobody to ask."""


class Ring:
    """A running member, as :func:`open_ring` makes it. All methods may be called from any task of the same trio
    run."""

    def __init__(self, core: Membership, pump: Pump) -> None:
        self._core = core
        self._pump = pump

    @property
    def view(self) -> View:
        """The queries: ``local``, ``members()``, ``statistics()`` …"""
        return self._core

    @property
    def keyring(self) -> Keyring:
        """The keys; change them while running."""
        return self._core.keyring

    def statistics(self) -> Statistics:
        """The core's counts."""
        return self._core.statistics()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """The events from now on."""
        subscription = Subscription()
        self._pump.subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._pump.subscriptions.remove(subscription)

    async def join(self, targets: Sequence[str], *, as_seeds: bool = False) -> JoinReport:
        """Join whoever answers at ``[name/]host[:port]``; names are resolved to all their addresses.

        Raises :class:`RemoteError` when nobody does, and :class:`LocalError` for text that is no target.
        """
        addresses, refused = await sockets.resolve(targets, self._core.local.address[1])
        unresolved = tuple(target for target, _ in refused)
        joined: tuple[Address, ...] = ()
        if addresses:
            event = await self._pump.ask(lambda now: self._core.join(addresses, now, as_seeds=as_seeds))
            assert isinstance(event, JoinCompleted)
            joined = event.joined
            refused += [(f"{host}:{port}", reason) for (host, port), reason in event.refused]
        if targets and not joined:
            raise RemoteError("could not join: " + "; ".join(f"{target}: {reason}" for target, reason in refused))
        return JoinReport(joined, tuple(refused), unresolved)

    async def leave(self) -> None:
        """Say goodbye, and wait until it has spread. Bound the wait with a cancel scope; the goodbye is out all the
        same."""
        await self._pump.ask(self._core.leave)

    def set_meta(self, meta: bytes | None) -> None:
        """Change our metadata. Raises :class:`LocalError` when it is too long."""
        self._pump.tell(lambda now: self._core.set_meta(meta, now))

    def attach(self, *, user_state: bytes = b"", ack_payload: bytes | None = None) -> None:
        """See :meth:`gossip.Membership.attach`."""
        self._core.attach(user_state=user_state, ack_payload=ack_payload)

    def broadcast(self, payload: bytes) -> None:
        """Spread a user message, best effort. Raises :class:`LocalError` when it does not fit into a packet."""
        self._pump.tell(lambda now: self._core.broadcast(payload, now))

    async def spread(self, payload: bytes) -> None:
        """As :meth:`broadcast`, and wait until it was sent as often as the ring's size asks; for ever if nobody is
        there."""
        await self._pump.ask(lambda now: self._core.broadcast(payload, now))

    async def send(self, to: str | Address, payload: bytes, *, reliable: bool = False) -> None:
        """Send a user message to one member. Raises :class:`RemoteError` when a reliable one could not be handed
        over."""
        if not reliable:
            self._pump.tell(lambda now: self._core.send(to, payload, now))
            await trio.lowlevel.checkpoint()
            return
        event = await self._pump.ask(lambda now: self._core.send(to, payload, now, reliable=True))
        assert isinstance(event, StreamMessageSent)
        if event.reason is not None:
            raise RemoteError(f"the message could not be sent: {event.reason}")

    async def ping(self, to: str | Address) -> float:
        """The round-trip time to a member in seconds. Raises :class:`RemoteError` when it does not answer in time."""
        event = await self._pump.ask(lambda now: self._core.ping(to, now))
        if not isinstance(event, PingCompleted):
            raise RemoteError(f"no answer to a ping within {self._core.config.probe.timeout:g} s")
        return event.rtt

    def forget(self, name: str) -> None:
        """Drop a dead or left member that will not come back."""
        self._core.forget(name)

    def network_changed(self) -> None:
        """Look for lost members at once."""
        self._pump.tell(self._core.network_changed)


@asynccontextmanager
async def open_ring(
    name: str,
    bind: Address,
    config: GossipConfig,
    *,
    advertise: Address | None = None,
    keyring: Keyring | None = None,
    meta: bytes | None = None,
    policy: Policy = ACCEPT_ALL,
    rng: random.Random | None = None,
    nonce: Callable[[int], bytes] = os.urandom,
) -> AsyncIterator[Ring]:
    """Run a member on UDP and TCP at ``bind`` (port 0: any free one) until the context is left.

    Leaving the context says nothing to the others; call :meth:`Ring.leave` first. Raises :class:`LocalError` when
    the port is in use, the address is not this machine's, or a wildcard is bound and no address to advertise can be
    found.
    """
    datagrams, listener = sockets.bind(bind)
    with datagrams:
        async with trio.SocketListener(listener) as tcp:
            own = advertise if advertise is not None else sockets.advertised(datagrams)
            chance = rng if rng is not None else random.SystemRandom()
            core = Membership(name, own, config, rng=chance, nonce=nonce, keyring=keyring, meta=meta, policy=policy)
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                pump = Pump(core, datagrams, tcp, nursery)
                pump.start()
                try:
                    yield Ring(core, pump)
                except Exception as exc:  # the user's, raised below: not in a group for our nursery's sake
                    failure = exc
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
