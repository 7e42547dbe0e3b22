"""The workload of a node: tells over HTTP and UDP which node it is on, at whatever address it is asked.

Rules kept here:

* It listens on every address of its host, and answers from the address that was asked, as a service's client expects.
* One connection is one question; whoever sends nothing, or too much, is hung up on.

Run as `python -m sim.lab.service NODE PORT…`.
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import partial
from typing import Final

import trio

MAX_REQUEST: Final = 8 * 1024
MAX_DATAGRAM: Final = 2 * 1024
REQUEST_TIMEOUT: Final = 5.0
"""Seconds for a client to finish its question."""
MAX_DATAGRAMS_PER_TURN: Final = 256
IP_PKTINFO: Final = 8
"""linux/in.h; Python names it from 3.14 on."""
PKTINFO: Final = struct.Struct("=i4s4s")
"""Interface index, local address, address in the header."""


async def answer_http(node: str, stream: trio.SocketStream) -> None:
    """Read one request, whatever it asks, and answer with the node's name."""
    request = b""
    with trio.move_on_after(REQUEST_TIMEOUT):
        try:
            while b"\r\n\r\n" not in request:
                chunk = await stream.receive_some(MAX_REQUEST)
                request += chunk
                if not chunk or len(request) > MAX_REQUEST:
                    return
            body = f"{node}\n".encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            await stream.send_all(head % len(body) + body)
            await stream.send_eof()
        except trio.BrokenResourceError:
            return


async def answer_datagrams(node: str, port: int) -> None:
    """Send each datagram back with the node's name behind it."""
    name = f" {node}".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_IP, IP_PKTINFO, 1)
        sock.setblocking(False)
        sock.bind(("0.0.0.0", port))
        while True:
            await trio.lowlevel.wait_readable(sock)
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                if not _answer_one(sock, name):
                    break


def _answer_one(sock: socket.socket, name: bytes) -> bool:
    """False when nothing waits."""
    try:
        data, ancillary, _, sender = sock.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(PKTINFO.size))
        asked = next(PKTINFO.unpack(value)[2] for _, kind, value in ancillary if kind == IP_PKTINFO)
        source = PKTINFO.pack(0, asked, bytes(4))
        sock.sendmsg([data, name], [(socket.SOL_IP, IP_PKTINFO, source)], 0, sender)
    except BlockingIOError:
        return False
    except OSError:  # the address that was asked is not ours any more, or the sender cannot be reached
        return True
    return True


async def serve(node: str, ports: list[int]) -> None:
    """Serve for ever on all ports, over TCP and UDP."""
    async with trio.open_nursery() as nursery:
        for port in ports:
            nursery.start_soon(answer_datagrams, node, port)
            await nursery.start(partial(trio.serve_tcp, partial(answer_http, node), port, host="0.0.0.0"))


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], [int(word) for word in sys.argv[2:]])
