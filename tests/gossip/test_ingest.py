"""What memberlist's receiver did with given bytes, ours does too; and what goes out whole is what memberlist sent."""

from dataclasses import replace

import pytest

from gossip import (
    CloseStream,
    GossipConfig,
    JoinCompleted,
    Keyring,
    Membership,
    UserMessageReceived,
    UserStateReceived,
    WriteStream,
    codec,
    profile,
)
from gossip.envelope import Envelope, WireConfig
from gossip.messages import Ack, Alive, ErrorReply, Ping, Suspect
from gossip.packets import read_packet_untrusted
from gossip.streams import StreamReader, encode_user_stream
from gossip.turns import run_to_end
from tests.gossip.helpers import VSN, Wire, events_of, make_member, of_type
from tests.vectors import NONCE, Fields, Vector, name_of, nilable, vectors

STRANGER = ("127.0.0.2", 7946)


def config_of(fields: Fields) -> GossipConfig:
    return profile("memberlist").with_wire(
        label=fields["label"].encode(),
        skip_inbound_label_check=fields["skipInboundLabelCheck"],
        verify_incoming=fields["gossipVerifyIncoming"],
        verify_outgoing=fields.get("gossipVerifyOutgoing", True),
        compression=False,
    )


def receiver_of(fields: Fields) -> Membership:
    """The member that the vectors were recorded with."""
    key = nilable(fields["key"])
    return make_member(
        "node-a", ("127.0.0.1", 7946), config_of(fields), keyring=Keyring((key,) if key is not None else ())
    )


def delivered_to(member: Membership) -> list[str]:
    return [event.payload.hex() for event in of_type(events_of(member), UserMessageReceived)]


@pytest.mark.rule("4.4a", "4.4b", "4.4c", "4.4d", "4.4e", "14b")
@pytest.mark.upstream("TestIngestPacket_CRC")
@pytest.mark.parametrize("vector", vectors("ingest_packet"), ids=name_of)
def test_a_packet_is_taken_as_memberlist_takes_it(vector: Vector) -> None:
    member = receiver_of(vector.fields)
    member.receive_datagram(vector.data, STRANGER, 1.0)
    assert delivered_to(member) == vector.fields["user_messages_delivered"]
    assert (member.statistics().datagram_problems == 0) == (vector.outcome == "accepted")
    assert member.datagrams_to_send() == []
    assert [peer.name for peer in member.members()] == ["node-a"]


@pytest.mark.rule(
    "5.1b", "5.1h", "5.2a", "5.2b", "5.2c", "5.2d", "5.2e", "5.2f", "5.2h", "5.2i", "5.4a", "5.4c", "5.5a"
)
@pytest.mark.parametrize("vector", vectors("ingest_stream"), ids=name_of)
@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "bytewise"])
def test_a_stream_is_served_as_memberlist_serves_it(vector: Vector, size: int) -> None:
    fields = vector.fields
    member = receiver_of(fields)
    stream = member.accept_stream(STRANGER, 1.0)
    for start in range(0, len(vector.data), size):
        member.receive_stream(stream, vector.data[start : start + size], 1.0)
    if vector.outcome.startswith("closed silently"):
        member.receive_stream(stream, b"", 1.0)
    commands = member.stream_commands()
    written = b"".join(command.data for command in commands if isinstance(command, WriteStream))
    _assert_same_reply(written, bytes.fromhex(fields["reply_hex"]), fields)
    assert commands[-1] == CloseStream(stream)
    events = events_of(member)
    assert [event.payload.hex() for event in of_type(events, UserMessageReceived)] == fields["user_messages_delivered"]
    assert list(of_type(events, UserStateReceived)) == []
    assert [f"{peer.name}:{peer.state.value}:{peer.incarnation}" for peer in member.members()] == fields["nodes_after"]


def _assert_same_reply(written: bytes, recorded: bytes, fields: Fields) -> None:
    """Byte for byte, but for the words of an error, which everybody chooses himself."""
    said = _reply_in(recorded, fields)
    if isinstance(said, ErrorReply):
        assert isinstance(_reply_in(written, fields), ErrorReply)
    else:
        assert written == recorded


def _reply_in(data: bytes, fields: Fields) -> object:
    if not data:
        return None
    key = nilable(fields["key"])
    wire = config_of(fields).wire
    reader = StreamReader(
        Envelope(wire, Keyring((key,) if key is not None else ()), lambda length: NONCE[:length]), labelled=False
    )
    reader.feed(data)
    return reader.next_message()


@pytest.mark.rule("4.2a", "4.2f", "6.2a")
@pytest.mark.parametrize("vector", vectors("packet_flow"), ids=name_of)
def test_what_memberlist_sent_is_what_we_would_make_of_it(vector: Vector) -> None:
    layers = Envelope(WireConfig(), Keyring(), lambda length: NONCE[:length])
    messages = run_to_end(read_packet_untrusted(layers.unwrap_packet_untrusted(vector.data))).messages
    (body,) = codec.make_compounds([codec.encode(message) for message in messages])
    assert layers.wrap_packet(body, crc=vector.data[0] == 12) == vector.data


def recorded_flow(name: str) -> bytes:
    (found,) = [vector.data for vector in vectors("packet_flow") if vector.name == name]
    return found


@pytest.mark.rule("4.1a")
def test_an_ack_carries_the_news_in_the_bytes_that_memberlist_sends() -> None:
    member = make_member("node-a", started_at=None)
    member.receive_datagram(codec.encode(Alive(2, "node-c", bytes((127, 0, 0, 1)), 7947, b"web", VSN)), STRANGER, 1.0)
    ping = Ping(9, "node-a", bytes((127, 0, 0, 2)), 7946, "node-b")
    member.receive_datagram(codec.encode(ping), ("127.0.0.2", 5555), 1.0)
    assert member.datagrams_to_send() == [(recorded_flow("flow_ack_with_piggybacked_alive"), STRANGER)]


@pytest.mark.rule("4.1d")
@pytest.mark.upstream("TestHandlePing")
def test_a_ping_is_acked_to_its_source_fields() -> None:
    member = make_member("node-a", started_at=None)
    member.receive_datagram(
        codec.encode(Ping(42, "node-a", bytes((127, 0, 0, 7)), 7000, "b")), ("127.0.0.2", 5555), 1.0
    )
    member.receive_datagram(codec.encode(Ping(43, "")), ("127.0.0.2", 5555), 1.0)
    assert member.datagrams_to_send() == [
        (codec.encode(Ack(42)), ("127.0.0.7", 7000)),
        (codec.encode(Ack(43)), ("127.0.0.2", 5555)),
    ]


@pytest.mark.upstream("TestHandlePing_WrongNode")
def test_a_ping_for_another_node_is_not_answered() -> None:
    member = make_member("node-a", started_at=None)
    member.receive_datagram(codec.encode(Ping(42, "node-a-bad")), STRANGER, 1.0)
    assert member.datagrams_to_send() == []


@pytest.mark.upstream("TestHandleCompoundPing")
def test_a_compound_of_pings_gets_as_many_acks() -> None:
    member = make_member("node-a", started_at=None)
    member.receive_datagram(codec.make_compound([codec.encode(Ping(42, "node-a"))] * 3), STRANGER, 1.0)
    assert member.datagrams_to_send() == [(codec.encode(Ack(42)), STRANGER)] * 3


@pytest.mark.rule("4.1h")
@pytest.mark.upstream("TestHandleCommand")
def test_a_datagram_of_nothing_is_nothing() -> None:
    member = make_member("node-a", started_at=None)
    member.receive_datagram(b"", STRANGER, 1.0)
    assert member.statistics().datagram_problems == 0
    member.receive_datagram(b"\x07\x01\x00\x00", STRANGER, 1.0)
    assert member.statistics().datagram_problems == 1


@pytest.mark.rule("4.3c", "4.3d")
@pytest.mark.upstream("TestRawSendUdp_CRC")
@pytest.mark.parametrize(("highest", "name", "expected"), [(4, "b", 0), (5, "b", 5), (5, "127.0.0.2", 5)])
def test_a_checksum_goes_to_members_that_understand_it(highest: int, name: str, expected: int) -> None:
    member = make_member("node-a", started_at=None)
    vsn = bytes((1, highest, 2, 0, 0, 0))
    member.receive_datagram(codec.encode(Alive(1, name, bytes((127, 0, 0, 2)), 7946, None, vsn)), STRANGER, 1.0)
    by_address = 5 if name == "127.0.0.2" else 0
    member.send(name, b"hello", 1.0)
    member.send(STRANGER, b"hello", 1.0)
    sizes = [len(data) - len(b"\x08hello") for data, _ in member.datagrams_to_send()]
    assert sizes == [expected, by_address]


@pytest.mark.rule("5.2e", "5.2f", "5.3f")
@pytest.mark.upstream("TestGossip_MismatchedKeys")
@pytest.mark.parametrize("keys", [(bytes(16), bytes(32)), (None, bytes(16)), (bytes(16), None)])
def test_a_joiner_with_another_key_is_told_so(keys: tuple[bytes | None, bytes | None]) -> None:
    acceptor, joiner = (
        make_member(name, address, keyring=Keyring((key,) if key is not None else ()))
        for name, address, key in zip("ab", (("127.0.0.1", 7946), STRANGER), keys, strict=True)
    )
    wire = Wire([acceptor, joiner])
    joiner.join([acceptor.local.address], 0.0)
    wire.step()
    (joined,) = of_type(wire.events["b"], JoinCompleted)
    assert joined.joined == ()
    ((_, reason),) = joined.refused
    assert reason
    assert len(acceptor.members()) == len(joiner.members()) == 1


def test_a_suspect_is_probed_with_the_accusation_in_the_bytes_that_memberlist_sends() -> None:
    """The ping with the accusation beside it, so that the accused can refute at once."""
    recorded = recorded_flow("flow_probe_of_suspect_node")
    layers = Envelope(WireConfig(), Keyring(), lambda length: NONCE[:length])
    ping, accusation = run_to_end(read_packet_untrusted(layers.unwrap_packet_untrusted(recorded))).messages
    assert isinstance(ping, Ping)
    assert isinstance(accusation, Suspect)
    config = profile("memberlist")
    member = make_member("node-a", config=replace(config, gossip=replace(config.gossip, interval=0.0)))
    node_b = codec.encode(Alive(3, "node-b", bytes((127, 0, 0, 2)), 7946, None, VSN))
    member.receive_datagram(node_b, STRANGER, 0.0)
    member.receive_datagram(codec.encode(accusation), STRANGER, 0.0)
    sent: list[bytes] = []
    while not sent and member.next_timer() < 10.0:
        member.handle_timer(member.next_timer())
        sent = [data for data, address in member.datagrams_to_send() if address == STRANGER]
    expected = codec.make_compound([codec.encode(replace(ping, seq_no=1)), codec.encode(accusation)])
    assert sent == [layers.wrap_packet(expected, crc=True)]


def test_many_small_streams_that_inflate_at_once_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is within its own limit, and no byte arrives while they grow."""
    monkeypatch.setattr("gossip.stream_table.MAX_BUFFERED_BYTES", 1_000_000)
    member = make_member("node-a", started_at=None)
    layers = Envelope(WireConfig(compression=True), Keyring(), lambda length: NONCE[:length])
    bomb = layers.wrap_stream(encode_user_stream(bytes(200_000)))
    assert len(bomb) * 20 < 100_000
    for _ in range(20):
        member.receive_stream(member.accept_stream(STRANGER, 1.0), bomb, 1.0)
    while member.next_timer() <= 1.0:
        member.handle_timer(1.0)
    delivered = len(delivered_to(member))
    assert 1 <= delivered < 20
    assert member.statistics().stream_problems == 20 - delivered
    assert "more unread bytes than allowed" in member.statistics().last_stream_problem
    assert member.statistics().streams_open == 0
