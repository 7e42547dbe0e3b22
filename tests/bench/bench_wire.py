"""The wire: messages, compression, layers. The first six have a counterpart in memberlist's own packages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from gossip import Keyring, WireConfig
from gossip.codec import decode_message_untrusted, encode
from gossip.envelope import Envelope
from gossip.lzw import compress
from gossip.messages import Alive, Ping
from tests.bench.measuring import RUNS, Row, time_calls
from tests.gossip.wire.helpers import decompress_untrusted
from tests.interop.programs import GoPeer

SIZES = (1_024, 65_536)
"""Bytes compressed: a packet's worth, and a push/pull of seven hundred members."""
GO_CALLS = {"encode": 50_000, "decode": 50_000, "compress": 2_000, "decompress": 2_000}


def alive(number: int) -> Alive:
    addr, vsn = bytes((10, 0, number >> 8, number & 255)), bytes((1, 5, 2, 0, 0, 0))
    return Alive(number, f"node-{number:05d}", addr, 7946, None, vsn)


def sample(size: int) -> bytes:
    """Bytes that repeat as gossip does; the same that the peer compresses."""
    return b"".join(encode(alive(number)) for number in range(size // 50))[:size]


async def theirs(peer: GoPeer | None, operation: str, size: int = 0) -> list[float] | None:
    if peer is None:
        return None
    count = GO_CALLS[operation.partition("-")[0]] // max(1, size // 1_024)
    replies = [await peer.command("bench", op=operation, n=count, size=size, within=60) for _ in range(RUNS)]
    return [reply["ns_per_op"] / 1e9 for reply in replies]


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Encode, decode, LZW, seal and open."""
    messages: dict[str, Ping | Alive] = {
        "ping": Ping(4711, "node-00001", bytes((10, 0, 0, 1)), 7946, "node-00002"),
        "alive": alive(1),
    }
    for name, message in messages.items():
        data = encode(message)
        operations: dict[str, Callable[[], object]] = {
            "encode": lambda message=message: encode(message),  # type: ignore[misc]  # a lambda's default is not inferred
            "decode": lambda data=data: decode_message_untrusted(data),  # type: ignore[misc]  # the same
        }
        for verb, operation in operations.items():
            yield Row(f"{verb} {name}", time_calls(operation), await theirs(peer, f"{verb}-{name}"))
    for size in SIZES:
        plain = sample(size)
        packed = compress(plain)
        assert decompress_untrusted(packed, size) == plain
        kib = f"{size // 1024} KiB"
        yield Row(f"compress {kib}", time_calls(lambda: compress(plain)), await theirs(peer, "compress", size))  # noqa: B023  # called before the next round
        ours = time_calls(lambda: decompress_untrusted(packed, size))  # noqa: B023  # called before the next round
        yield Row(f"decompress {kib}", ours, await theirs(peer, "decompress", size))
    for row in measure_layers():
        yield row


def measure_layers() -> list[Row]:
    """A packet of 1,024 bytes with its checksum, and with encryption round that."""
    body, rows = sample(1_024), []
    for name, keyring in (("checksum", Keyring()), ("checksum and AES-128", Keyring([bytes(range(16))]))):
        envelope = Envelope(WireConfig(), keyring, bytes)
        packet = envelope.wrap_packet(body, crc=True)
        assert envelope.unwrap_packet_untrusted(packet) == body
        rows.append(Row(f"wrap 1 KiB: {name}", time_calls(lambda e=envelope: e.wrap_packet(body, crc=True))))  # type: ignore[misc]  # a lambda's default is not inferred
        rows.append(Row(f"unwrap 1 KiB: {name}", time_calls(lambda e=envelope, p=packet: e.unwrap_packet_untrusted(p))))  # type: ignore[misc]  # the same
    return rows
