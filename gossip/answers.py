"""Telling a peer what it has missed about a member: the accusation it may refute, or the refutation (watch.md §4,
memberlist-protocol.md §16 row 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.messages import Alive, Dead, PacketMessage, State, Suspect

if TYPE_CHECKING:
    from gossip.addresses import Address
    from gossip.members import Record
    from gossip.outbox import Outbox

ANSWER_INTERVAL: Final = 1.0
"""Seconds between two answers about one member, so that old news in plenty is not met with as much new."""


class Answers:
    """Direct answers to claims that are out of date."""

    def __init__(self, own: Record, outbox: Outbox) -> None:
        self._own = own
        self._outbox = outbox

    def tell(self, record: Record, address: Address, now: float) -> None:
        """Send to ``address`` what we hold of a member, at most once a second: to itself, so that it can refute, or
        to whoever has missed that it did."""
        if record.answered_at is not None and now - record.answered_at < ANSWER_INTERVAL:
            return
        accused = max(record.incarnation, record.accused)
        held: dict[State, PacketMessage] = {
            State.ALIVE: Alive(record.incarnation, record.name, record.addr, record.port, record.meta, record.vsn),
            State.SUSPECT: Suspect(accused, record.name, self._own.name),
            State.DEAD: Dead(accused, record.name, self._own.name),
            State.LEFT: Dead(accused, record.name, record.name),
        }
        self._outbox.send(held[record.state], address, record if address == record.address else None)
        record.answered_at = now
