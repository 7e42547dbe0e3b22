"""The fast process, put together: the core, the ring, the sockets, the slow process, the control socket.

Rules kept here:

* Interfaces are known before the ring is joined: the first thing that others hear of this node says what it can serve.
* The order of the end: say goodbye and go on answering until it has spread; withdraw; end the slow process; take the
  addresses off the loopback.
* Nothing here waits for the slow process.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from gossip import Keyring, LocalError
from gossip.control import RING_DESK, Agent, AgentSettings, listen_at, read_key_file, serve
from gossip.driver import open_ring
from speaker.commands import Command, Exchange, SetLocalAddresses, SetMarker, Tell
from speaker.core import Speaker, SpeakerConfig
from speaker.fast import garbage, notify
from speaker.fast.capabilities import Capability, missing
from speaker.fast.child import Child
from speaker.fast.demand_side import DemandSide
from speaker.fast.desk import speaker_desk
from speaker.fast.health import Health
from speaker.fast.interface_side import InterfaceSide
from speaker.fast.journal import Journal
from speaker.fast.local_addresses import STATE_FILE, LocalAddressError, LocalAddresses
from speaker.fast.local_side import LocalSide
from speaker.fast.netlink import follow_interfaces
from speaker.fast.packet_sockets import PacketSockets
from speaker.fast.pump import Outlets, Pump
from speaker.fast.ring_config import read_ring_config
from speaker.fast.ring_side import RingSide
from speaker.fast.state import KeptState, UnusableState, load_state
from speaker.l2.filters import ARP
from speaker.l2.interfaces import served_of
from speaker.link import Hello, SourceState, ToFast, Wanted
from telemetry.endings import end_signals
from telemetry.levels import Level

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from gossip.driver import Ring
    from speaker.l2.interfaces import Interface
    from speaker.settings import Settings

INTERFACES_WITHIN: Final = 5.0
"""Seconds in which the kernel lists its interfaces."""
BYE_WITHIN: Final = 1.0
"""Seconds in which the slow process writes what is left of the log."""


async def run(settings: Settings) -> int:
    """Run a speaker until it is told to end, and give back the exit code.

    Raises :class:`LocalError`, alone or in a group, when it cannot start: a capability is missing, the port is in use,
    another speaker has the control socket.
    """
    needed = [Capability.CAP_NET_RAW] + [Capability.CAP_NET_ADMIN] * settings.local_address
    if lacking := missing(needed):
        raise LocalError("; ".join(lacking))
    complaints: list[str] = []
    keys = read_key_file(settings.key_file, complaints.append) if settings.key_file is not None else ()
    with (
        trio.open_signal_receiver(*end_signals()) as signals,
        listen_at(settings.api) as control,
        ExitStack() as stack,
    ):
        local = _enter_local_addresses(settings, stack) if settings.local_address else None
        complaints += local.warnings if local is not None else _clear_loopback(settings)
        async with trio.open_nursery() as nursery:
            process = FastProcess(settings, nursery, await _load_kept(settings, complaints.append), local)
            for complaint in complaints:
                process.journal.say(Level.WARN, "startedWith", error=complaint)
            await process.take_in_interfaces()
            await process.serve(keys, control, signals)
            nursery.cancel_scope.cancel()
    return 0


def _enter_local_addresses(settings: Settings, stack: ExitStack) -> LocalAddresses:
    try:
        os.makedirs(settings.state, mode=0o700, exist_ok=True)
        return stack.enter_context(LocalAddresses(Path(settings.state)))
    except LocalAddressError as reason:
        raise LocalError(str(reason)) from reason


def _clear_loopback(settings: Settings) -> list[str]:
    """Take away what a killed run with --local-address left; what there is to say of it."""
    if not os.path.exists(os.path.join(settings.state, STATE_FILE)):
        return []
    if lacking := missing([Capability.CAP_NET_ADMIN]):
        return [f"addresses of an earlier run are still on the loopback interface, and cannot be removed: {lacking[0]}"]
    try:
        with LocalAddresses(Path(settings.state)) as left:
            pass
    except LocalAddressError as reason:
        return [str(reason)]
    return left.warnings


async def _load_kept(settings: Settings, complain: Callable[[str], None]) -> KeptState | None:
    """What the last run kept, if that is of any use."""
    try:
        return await load_state(settings, time.time())
    except UnusableState as reason:
        complain(str(reason))
        return None


class FastProcess:
    """The parts of the process, and how they reach each other."""

    def __init__(
        self, settings: Settings, nursery: trio.Nursery, kept: KeptState | None, local: LocalAddresses | None
    ) -> None:
        config = SpeakerConfig(
            node=settings.node,
            election=settings.election,
            interfaces=settings.interfaces,
            ignore_exclude_label=settings.ignore_exclude_label,
        )
        self._settings = settings
        self._nursery = nursery
        self._child = Child(settings.to_text())
        self.journal = Journal(self._child)
        self._core = Speaker(config, rng=random.SystemRandom(), known=kept.known if kept is not None else ())
        self._pump = Pump(
            self._core,
            Outlets(send_frame=self._send_frame, carry_out=self._carry_out, pass_on=self.journal.note),
        )
        self._sockets = PacketSockets(nursery, self._pump.hear, ARP)
        self._health = Health(self._core, self.journal)
        self._demand_side = DemandSide(self._pump, self._health, kept)
        self._local = LocalSide(local, self._health) if local is not None else None
        self._interface_side = InterfaceSide(self._sockets, settings.interfaces, self._health, self._interfaces_changed)
        self._ring_side: RingSide | None = None
        self._meta = b""
        self._interfaces_known = trio.Event()
        self._carriers: frozenset[int] = frozenset()
        self._ring: Ring | None = None

    # ---- beginning and end

    async def take_in_interfaces(self) -> None:
        """Follow the interfaces from now on; returns when they are known. Raises :class:`LocalError`."""
        self._nursery.start_soon(follow_interfaces, self._interface_side.change)
        self._nursery.start_soon(self._interface_side.run)
        with trio.move_on_after(INTERFACES_WITHIN) as scope:
            await self._interfaces_known.wait()
        if scope.cancelled_caught:
            raise LocalError(f"the kernel did not list its interfaces within {INTERFACES_WITHIN:g} s")

    async def serve(self, keys: tuple[bytes, ...], control: socket.socket, signals: AsyncIterator[int]) -> None:
        """Be in the ring and announce, until a signal or a client wants the end."""
        settings, nursery = self._settings, self._nursery
        garbage.begin()
        nursery.start_soon(garbage.collect)
        nursery.start_soon(self._child.run, self._receive)
        nursery.start_soon(self._pump.run)
        if self._local is not None:
            nursery.start_soon(self._local.run)
        agent_settings = AgentSettings(
            name=settings.node,
            bind=settings.bind,
            config=read_ring_config(settings.config, settings.profile),
            profile=settings.profile,
            advertise=settings.advertise,
            keys=keys,
            seeds=settings.joins,
            api=settings.api,
            complain=self._complain,
        )
        async with (
            open_ring(
                settings.node,
                settings.bind,
                agent_settings.config,
                advertise=settings.advertise,
                keyring=Keyring(keys),
                meta=self._meta,
            ) as ring,
            ring.subscribe() as for_agent,
            ring.subscribe() as for_core,
            trio.open_nursery() as members,
        ):
            agent = Agent(ring, agent_settings, settings.api)
            self._ring = ring
            self._ring_side = RingSide(ring, self._pump, self._health, is_new=bool(settings.joins))
            members.start_soon(self._ring_side.hear, for_core)
            members.start_soon(self._ring_side.refuse_double)
            members.start_soon(self._note_ring, agent)
            members.start_soon(agent.run, for_agent)
            desk = speaker_desk(self._core, self._health.findings, self._sockets.statistics)
            members.start_soon(serve, agent, control, RING_DESK | desk)
            members.start_soon(self._health.watch)
            await self._demand_side.restore()
            self._pump.tell(lambda now: self._core.start(now, has_seeds=bool(settings.joins)))
            await self._wait_for_end(agent, signals)
            self._pump.tell(self._core.stop)
            await self._child.say_bye(BYE_WITHIN)
            members.cancel_scope.cancel()

    async def _wait_for_end(self, agent: Agent, signals: AsyncIterator[int]) -> None:
        """Until this node has said goodbye, because a signal or a client wanted it, or until a second signal."""
        assert self._ring_side is not None
        side = self._ring_side
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                await anext(signals)
                notify.tell_stopping()
                side.is_leaving = True
                nursery.start_soon(agent.leave_and_end)
                await anext(signals)
                nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            await agent.ended.wait()
            nursery.cancel_scope.cancel()

    # ---- inputs

    def _interfaces_changed(self, interfaces: tuple[Interface, ...]) -> None:
        served = served_of(interfaces, self._settings.interfaces)
        self._pump.tell(lambda now: self._core.interfaces_changed(interfaces, now))
        carriers = frozenset(interface.index for interface in served if interface.has_carrier)
        if self._ring is not None and self._ring_side is not None and carriers - self._carriers:
            self._ring.network_changed()
            self._nursery.start_soon(self._ring_side.hear_somebody)
        self._carriers = carriers
        self._interfaces_known.set()

    async def _receive(self, message: ToFast) -> None:
        """What the slow process tells."""
        match message:
            case Hello():
                self.journal.report_known(self._core.intake.known())
            case Wanted() | SourceState():
                await self._demand_side.take(message)
        await trio.lowlevel.checkpoint()

    async def _note_ring(self, agent: Agent) -> None:
        feed = agent.add_reader()
        agent.introduce()
        async for notice in feed.notices:
            if notice.event != "message":  # speakers talk to each other by those
                self.journal.note_ring(notice)

    def _complain(self, text: str) -> None:
        """Called in a thread."""
        trio.from_thread.run_sync(lambda: self.journal.say(Level.WARN, "ring", error=text))

    # ---- outlets

    def _send_frame(self, index: int, frame: bytes) -> None:
        self._sockets.send(index, frame)

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetMarker(meta):
                self._meta = meta
                if self._ring_side is not None:
                    self._ring_side.set_meta(meta)
            case Exchange() if self._ring_side is not None:
                self._nursery.start_soon(self._ring_side.exchange, command)
            case Tell() if self._ring_side is not None:
                self._nursery.start_soon(self._ring_side.tell, command)
            case SetLocalAddresses(addresses) if self._local is not None:
                self._local.want(addresses)
