"""Packet sockets: one on each interface that is served, with a filter in the kernel.

Rules kept here:

* The filter is in force before the first frame can arrive. A socket of one protocol, not of all of them, hears nothing
  of what this machine sends.
* A frame that cannot be sent is counted and dropped: an interface that is down or gone is everyday life.
* One interface's flood leaves the others their turns.

Source: packet(7); design.md §6.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from speaker.fast.capabilities import Capability, complaint
from speaker.l2 import filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from speaker.l2.filters import Program

ETH_P_ARP: Final = 0x0806
SOL_PACKET: Final = 263
PACKET_STATISTICS: Final = 6
SO_ATTACH_FILTER: Final = 26
COUNTERS: Final = struct.Struct("=II")
"""What PACKET_STATISTICS gives: frames that passed the filter, and those of them that found the buffer full."""

MAX_FRAME: Final = 2048
"""Bytes read of a frame; longer ones are cut, and none that matters here is."""
MAX_FRAMES_PER_TURN: Final = 64
"""Frames read from one interface before others get a turn."""
RECEIVE_BUFFER: Final = 1024 * 1024
"""Bytes asked for; the kernel gives at most net.core.rmem_max."""


@dataclass(frozen=True, slots=True)
class PacketStatistics:
    """Frames, counted since the start."""

    received: int
    lost: int
    """Frames that the kernel dropped because they were not read fast enough."""
    sent: int
    unsent: int
    """Frames that could not be sent: no such interface any more, interface down, no room."""


class PacketSockets:
    """The sockets of one protocol. ``heard(index, frame)`` is called for each frame that passes the filter.

    They are closed by ``close``, and when the nursery is cancelled.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        heard: Callable[[int, bytes], None],
        program: Program = filters.ARP,
        *,
        protocol: int = ETH_P_ARP,
    ) -> None:
        self._nursery = nursery
        self._heard = heard
        self._program = program
        self._protocol = protocol
        self._sockets: dict[int, socket.socket] = {}
        self._received = self._lost = self._sent = self._unsent = 0

    @property
    def indexes(self) -> tuple[int, ...]:
        """The interfaces that have a socket, ascending."""
        return tuple(sorted(self._sockets))

    def set_interfaces(self, indexes: Iterable[int]) -> dict[int, str]:
        """Serve these interfaces and no others. Gives the reason for each that has no socket now.

        To be called again at each change of the interfaces, also where the indexes stay the same: a socket whose
        interface was deleted is replaced if a new one has taken its index, and what failed is tried again.
        Raises :class:`PermissionError`, with the cure, when this process may not open packet sockets.
        """
        wanted = sorted(set(indexes))
        for index in self.indexes:
            if index not in wanted or not _is_attached(self._sockets[index]):
                self._close(index)
        failed: dict[int, str] = {}
        for index in wanted:
            if index in self._sockets:
                continue
            try:
                sock = self._open(index)
            except PermissionError as exc:
                raise PermissionError(exc.errno, complaint(Capability.CAP_NET_RAW)) from exc
            except OSError as exc:
                failed[index] = exc.strerror or str(exc)
                continue
            self._sockets[index] = sock
            self._nursery.start_soon(self._read, index, sock)
        return failed

    def send(self, index: int, frame: bytes) -> None:
        """Send a whole Ethernet frame on an interface, or count that it could not be sent."""
        sock = self._sockets.get(index)
        try:
            if sock is not None:
                sock.send(frame)
        except OSError:
            sock = None
        if sock is None:
            self._unsent += 1
        else:
            self._sent += 1

    def statistics(self) -> PacketStatistics:
        """What went through the sockets so far."""
        for sock in self._sockets.values():
            self._count_lost(sock)
        return PacketStatistics(self._received, self._lost, self._sent, self._unsent)

    def close(self) -> None:
        """Close every socket."""
        for index in self.indexes:
            self._close(index)

    def _open(self, index: int) -> socket.socket:
        # Without a protocol the socket is deaf until it is bound, and by then the filter is in force.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            _attach(sock, self._program)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            name = socket.if_indextoname(index)
            sock.bind((name, self._protocol))
            if socket.if_nametoindex(name) != index:  # renamed in between: bound to its successor
                raise OSError(errno.ENODEV, "the interface was renamed just now")
        except BaseException:
            sock.close()
            raise
        return sock

    def _close(self, index: int) -> None:
        sock = self._sockets.pop(index)
        self._count_lost(sock)
        trio.lowlevel.notify_closing(sock)
        sock.close()

    def _count_lost(self, sock: socket.socket) -> None:
        _passed, lost = COUNTERS.unpack(sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, COUNTERS.size))
        self._lost += lost  # the kernel begins again at each reading

    async def _read(self, index: int, sock: socket.socket) -> None:
        try:
            while sock.fileno() >= 0:
                await trio.lowlevel.wait_readable(sock)
                self._read_waiting(index, sock)
        except trio.ClosedResourceError:
            return
        finally:
            if self._sockets.get(index) is sock:
                self._close(index)

    def _read_waiting(self, index: int, sock: socket.socket) -> None:
        for _ in range(MAX_FRAMES_PER_TURN):
            if sock.fileno() < 0:  # closed by what was heard
                return
            try:
                frame = sock.recv(MAX_FRAME)
            except BlockingIOError:
                return
            except OSError:
                # The interface went down (it may come up again under this socket) or is gone.
                if not _is_attached(sock):
                    self._close(index)
                return
            self._received += 1
            self._heard(index, frame)


def _is_attached(sock: socket.socket) -> bool:
    """Whether the interface of a bound socket still exists."""
    return bool(sock.getsockname()[0])


def _attach(sock: socket.socket, program: Program) -> None:
    code = filters.encode_program(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))
