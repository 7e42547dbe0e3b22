"""Packets of packets: nesting, one bad part among good ones, bombs, and the pauses between turns."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import codec, lzw
from gossip.errors import BadPacket
from gossip.messages import Ack, PacketMessage, Ping, UserMessage
from gossip.packets import (
    INFLATE_TURN,
    MAX_PACKET_DEPTH,
    MAX_PACKET_INFLATED,
    MAX_PACKET_MESSAGES,
    PacketContents,
    read_packet_untrusted,
)
from gossip.turns import run_to_end
from tests.gossip.wire.helpers import with_pauses
from tests.gossip.wire.strategies import packet_messages


def compressed(body: bytes) -> bytes:
    return codec.encode_compressed(lzw.compress(body))


def read(body: bytes) -> PacketContents:
    return run_to_end(read_packet_untrusted(body))


def turns(body: bytes) -> int:
    """How often reading it pauses."""
    return with_pauses(read_packet_untrusted(body))[1]


ACK = codec.encode(Ack(7))


@pytest.mark.rule("4.2e")
@given(st.lists(packet_messages, min_size=1, max_size=8), st.data())
def test_any_nesting_is_flattened_in_order(messages: list[PacketMessage], data: st.DataObject) -> None:
    def nest(parts: list[bytes], depth: int) -> bytes:
        if len(parts) == 1 and depth == 0:
            return parts[0]
        wrap = data.draw(st.sampled_from(["compound", "compress", "split"])) if depth else "compound"
        if wrap == "compress":
            return compressed(nest(parts, depth - 1))
        if wrap == "split" and len(parts) > 1:
            middle = data.draw(st.integers(1, len(parts) - 1))
            return codec.make_compound([nest(parts[:middle], depth - 1), nest(parts[middle:], depth - 1)])
        return codec.make_compound(parts)

    small = [message for message in messages if len(codec.encode(message)) < 2000] or [Ack(1)]
    body = nest([codec.encode(message) for message in small], data.draw(st.integers(0, 4)))
    contents = read(body)
    assert contents.messages == tuple(small)
    assert contents.problems == ()


@pytest.mark.rule("4.2b")
def test_an_empty_compound_holds_nothing() -> None:
    assert read(b"\x07\x00") == PacketContents((), (), ("compound",))


@pytest.mark.rule("4.2b", "4.4e")
@pytest.mark.parametrize(
    "bad", [b"", b"\x06\x80", b"\x0d\x80", b"\x0c\x00\x00\x00\x00" + ACK, b"\x00\xc1", b"\x07\x09"]
)
def test_a_bad_part_spoils_nothing_but_itself(bad: bytes) -> None:
    contents = read(codec.make_compound([ACK, bad, b"\x08user"]))
    assert contents.messages == (Ack(7), UserMessage(b"user"))
    assert len(contents.problems) == 1


@pytest.mark.rule("4.2c")
@pytest.mark.upstream("TestDecodeCompoundMessage_Trunc")
def test_a_compound_cut_short_is_read_as_far_as_it_goes() -> None:
    contents = read(codec.make_compound([ACK, ACK, ACK])[:-1])
    assert contents.messages == (Ack(7), Ack(7))
    assert len(contents.problems) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x07",
        b"\x07\x01\x00\x00",
        codec.make_compound([b"\x63"]),
        compressed(b""),
        codec.encode_compressed(b"\x00\x01"),
        b"\x09\x82\xa4Algo\x01\xa3Buf\xa0",
        compressed(compressed(b"\x63")),
    ],
)
def test_a_packet_with_nothing_readable_is_refused(body: bytes) -> None:
    with pytest.raises(BadPacket):
        read(body)


def _deep(depth: int, wrap: str) -> bytes:
    body = ACK
    for _ in range(depth):
        body = compressed(body) if wrap == "compress" else codec.make_compound([body])
    return body


@pytest.mark.rule("4.2e")
@pytest.mark.parametrize("wrap", ["compound", "compress"])
def test_nesting_is_bounded(wrap: str) -> None:
    assert read(_deep(MAX_PACKET_DEPTH, wrap)).messages == (Ack(7),)
    with pytest.raises(BadPacket, match="nested deeper"):
        read(_deep(MAX_PACKET_DEPTH + 1, wrap))


def test_the_number_of_parts_is_bounded() -> None:
    inner = [codec.make_compound([ACK] * 255)] * 3
    rest = MAX_PACKET_MESSAGES - 1 - 3 * 256 - 1
    exact = read(codec.make_compound([*inner, codec.make_compound([ACK] * rest)]))
    assert exact.problems == ()
    assert len(exact.messages) == 3 * 255 + rest
    over = read(codec.make_compound([*inner, codec.make_compound([ACK] * (rest + 1))]))
    assert over.messages == exact.messages
    assert over.problems == (f"more than {MAX_PACKET_MESSAGES} parts",)


@pytest.mark.rule("4.2e", "6.1d")
def test_what_a_packet_inflates_to_is_bounded_as_a_whole() -> None:
    half = compressed(b"\x08" + bytes(MAX_PACKET_INFLATED // 2 - 1))
    assert len(read(codec.make_compound([half, half])).messages) == 2
    contents = read(codec.make_compound([half, half, compressed(ACK), ACK]))
    assert contents.messages[2:] == (Ack(7),)
    assert len(contents.problems) == 1
    with pytest.raises(BadPacket, match="inflates to more"):
        read(compressed(b"\x08" + bytes(MAX_PACKET_INFLATED)))


def test_parts_that_fail_to_inflate_use_the_room_up_too() -> None:
    broken = codec.encode_compressed(lzw.compress(bytes(60_000))[:-2])
    contents = read(codec.make_compound([ACK, *[broken] * 3, half_of_the_room()]))
    assert contents.messages == (Ack(7),)
    assert len(contents.problems) == 4


def half_of_the_room() -> bytes:
    return compressed(b"\x08" + bytes(MAX_PACKET_INFLATED // 2))


def test_a_packet_of_common_size_is_read_in_one_turn() -> None:
    for body in (ACK, codec.make_compound([ACK] * 60), compressed(codec.make_compound([ACK] * 60))):
        assert turns(body) == 0


@pytest.mark.parametrize("inflated", [3 * INFLATE_TURN, MAX_PACKET_INFLATED - 1])
def test_much_inflating_pauses(inflated: int) -> None:
    body = compressed(b"\x08" + bytes(inflated))
    assert inflated // (INFLATE_TURN + 4096) <= turns(body) <= inflated // INFLATE_TURN + 1


def test_many_small_parts_pause_too() -> None:
    assert turns(codec.make_compound([compressed(b"\x08" + bytes(1000))] * 60)) >= 6
    assert turns(codec.make_compound([codec.make_compound([ACK] * 200)] * 5)) >= 4


def test_a_reader_that_is_left_can_be_resumed() -> None:
    ping = Ping(1, "b")
    body = compressed(codec.make_compound([codec.encode(ping), b"\x08" + bytes(30_000)]))
    reading = read_packet_untrusted(body)
    next(reading)
    assert run_to_end(reading).messages == (ping, UserMessage(bytes(30_000)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadPacket):
        read(b"\x07" + body)
