"""Every recorded vector, both ways: our bytes are memberlist's, and its bytes are our messages."""

from typing import Any

import pytest

from gossip import codec, lzw
from gossip.envelope import Envelope, WireConfig
from gossip.errors import BadPacket
from gossip.keyring import Keyring, metallb_key, sealed_length
from gossip.messages import (
    Ack,
    Alive,
    Compressed,
    ErrorReply,
    IndirectPing,
    NodeState,
    Ping,
    PushPull,
    PushPullHeader,
    UserMessage,
)
from gossip.packets import read_packet_untrusted
from gossip.streams import StreamReader, encode_push_pull, encode_user_stream
from gossip.turns import run_to_end
from tests.gossip.wire.helpers import decompress_untrusted
from tests.vectors import (
    BUILDERS,
    NONCE,
    Fields,
    Vector,
    document,
    name_of,
    nilable,
    node_state,
    raw,
    records,
    vectors,
)


def envelope_of(fields: Fields, *, label: bytes | None = None) -> Envelope:
    """A member configured as the vector says."""
    config = WireConfig(
        label=fields["label"].encode() if label is None else label,
        compression=fields.get("compression", False),
        verify_incoming=fields.get("gossipVerifyIncoming", True) and fields.get("gossipVerifyOutgoing", True),
        verify_outgoing=fields.get("gossipVerifyOutgoing", True),
        protocol_version=fields.get("protocolVersion", 2),
    )
    key = nilable(fields["key"])
    return Envelope(config, Keyring((key,) if key else ()), lambda length: NONCE[:length])


def test_the_file_holds_what_the_specification_counts() -> None:
    assert len(document()["vectors"]) == 286
    assert len(records("decode_tolerance")) == 53


@pytest.mark.upstream("TestEncodeDecode")
@pytest.mark.parametrize("vector", vectors("message"), ids=name_of)
def test_a_message_is_written_and_read_as_memberlist_does(vector: Vector) -> None:
    message = BUILDERS[vector.fields["type"]](vector.fields)
    assert codec.encode(message) == vector.data
    for data in filter(None, (vector.data, vector.legacy)):
        if isinstance(message, ErrorReply):
            assert codec.decode_map_untrusted(ErrorReply, data[1:]) == message
        else:
            assert codec.decode_message_untrusted(data) == message


@pytest.mark.parametrize("vector", vectors("fragment"), ids=name_of)
def test_a_fragment_is_written_and_read_as_memberlist_does(vector: Vector) -> None:
    fragment = BUILDERS[vector.fields["type"]](vector.fields)
    assert codec.encode_fragment(fragment) == vector.data
    for data in filter(None, (vector.data, vector.legacy)):
        assert codec.decode_map_untrusted(type(fragment), data) == fragment


def test_some_fragments_differ_in_the_older_codec() -> None:
    assert len([vector for vector in vectors("fragment") if vector.legacy]) >= 5


@pytest.mark.parametrize("case", records("decode_tolerance"), ids=name_of)
def test_a_decoder_is_as_tolerant_as_memberlist(case: Fields) -> None:
    data, cls = bytes.fromhex(case["hex"]), CLASSES[case["type"]]
    if case["accept"]:
        assert codec.decode_map_untrusted(cls, data) == BUILDERS[case["type"]](case["decoded"])
    else:
        with pytest.raises(BadPacket):
            codec.decode_map_untrusted(cls, data)


CLASSES: dict[str, type] = {
    "ackResp": Ack,
    "alive": Alive,
    "compress": Compressed,
    "indirectPing": IndirectPing,
    "pushNodeState": NodeState,
    "pushPullHeader": PushPullHeader,
}


@pytest.mark.rule("6.1a")
@pytest.mark.upstream("TestCompressDecompressPayload")
@pytest.mark.parametrize("vector", vectors("compress"), ids=name_of)
def test_a_buffer_is_compressed_as_memberlist_does(vector: Vector) -> None:
    plain = raw(vector.fields["plaintext"])
    assert codec.encode_compressed(lzw.compress(plain)) == vector.data
    stream = codec.decode_compressed_untrusted(vector.data[1:])
    assert decompress_untrusted(stream, len(plain)) == plain


def _parts(fields: Fields) -> list[bytes]:
    if isinstance(fields["parts"], list):
        return [bytes.fromhex(part) for part in fields["parts"]]
    first: int = fields["first"]
    return [b"\x08" + index.to_bytes(2, "big") for index in range(first, first + fields["count"])]


@pytest.mark.rule("4.2a")
@pytest.mark.upstream("TestMakeCompoundMessage", "TestDecodeCompoundMessage")
@pytest.mark.parametrize("vector", vectors("compound"), ids=name_of)
def test_a_compound_is_made_and_split_as_memberlist_does(vector: Vector) -> None:
    parts = _parts(vector.fields)
    assert codec.make_compound(parts) == vector.data
    assert len(vector.data) == 2 + sum(len(part) + 2 for part in parts)
    assert codec.split_compound_untrusted(vector.data) == (parts, 0)


@pytest.mark.rule("4.2f")
@pytest.mark.parametrize("count", [256, 300])
def test_long_lists_are_split_as_memberlist_does(count: int) -> None:
    made = codec.make_compounds([b"\x08" + index.to_bytes(2, "big") for index in range(count)])
    recorded = {vector.name: vector.data for vector in vectors("compound")}
    assert len(made) == 2
    assert made[0] == recorded["compound_255_of_255_pkt0"]
    assert made[1] == recorded[f"compound_split_{count}_pkt1"]


@pytest.mark.rule("6.3a", "6.3b")
@pytest.mark.upstream("TestEncryptDecrypt_V0", "TestEncryptDecrypt_V1")
@pytest.mark.parametrize("vector", vectors("encrypt"), ids=name_of)
def test_a_payload_is_encrypted_as_memberlist_does(vector: Vector) -> None:
    plain, aad, version = raw(vector.fields["plaintext"]), raw(vector.fields["aad"]), vector.fields["encVersion"]
    keyring = Keyring((bytes(16), raw(vector.fields["key"])))
    keyring.use(raw(vector.fields["key"]))
    assert keyring.seal(plain, aad, NONCE, version) == vector.data
    assert len(vector.data) == sealed_length(len(plain), version)
    keyring.use(bytes(16))
    assert keyring.open_untrusted(vector.data, aad) == plain


@pytest.mark.rule("4.3b", "4.3e", "4.3f", "6.2a", "6.4a")
@pytest.mark.parametrize("vector", vectors("packet"), ids=name_of)
def test_a_packet_is_wrapped_and_unwrapped_as_memberlist_does(vector: Vector) -> None:
    inner = raw(vector.fields["inner"])
    envelope = envelope_of(vector.fields)
    assert envelope.wrap_packet(inner, crc=vector.fields["destPMax"] >= 5) == vector.data
    contents = run_to_end(read_packet_untrusted(envelope.unwrap_packet_untrusted(vector.data)))
    assert contents.messages == run_to_end(read_packet_untrusted(inner)).messages


def _stream_message(fields: Fields) -> Any:
    if fields["type"] == "pushPull":
        nodes = tuple(node_state(node) for node in fields["nodes"])
        return PushPull(fields["Join"], nodes, raw(fields["userState"]))
    if fields["type"] == "userMsg":
        return UserMessage(raw(fields["payload"]))
    return BUILDERS[fields["type"]](fields)


def _body(message: Any) -> bytes:
    if isinstance(message, PushPull):
        return encode_push_pull(message.join, message.nodes, message.user_state)
    return encode_user_stream(message.payload) if isinstance(message, UserMessage) else codec.encode(message)


@pytest.mark.rule("5.1b", "5.1g", "5.1h", "5.3a", "6.3e")
@pytest.mark.upstream("TestEncryptDecryptState")
@pytest.mark.parametrize("vector", vectors("stream"), ids=name_of)
def test_a_stream_is_written_and_read_as_memberlist_does(vector: Vector) -> None:
    message = _stream_message(vector.fields)
    envelope = envelope_of(vector.fields)
    initiated = "direction" not in vector.fields
    header = envelope.label_header() if initiated else b""
    assert header + envelope.wrap_stream(_body(message)) == vector.data
    reader = StreamReader(envelope, labelled=initiated)
    reader.feed(vector.data)
    assert reader.next_message() == message


@pytest.mark.parametrize("case", records("metallb_key_derivation"))
def test_metallbs_key_is_derived_as_metallb_does(case: Fields) -> None:
    assert metallb_key(raw(case["secret"])) == raw(case["aes_key"])


# A live agent's bytes: what the sender of each meant is known from the side it talked to.
CAPTURED: dict[str, tuple[type, dict[str, object]]] = {
    "udp_ack_to_ping": (Ack, {"seq_no": 7}),
    "tcp_pushpull_reply": (PushPull, {"join": True}),
    "udp crc types 4": (Alive, {"node": "py1", "addr": bytes((127, 0, 0, 20)), "port": 7946}),
    "udp  types 0": (Ping, {"node": "py1", "source_port": 7946}),
    "udp_ack_enc": (Ack, {}),
    "tcp_pushpull_reply_enc": (PushPull, {"join": True}),
    "tcp_err_reply_enc": (ErrorReply, {}),
}


@pytest.mark.parametrize("case", records("live_captures"), ids=name_of)
def test_a_live_agents_bytes_are_understood(case: Fields) -> None:
    key = bytes(range(16)) if case["what"].endswith("_enc") else None
    envelope = Envelope(WireConfig(), Keyring((key,) if key else ()), lambda length: NONCE[:length])
    data = bytes.fromhex(case["hex"])
    messages: tuple[object, ...]
    if case["what"].startswith("tcp"):
        reader = StreamReader(envelope, labelled=False)
        reader.feed(data)
        messages = (reader.next_message(),)
    else:
        messages = run_to_end(read_packet_untrusted(envelope.unwrap_packet_untrusted(data))).messages
    (message,) = messages
    cls, known = CAPTURED[case["what"]]
    assert type(message) is cls
    assert {name: getattr(message, name) for name in known} == known


def test_a_compressed_message_is_a_message_of_its_own() -> None:
    data = codec.encode(Compressed(0, b"\x00\x03\x02"))
    assert codec.decode_map_untrusted(Compressed, data[1:]) == Compressed(0, b"\x00\x03\x02")
