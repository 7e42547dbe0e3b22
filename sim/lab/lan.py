"""A LAN in network namespaces: one bridge, hosts with `eth0` on it, and what can go wrong between them.

Rules kept here:

* The bridge is in a namespace of its own. Nothing of it touches the machine's network.
* Names, hardware addresses and ports follow from the order of the hosts: the same LAN is the same each time.
* Faults are states of the LAN, not events: setting one twice is setting it once, and what is undone leaves no trace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Final

import trio

from sim.lab.addresses import INTERFACE
from sim.lab.errors import LabError
from sim.lab.namespaces import Keeper, Namespace, open_keeper, run

MAX_HOSTS: Final = 100


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with an interface on the LAN."""

    name: str
    interface: IPv4Interface
    mac: str
    port: str
    """The bridge's end of its cable."""
    namespace: Namespace

    @property
    def address(self) -> str:
        """Its address, as text."""
        return str(self.interface.ip)


class Lan:
    """The hosts, and the faults of what joins them."""

    def __init__(self, keeper: Keeper, root: Namespace, hosts: Mapping[str, Host]) -> None:
        self.keeper = keeper
        self.hosts = dict(hosts)
        self.root = root
        self._blocked: dict[tuple[str, str], None] = {}

    async def cut(self, name: str) -> None:
        """Pull a host's cable: both ends lose their carrier."""
        await run(self.root.prefix, "ip", "link", "set", self.hosts[name].port, "down")

    async def mend(self, name: str) -> None:
        """Put the cable back."""
        await run(self.root.prefix, "ip", "link", "set", self.hosts[name].port, "up")

    async def lose(self, name: str, per_mille: int) -> None:
        """Lose that many of a thousand frames that arrive at a host, whatever they carry, each by itself."""
        if not 0 <= per_mille <= 1000:
            raise ValueError(f"{per_mille} per mille is not between 0 and 1000")
        share = f"numgen random mod 1000 < {per_mille}" if per_mille < 1000 else ""
        rule = f"{share} drop;" if per_mille else ""
        rules = (
            "add table netdev loss; delete table netdev loss; table netdev loss { chain arriving {"
            f' type filter hook ingress device "{INTERFACE}" priority 0; {rule} }}; }}'
        )
        await run(self.hosts[name].namespace.prefix, "nft", rules)

    async def block(self, senders: Collection[str], receivers: Collection[str]) -> None:
        """Drop on the bridge whatever goes from one of these hosts to one of those; carriers stay."""
        self._blocked |= {
            (sender, receiver): None for sender in senders for receiver in receivers if sender != receiver
        }
        await self._filter()

    async def repair(self) -> None:
        """Drop nothing any more."""
        self._blocked.clear()
        await self._filter()

    async def _filter(self) -> None:
        ports = {name: host.port for name, host in self.hosts.items()}
        rules = [f'iifname "{ports[sender]}" oifname "{ports[receiver]}" drop;' for sender, receiver in self._blocked]
        table = (
            "add table bridge lab; delete table bridge lab; table bridge lab {"
            f" chain forward {{ type filter hook forward priority 0; {' '.join(rules)} }}; }}"
        )
        await run(self.root.prefix, "nft", table)


@asynccontextmanager
async def open_lan(interfaces: Mapping[str, IPv4Interface]) -> AsyncIterator[Lan]:
    """A LAN of these hosts. Raises LabUnavailable where there can be none."""
    if len(interfaces) > MAX_HOSTS:
        raise LabError(f"{len(interfaces)} hosts are more than the {MAX_HOSTS} that a lab may have")
    async with open_keeper() as keeper:
        root = await keeper.root()
        hosts = {}
        for number, (name, interface) in enumerate(interfaces.items(), 1):
            mac = f"02:00:00:00:00:{number:02x}"
            hosts[name] = Host(name, interface, mac, f"port{number}", await keeper.hold_namespace())
        await run(root.prefix, "ip", "-batch", "-", given="\n".join(_bridge(hosts.values())))
        async with trio.open_nursery() as nursery:
            for host in hosts.values():
                nursery.start_soon(_configure, host)
        yield Lan(keeper, root, hosts)


def _bridge(hosts: Iterable[Host]) -> Iterable[str]:
    yield "link add lan type bridge stp_state 0 mcast_snooping 0"
    yield "link set lan up"
    for host in hosts:
        peer = f"peer name {INTERFACE} address {host.mac} netns {host.namespace.pid}"
        yield f"link add {host.port} type veth {peer}"
        yield f"link set {host.port} master lan up"


async def _configure(host: Host) -> None:
    lines = (f"address add {host.interface} dev {INTERFACE}", "link set lo up", f"link set {INTERFACE} up")
    await run(host.namespace.prefix, "ip", "-batch", "-", given="\n".join(lines))
