"""What the driver asks of its sockets (memberlist-protocol.md §4.1, 11.1)."""

from __future__ import annotations

import socket

import pytest
import trio

from gossip import UserMessageReceived
from gossip.codec import encode
from gossip.driver import open_ring
from gossip.driver.sockets import RECEIVE_BUFFER, bind
from gossip.messages import UserMessage
from tests.gossip.bench import STILL

LARGEST_ON_IPV4 = 65_507


def receive_buffer_of(asked: int) -> int:
    """What this machine gives a socket that asks for so many bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.rule("11.1i")
@pytest.mark.parametrize("limit", [RECEIVE_BUFFER, 300_000])
async def test_the_receive_buffer_is_as_large_as_asked_or_as_the_system_allows(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {RECEIVE_BUFFER: RECEIVE_BUFFER, 300_000: RECEIVE_BUFFER // 8}[limit]
    expected = receive_buffer_of(given)
    setsockopt = socket.socket.setsockopt

    def rigged(sock: socket.socket, level: int, option: int, value: int) -> None:
        if option == socket.SO_RCVBUF and value > limit:
            raise OSError("not that much")
        setsockopt(sock, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", rigged)
    datagrams, listener = bind(("127.0.0.1", 0))
    with datagrams, listener:
        assert datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == expected


@pytest.mark.rule("4.1i")
async def test_the_largest_datagram_is_read_whole() -> None:
    payload = bytes(range(256)) * 256
    message = encode(UserMessage(payload[: LARGEST_ON_IPV4 - 1]))
    assert len(message) == LARGEST_ON_IPV4
    async with open_ring("ann", ("127.0.0.1", 0), STILL) as ann, ann.subscribe() as heard:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, ann.view.local.address)
        with trio.fail_after(10):
            async for event in heard:
                if isinstance(event, UserMessageReceived):
                    assert event.payload == payload[: LARGEST_ON_IPV4 - 1]
                    break


async def test_streams_come_from_the_bound_address_as_datagrams_do() -> None:
    async with (
        open_ring("ann", ("127.0.77.1", 0), STILL) as ann,
        open_ring("bea", ("127.0.77.2", 0), STILL) as bea,
        ann.subscribe() as heard,
    ):
        await bea.send(ann.view.local.address, b"by stream", reliable=True)
        with trio.fail_after(10):
            async for event in heard:
                if isinstance(event, UserMessageReceived):
                    assert event.source[0] == "127.0.77.2"
                    break
