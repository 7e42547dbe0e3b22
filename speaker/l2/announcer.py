"""Layer 2's core: which requests are answered, what everybody is told unasked, who else claims an address.

Rules kept here:

* No I/O, no clock, no randomness of its own: ``now`` (float seconds, any origin) is an argument, the generator comes by
  the constructor.
* Nothing is said of an address that is not announced, not even what was already made when it was withdrawn.
* What strangers send is bounded: answers that wait, hosts remembered, claims told (one a second for an address).
* A request is answered as MetalLB answers it: whoever sent it, a probe included, with the hardware address of the
  interface that it came on.

Source: design.md §6; docs/specs/metallb-interface.md §4.5, 4.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, KeysView
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from speaker.l2.claims import Claim, Claims
from speaker.l2.config import L2Config
from speaker.l2.frames import BROADCAST, NO_IP, REQUEST, ARPPacket, BadFrame, decode_arp_untrusted
from speaker.l2.interfaces import Interface, is_host_mac
from speaker.l2.known import Known
from speaker.l2.requesters import Requesters
from speaker.l2.statistics import AddressCounters, Ignored, L2Statistics
from speaker.l2.timers import Timers
from speaker.l2.trains import Port, Trains

if TYPE_CHECKING:
    from random import Random

MAX_ANSWERS: Final = 1024
"""Frames waiting to be drained, beyond which a request is not answered: who asked asks again."""
_SENDER_IP: Final = slice(28, 32)
"""Where a frame says whose address it is about."""


class Announcer:
    """Answers for the addresses that this node owns. Three families of methods:

    * inputs take ``now``: the owner's (``announce``, ``withdraw``, ``reannounce``, ``watch``, ``unwatch``), the
      network's (``set_interfaces``, ``set_own_macs``, ``receive``), the clock's (``handle_timer``);
    * drains return what to do: ``frames_to_send``, ``next_claim``;
    * queries change nothing: ``next_timer``, ``announced``, ``interface_names``, ``counters``, ``statistics``.
    """

    def __init__(self, rng: Random, config: L2Config = L2Config()) -> None:  # noqa: B008  # frozen
        self.config: Final = config
        self._ports: dict[int, Port] = {}
        self._own_macs: frozenset[bytes] = frozenset()
        self._other_macs: frozenset[bytes] = frozenset()
        self._known: Final[dict[bytes, Known]] = {}
        self._announced: Final[dict[IPv4Address, Known]] = {}
        self._requesters: Final = Requesters()
        self._trains: Final = Trains(rng, config, self._requesters)
        self._restarts: Final[Timers[Known]] = Timers()
        self._out: list[tuple[int, bytes]] = []
        self._claims: Final = Claims()
        self._counts: Final[Counter[str]] = Counter()
        self._ignored: Final[dict[Ignored, int]] = dict.fromkeys(Ignored, 0)

    # ---- inputs: the owner

    def announce(self, address: IPv4Address, now: float) -> None:
        """Answer for the address from now on, and tell everybody. Nothing happens when that is so already."""
        known = self._know(address)
        if known.is_announced:
            return
        known.is_announced = True
        self._announced[address] = known
        self._trains.begin(known, self._ports.values(), now)

    def withdraw(self, address: IPv4Address, now: float) -> None:
        """Answer for it no longer, and say nothing of it. Nobody is told: whoever owns it now tells everybody."""
        known = self._announced.pop(address, None)
        if known is None:
            return
        known.is_announced = False
        known.reset_counters()
        if known.restart is not None:
            known.restart.cancel()
            known.restart = None
        self._trains.stop(known, self._ports.values())
        self._out = [(index, frame) for index, frame in self._out if frame[_SENDER_IP] != known.packed]
        self._forget_unless_needed(known)

    def reannounce(self, address: IPv4Address, now: float) -> None:
        """Tell everybody again, as at first; repeated calls are spaced by ``backoff_min``, doubled up to
        ``backoff_max``. Nothing happens when it is not announced."""
        known = self._announced.get(address)
        if known is None or known.restart is not None:
            return
        if now - known.reannounce_after >= self.config.backoff_max:
            known.backoff = self.config.backoff_min
        at = max(now, known.reannounce_after)
        known.reannounce_after = at + known.backoff
        known.backoff = min(2 * known.backoff, self.config.backoff_max)
        if at <= now:
            self._trains.begin(known, self._ports.values(), now)
        else:
            known.restart = self._restarts.schedule(at, known)

    def watch(self, address: IPv4Address) -> None:
        """Tell of claims to it, and remember who asks for it, also while it is not announced here."""
        self._know(address).is_watched = True

    def unwatch(self, address: IPv4Address) -> None:
        """The opposite."""
        known = self._known.get(address.packed)
        if known is not None:
            known.is_watched = False
            self._forget_unless_needed(known)

    # ---- inputs: the network

    def set_interfaces(self, interfaces: Iterable[Interface], now: float) -> None:
        """These are served on: all that :func:`~speaker.l2.interfaces.refusal` has nothing against.

        Where one is new, has a carrier again or another hardware address, everything is announced there at once.
        """
        former, self._ports = self._ports, {}
        fresh: list[Port] = []
        for interface in interfaces:
            port = former.get(interface.index)
            if port is None or not port.is_as_before(interface):
                port = Port(interface, self.config)
                fresh.append(port)
            port.interface = interface
            self._ports[interface.index] = port
        for index, port in former.items():
            if self._ports.get(index) is not port:
                self._trains.close(port)
        self._out = [(index, frame) for index, frame in self._out if former.get(index) is self._ports.get(index)]
        self._own_macs = self._other_macs.union(port.interface.mac for port in self._ports.values())
        for port in fresh:
            for known in self._announced.values():
                self._trains.begin(known, (port,), now)

    def set_own_macs(self, macs: Iterable[bytes]) -> None:
        """Hardware addresses of this node, those of interfaces that are not served on included: they claim nothing."""
        self._other_macs = frozenset(macs)
        self._own_macs = self._other_macs.union(port.interface.mac for port in self._ports.values())

    def receive(self, index: int, frame: bytes, now: float) -> None:
        """A frame as it came on the interface with this index. Nothing is raised, whatever it holds."""
        port = self._ports.get(index)
        if port is None:
            self._ignored[Ignored.NOT_SERVED] += 1
            return
        try:
            packet = decode_arp_untrusted(frame)
        except BadFrame:
            self._ignored[Ignored.BAD_FRAME] += 1
            return
        if packet.sender_mac in self._own_macs:
            self._ignored[Ignored.OWN] += 1
            return
        claimed = self._known.get(packet.sender_ip)
        if claimed is not None:
            self._claims.hear(claimed, packet.sender_mac, port.interface, now)
        cause = self._answer(packet, port, now)
        if cause is not None:
            self._ignored[cause] += 1

    # ---- inputs: the clock

    def handle_timer(self, now: float) -> None:
        """Make what is due by ``now``, one turn's worth of it."""
        while (known := self._restarts.take_due(now)) is not None:
            known.restart = None
            self._trains.begin(known, self._ports.values(), now)
        self._out += self._trains.take_turn(self._ports.values(), now)

    # ---- drains

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Frames in the order in which they became due, each with the index of its interface."""
        out, self._out = self._out, []
        return out

    def next_claim(self) -> Claim | None:
        """The next claim of somebody else to an address that is announced or watched; None when there is no more."""
        return self._claims.take()

    # ---- queries

    def next_timer(self) -> float:
        """When ``handle_timer`` wants to be called; ``math.inf`` if never, at or before now if at once."""
        return min(self._restarts.next_at(), self._trains.next_at(self._ports.values()))

    @property
    def announced(self) -> KeysView[IPv4Address]:
        """The addresses answered for, oldest first: a view that follows."""
        return self._announced.keys()

    @property
    def interface_names(self) -> tuple[str, ...]:
        """Of the interfaces served on, as they were told."""
        return tuple(port.interface.name for port in self._ports.values())

    def counters(self, address: IPv4Address) -> AddressCounters:
        """What was done for one address; zeros when it is not announced."""
        known = self._announced.get(address)
        return AddressCounters() if known is None else known.counters()

    def statistics(self) -> L2Statistics:
        """Counts and gauges as they are now."""
        return L2Statistics(
            announced=len(self._announced),
            requesters=len(self._requesters),
            frames_waiting=len(self._out),
            requests_received=self._counts["requests_received"],
            responses_sent=self._counts["responses_sent"],
            gratuitous_sent=self._trains.gratuitous_sent,
            claims=self._claims.told,
            claims_dropped=self._claims.dropped,
            ignored=dict(self._ignored),
        )

    # ---- inside

    def _know(self, address: IPv4Address) -> Known:
        known = self._known.get(address.packed)
        if known is None:
            known = self._known[address.packed] = Known(address)
        return known

    def _forget_unless_needed(self, known: Known) -> None:
        if not known.is_announced and not known.is_watched:
            del self._known[known.packed]
            self._requesters.forget(known.packed)

    def _answer(self, packet: ARPPacket, port: Port, now: float) -> Ignored | None:
        """Answer the request, or say why not."""
        destination, _, operation, mac, ip, _, target = packet
        if operation != REQUEST:
            return Ignored.NOT_A_REQUEST
        if destination != BROADCAST and destination != port.interface.mac:
            return Ignored.NOT_FOR_US
        known = self._known.get(target)
        if known is None:
            return Ignored.NOT_ANNOUNCED
        if not is_host_mac(mac):
            return Ignored.GROUP_SENDER
        if ip != NO_IP and ip != target:
            self._requesters.note(target, port.interface.index, mac, ip, now)
        if not known.is_announced:
            return Ignored.NOT_ANNOUNCED
        known.requests_received += 1
        self._counts["requests_received"] += 1
        if len(self._out) >= MAX_ANSWERS:
            return Ignored.OVERLOAD
        known.responses_sent += 1
        self._counts["responses_sent"] += 1
        self._out.append((port.interface.index, port.encoder.reply(target, mac, ip)))
        return None
