"""Speakers' cores on one LAN in virtual time: frames reach everybody, views of the ring are what the test says."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address
from random import Random

from cluster.model import Address, ExternalTrafficPolicy, ObjectName
from speaker.commands import Command, Exchange, SetMarker, Tell
from speaker.core import Speaker, SpeakerConfig
from speaker.demand import DemandChange, Group, NodeFacts
from speaker.events import Event
from speaker.l2.frames import REQUEST, ARPPacket, Encoder, decode_arp_untrusted
from speaker.l2.interfaces import Interface
from speaker.marker import MarkedInterface, Marker, decode_untrusted
from speaker.ownership import MemberFacts

LATENCY = 0.0001


def mac_of(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def group(address: str, *, serving: Iterable[str] = ("n1", "n2", "n3"), **changes: object) -> Group:
    key = ip_address(address)
    fields: dict[str, object] = {
        "key": key,
        "addresses": (key,),
        "services": (ObjectName("default", f"svc-{address}"),),
        "pools": ("pool",),
        "advertisements": ("l2",),
        "policy": ExternalTrafficPolicy.CLUSTER,
        "serving_nodes": tuple(serving),
        "is_served": True,
        "spare": None,
    }
    return Group(**{**fields, **changes})  # type: ignore[arg-type]  # the fields are those of a group


@dataclass
class Host:
    """One node: its core, what it told, whether its cable is in."""

    name: str
    core: Speaker
    interface: Interface
    meta: bytes = b""
    is_connected: bool = True
    is_running: bool = True
    sent: list[tuple[float, ARPPacket]] = field(default_factory=list)
    heard: list[tuple[float, ARPPacket]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


class Lan:
    """The wire, the clock and everybody's view of the ring."""

    def __init__(self, size: int, *, known: Iterable[str] = (), start: bool = True) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.hosts = {f"n{number}": self._host(number, known) for number in range(1, size + 1)}
        self.frames: list[tuple[float, ARPPacket]] = []
        self._others: list[MemberFacts] = []
        self.strangers: dict[bytes, tuple[Address, ...]] = {}
        """Hosts that are no members, and the addresses that each answers for."""
        self.on_exchange: Callable[[Host, Exchange], None] = self.exchange
        self.on_tell: Callable[[Host, Tell], None] = self.tell
        for host in self.hosts.values():
            host.core.interfaces_changed([host.interface], self.now)
            self.drain(host)
        if start:
            self.view()
            for host in self.hosts.values():
                host.core.start(self.now, has_seeds=False)

    def _host(self, number: int, known: Iterable[str]) -> Host:
        name = f"n{number}"
        core = Speaker(SpeakerConfig(node=name), rng=Random(number), known=[ip_address(text) for text in known])
        return Host(name, core, Interface(index=2, name="eth0", mac=mac_of(number)))

    # ---- what the test does

    def view(self, live: Iterable[str] | None = None, by: Iterable[str] | None = None) -> None:
        """Let these nodes (all) see these others (all) as live members."""
        alive = set(self.hosts if live is None else live)
        members = [
            MemberFacts(name=host.name, is_live=host.name in alive, marker=decode_untrusted(host.meta))
            for host in self.hosts.values()
        ] + self._others
        for name in self.hosts if by is None else by:
            self.hosts[name].core.members_changed(members, self.now)
            self.drain(self.hosts[name])

    def add_member(self, name: str, mac: bytes, *, has_left: bool = False) -> None:
        """Let everybody know a member that is on no host here."""
        marker = Marker(interfaces=(MarkedInterface(b"e0", has_ipv4=True),), macs=(mac,))
        self._others.append(MemberFacts(name=name, is_live=not has_left, has_left=has_left, marker=marker))
        self.view()

    def want(self, *groups: Group, by: Iterable[str] | None = None, gone: Iterable[Address] = ()) -> None:
        """Tell these nodes (all) what is wanted."""
        nodes = tuple(NodeFacts(name=name) for name in self.hosts)
        change = DemandChange(groups=groups, gone=tuple(gone), nodes=nodes)
        for name in self.hosts if by is None else by:
            self.hosts[name].core.demand_changed(change, self.now)
            self.drain(self.hosts[name])

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            due = min(
                [host.core.next_timer() for host in self.hosts.values() if host.is_running]
                + [entry[0] for entry in self._queue[:1]],
                default=math.inf,
            )
            if due > end:
                break
            self.now = max(self.now, due)
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            for host in self.hosts.values():
                if host.is_running and host.core.next_timer() <= self.now:
                    host.core.handle_timer(self.now)
                    self.drain(host)
        self.now = end

    def cut(self, name: str, *, carrier: bool = False) -> None:
        """Take a node's cable out; ``carrier`` says whether its card still sees one (a switch without power)."""
        host = self.hosts[name]
        host.is_connected = False
        self._see(host, replace(host.interface, has_carrier=carrier))

    def mend(self, name: str) -> None:
        """Put it back."""
        host = self.hosts[name]
        host.is_connected = True
        self._see(host, replace(host.interface, has_carrier=True))

    def _see(self, host: Host, interface: Interface) -> None:
        host.core.interfaces_changed([interface], self.now)
        self.drain(host)

    def crash(self, name: str) -> None:
        """End a node's process."""
        self.hosts[name].is_running = False

    def hear_ring(self, *names: str) -> None:
        """These nodes hear another member."""
        for name in names or self.hosts:
            self.hosts[name].core.ring_heard(self.now)
            self.drain(self.hosts[name])

    def inject(self, frame: bytes) -> None:
        """A stranger sends a frame."""
        self._deliver(frame, None)

    def exchange(self, host: Host, command: Exchange) -> None:
        """What the ring does for an exchange when both ends can reach each other: both views become whole."""
        other = self.hosts[command.member]
        reachable = host.is_connected and other.is_connected
        if reachable:
            for notice in command.notices:
                other.core.receive_message(notice, self.now)
            self.drain(other)
            self.view()
        host.core.exchanged(command.member, reachable, self.now)
        self.drain(host)

    def tell(self, host: Host, command: Tell) -> None:
        """What the ring does for a message to one member."""
        other = self.hosts[command.member]
        if host.is_connected and other.is_connected:
            other.core.receive_message(command.notice, self.now)
            self.drain(other)

    # ---- what it looks at

    def announcers(self, address: str) -> list[str]:
        """Who answers for an address."""
        return [
            name
            for name, host in self.hosts.items()
            if host.is_running
            and IPv4Address(address) in host.core.announcer.announced
            and host.core.announcer.interface_names
        ]

    def owner(self, address: str) -> str:
        """The one who answers for it."""
        (name,) = self.announcers(address)
        return name

    def events(self, kind: type[Event]) -> list[Event]:
        """Events of a kind, of everybody."""
        return [event for host in self.hosts.values() for event in host.events if isinstance(event, kind)]

    # ---- inside

    def drain(self, host: Host) -> None:
        for _, frame in host.core.frames_to_send():
            host.sent.append((self.now, decode_arp_untrusted(frame)))
            if host.is_connected:
                self._deliver(frame, host)
        while (command := host.core.next_command()) is not None:
            host.commands.append(command)
            if isinstance(command, SetMarker):
                host.meta = command.meta
            elif isinstance(command, Tell):
                self.after(0.001, lambda command=command: self.on_tell(host, command))  # type: ignore[misc]  # bound now
            elif isinstance(command, Exchange):
                self.after(0.001, lambda command=command: self.on_exchange(host, command))  # type: ignore[misc]  # bound now
        while (event := host.core.next_event()) is not None:
            host.events.append(event)

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (self.now + delay, next(self._order), call))

    def _deliver(self, frame: bytes, sender: Host | None) -> None:
        self.frames.append((self.now, decode_arp_untrusted(frame)))

        def arrive(host: Host) -> None:
            if host.is_running and host.is_connected:
                host.heard.append((self.now, decode_arp_untrusted(frame)))
                host.core.receive_frame(2, frame, self.now)
                self.drain(host)

        asked = decode_arp_untrusted(frame)
        for mac, addresses in self.strangers.items():
            if asked.operation == REQUEST and IPv4Address(asked.target_ip) in addresses and asked.sender_mac != mac:
                answer = Encoder(mac).reply(asked.target_ip, asked.sender_mac, asked.sender_ip)
                self.after(2 * LATENCY, lambda answer=answer: self.inject(answer))  # type: ignore[misc]  # bound now
        for host in self.hosts.values():
            if host is not sender:
                self.after(LATENCY, lambda host=host: arrive(host))  # type: ignore[misc]  # bound now
