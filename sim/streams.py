"""Streams between simulated nodes, as far as a core notices: they connect, are refused, take too long, deliver bytes
in order, close and break.

Rules kept here:

* A connection needs both directions to be opened, and then each direction only itself. What is lost is sent again
  with back-off, and what was written after it waits.
* A node whose process ended answers with a reset, a host that is gone with silence.
* An end belongs to one process. What arrives for an earlier one never reaches a later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip import CloseStream, OpenStream, WriteStream

if TYPE_CHECKING:
    from gossip import Address, StreamCommand, StreamId
    from sim.node import Core, Node
    from sim.stage import Stage

CONNECT_RETRY: Final = 1.0
"""Seconds after which an unanswered connect is tried again, doubled each time."""
SEGMENT_RETRY: Final = 0.2
"""Seconds after which a lost segment is sent again, doubled each time."""
MAX_SEGMENT_RETRIES: Final = 8
"""Tries after which a connection is given up: 51 seconds."""
EPHEMERAL_PORT: Final = 49_152
"""Port that every connecting side seems to come from; nothing tells them apart by it."""


class End:
    """One side of a connection. ``peer`` is the other, ``None`` until there is one."""

    __slots__ = ("arrives_at", "closing", "core", "node", "number", "outgoing", "peer", "stalled")

    def __init__(self, node: Node, number: StreamId | None, peer: End | None = None) -> None:
        self.node: Final = node
        self.core: Final = node.core
        self.number = number
        """The core's name for it; ``None`` until the connection is accepted."""
        self.peer = peer
        self.outgoing: list[bytes] = []
        self.stalled = False
        self.closing = False
        self.arrives_at = 0.0
        """When the last segment reaches the peer; the next one does not before."""


class Streams:
    """All connections of a simulation."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.opened = 0
        self.refused = 0
        self.timed_out = 0
        self.broken = 0

    def carry_out(self, node: Node, command: StreamCommand) -> None:
        """Do what a core says about a stream of its own. One that is over is ignored."""
        if isinstance(command, OpenStream):
            end = node.streams[command.stream] = End(node, command.stream)
            self._connect(end, command.address, command.deadline, CONNECT_RETRY)
            return
        found = node.streams.get(command.stream)
        if found is None:
            return
        if isinstance(command, WriteStream):
            found.outgoing.append(command.data)
        elif isinstance(command, CloseStream):
            found.closing = True
            del node.streams[command.stream]
        if found.peer is not None and not found.stalled:
            self._send(found, 0)

    def reset(self, node: Node) -> None:
        """The process of ``node`` is about to end: its kernel tells all its peers."""
        for end in node.streams.values():
            if end.peer is not None:
                self._send_reset(node, end.peer)

    # ---- connecting

    def _connect(self, end: End, address: Address, deadline: float, retry: float) -> None:
        """One attempt, there and back. The process on the other side has no part in it, if there is one."""
        stage, node = self._stage, end.node
        if node.core is not end.core:
            return
        there, back = None, None
        target = stage.node_at(address)
        if target is not None and target.host_is_up:
            there = stage.network.carry(node.name, target.name)
            back = there and stage.network.carry(target.name, node.name)
        if target is not None and there and back:
            answered = self._connected if target.core is not None else self._refused
            stage.at(stage.now + there[0] + back[0], answered, end, target)
        elif stage.now + retry < deadline:
            stage.at(stage.now + retry, self._connect, end, address, deadline, retry * 2)
        else:
            stage.at(deadline, self._take_too_long, end)

    def _connected(self, end: End, target: Node) -> None:
        if end.node.core is end.core:
            self.opened += 1
            end.peer = End(target, None, end)
            self._send(end, 0)  # also when there is nothing to say yet: the other side accepts on it

    def _refused(self, end: End, target: Node) -> None:
        self.refused += 1
        self._stage.give(end.node, self._fail, end, f"{target.name} refused the connection")

    def _take_too_long(self, end: End) -> None:
        self.timed_out += 1
        self._stage.give(end.node, self._fail, end, "no connection in time")

    # ---- connected

    def _send(self, end: End, tries: int) -> None:
        """Send all that waits as one segment; when it is lost, again later."""
        stage, peer = self._stage, end.peer
        if end.node.core is not end.core or peer is None:
            return
        delays = stage.network.carry(end.node.name, peer.node.name)
        end.stalled = not delays
        if delays:
            data = b"".join(end.outgoing)
            end.outgoing.clear()
            end.arrives_at = max(end.arrives_at, stage.now + delays[0])
            stage.at(end.arrives_at, self._arrive, peer, data, end.closing)
        elif tries < MAX_SEGMENT_RETRIES:
            stage.at(stage.now + SEGMENT_RETRY * 2**tries, self._send, end, tries + 1)
        else:
            self._break(end, "the connection broke: timed out")

    def _arrive(self, end: End, data: bytes, is_last: bool) -> None:
        node = end.node
        if not node.host_is_up:
            return
        if node.core is not end.core:
            if end.peer is not None:
                self._send_reset(node, end.peer)
            return
        if end.number is None:
            self._stage.give(node, self._accept, end)
        if data:
            self._stage.give(node, self._receive, end, data)
        if is_last:
            self._stage.give(node, self._receive, end, b"")

    def _send_reset(self, node: Node, peer: End) -> None:
        for delay in self._stage.network.carry(node.name, peer.node.name)[:1]:
            self._stage.at(self._stage.now + delay, self._break, peer, "the connection broke: reset")

    def _break(self, end: End, reason: str) -> None:
        self.broken += 1
        self._stage.give(end.node, self._fail, end, reason)

    # ---- inputs to the core that owns the end, unless the stream is over for it

    def _accept(self, end: End) -> None:
        core, peer = end.core, end.peer
        if core is not None and peer is not None and end.number is None:
            end.number = core.accept_stream((peer.node.address[0], EPHEMERAL_PORT), self._stage.now)
            end.node.streams[end.number] = end
            self._stage.note("accept", end.node, peer.node.name)

    def _receive(self, end: End, data: bytes) -> None:
        core = self._owner(end)
        if core is not None and end.number is not None:
            self._stage.note("stream", end.node, str(end.number), data)
            core.receive_stream(end.number, data, self._stage.now)

    def _fail(self, end: End, reason: str) -> None:
        core = self._owner(end)
        if core is not None and end.number is not None:
            del end.node.streams[end.number]
            self._stage.note("stream failed", end.node, f"{end.number}: {reason}")
            core.stream_failed(end.number, reason, self._stage.now)

    def _owner(self, end: End) -> Core | None:
        """The core that still wants to hear of this end."""
        node = end.node
        is_open = end.number is not None and node.streams.get(end.number) is end
        return node.core if is_open and node.core is end.core else None
