"""The member table: who is known, in which state, in which order they are probed.

Rules kept here:

* The mutable :class:`Record` never leaves the package; users get frozen :class:`Member` snapshots with the true
  state.
* A record is *listed* while the protocol counts it: it is probed, gossiped to, sent in push/pulls, and part of
  ``n``. A member that has been dead for long is remembered but no longer listed, so that it can be pinged on
  without stretching anybody's timeouts.
* Only this module knows how records are stored. Random choices follow memberlist-protocol.md §8.1, 9.1, 10.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gossip.addresses import unpack_host
from gossip.errors import LocalError
from gossip.messages import NodeState, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from gossip.addresses import Address
    from gossip.suspicion import Suspicion

NO_VERSIONS: Final = bytes(6)
"""What is stored for a member that announced none."""
_ALIVE, _SUSPECT, _DEAD, _LEFT = State.ALIVE, State.SUSPECT, State.DEAD, State.LEFT


@dataclass(frozen=True, slots=True)
class Member:
    """A member as it was at one moment. ``changed_at`` is when ``state`` last changed, in the clock of the inputs."""

    name: str
    address: Address
    meta: bytes
    versions: bytes
    """Six bytes: protocol lowest, highest, current; the application's lowest, highest, current (§7)."""
    incarnation: int
    state: State
    changed_at: float

    @property
    def is_live(self) -> bool:
        """Alive or merely suspected: what memberlist calls a member."""
        return self.state in (State.ALIVE, State.SUSPECT)


class Record:
    """One member, mutable. Call :meth:`touch` after changing a field that snapshots show."""

    __slots__ = (
        "_member", "_node_state", "accused", "addr", "address", "answered_at", "changed_at", "incarnation", "listed",
        "meta", "name", "port", "state", "suspicion", "vsn",
    )  # fmt: skip

    def __init__(self, name: str, addr: bytes, port: int, now: float) -> None:
        self.name: Final = name
        self.incarnation = 0
        self.accused = 0
        """Highest incarnation at which anybody accused it since it was last believed alive."""
        self.meta: bytes | None = None
        self.vsn = NO_VERSIONS
        self.state = _DEAD
        self.changed_at = now
        self.answered_at: float | None = None
        """When a stale claim about it was last answered."""
        self.suspicion: Suspicion | None = None
        self.listed = False
        self.move(addr, port)

    def move(self, addr: bytes, port: int) -> None:
        """Take a new address."""
        self.addr = addr
        self.port = port
        self.address: Address = (unpack_host(addr), port)
        self.touch()

    def touch(self) -> None:
        """Forget the snapshots."""
        self._member: Member | None = None
        self._node_state: NodeState | None = None

    def become(self, state: State, now: float) -> None:
        """Change state and stamp the time."""
        self.state = state
        self.changed_at = now
        self.touch()

    @property
    def is_live(self) -> bool:
        """Alive or suspect."""
        return self.state is _ALIVE or self.state is _SUSPECT

    @property
    def protocol_max(self) -> int:
        """The highest protocol version it understands; decides about crc, nacks, stream pings (§7)."""
        return self.vsn[1]

    def member(self) -> Member:
        """The snapshot; the same object until something changes."""
        if self._member is None:
            self._member = Member(
                self.name, self.address, self.meta or b"", self.vsn, self.incarnation, self.state, self.changed_at
            )
        return self._member

    def node_state(self) -> NodeState:
        """The same for a push/pull."""
        if self._node_state is None:
            self._node_state = NodeState(
                self.name, self.addr, self.port, self.meta, self.incarnation, int(self.state), self.vsn
            )
        return self._node_state


class Roster:
    """All records. ``order`` is the probe order of the listed ones."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._records: dict[str, Record] = {}
        self._order: list[Record] = []
        self._next_probe = 0

    def __len__(self) -> int:
        """Listed members of any state, this one included: memberlist's ``n`` (§8.1)."""
        return len(self._order)

    def __iter__(self) -> Iterator[Record]:
        """Everybody known, in the order in which they became known."""
        return iter(self._records.values())

    def get(self, name: str) -> Record | None:
        """The record of that name, listed or only remembered."""
        return self._records.get(name)

    def locate(self, to: str | Address) -> tuple[Record | None, Address]:
        """The member of that name and its address, or an address as it is. Raises :class:`LocalError` for an
        unknown name."""
        if not isinstance(to, str):
            return None, to
        record = self._records.get(to)
        if record is None:
            raise LocalError(f"no member is called {to!r}")
        return record, record.address

    @property
    def known(self) -> int:
        """Records held, the remembered ones included."""
        return len(self._records)

    def listed(self) -> list[Record]:
        """The listed records in probe order."""
        return list(self._order)

    def add(self, record: Record) -> None:
        """List a record, new or remembered, at a random place, so that probe order is not join order."""
        self._records[record.name] = record
        if not record.listed:
            record.listed = True
            order = self._order
            order.append(record)
            place = self._rng.randrange(len(order))
            order[place], order[-1] = order[-1], order[place]

    def unlist(self, retired: list[Record]) -> None:
        """Stop counting these; they stay known."""
        for record in retired:
            record.listed = False
        if retired:
            self._order = [record for record in self._order if record.listed]

    def forget(self, name: str) -> None:
        """Drop a record altogether."""
        record = self._records.pop(name, None)
        if record is not None and record.listed:
            self.unlist([record])

    def anybody_live_but(self, own: Record) -> bool:
        """Whether anybody else is alive or suspect."""
        return any(record.is_live and record is not own for record in self._order)

    def pick(self, k: int, accept: Callable[[Record], bool]) -> list[Record]:
        """Up to ``k`` different listed records that ``accept`` takes, at random (§10.3): a short list is searched
        whole."""
        order, rng = self._order, self._rng
        if k <= 0:
            return []
        if len(order) < 3 * k:
            pool = list(order)
            rng.shuffle(pool)
            return [record for record in pool if accept(record)][:k]
        chosen: list[Record] = []
        size = len(order)
        for _ in range(3 * size):
            record = order[int(rng.random() * size)]
            if record not in chosen and accept(record):
                chosen.append(record)
                if len(chosen) == k:
                    break
        return chosen

    def next_to_probe(self, own: Record, at_end: Callable[[], None]) -> Record | None:
        """The next live member in probe order; ``at_end`` runs before each new round, which is shuffled (§9.1)."""
        for _ in range(len(self._order) + 1):
            if self._next_probe >= len(self._order):
                at_end()
                self._rng.shuffle(self._order)
                self._next_probe = 0
                if not self._order:
                    return None
            record = self._order[self._next_probe]
            self._next_probe += 1
            if record.is_live and record is not own:
                return record
        return None
