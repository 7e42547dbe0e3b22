"""The codec beyond the vectors: round trips, what is refused at either side, and hostile sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import codec
from gossip.errors import BadPacket, LocalError
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    NodeState,
    PacketMessage,
    Ping,
    PushPullHeader,
    Suspect,
    UserMessage,
)
from gossip.packing import MAX_ITEMS, MAX_NESTING, WALK_ABOVE, pack
from tests.gossip.wire.strategies import node_states, packet_messages, signed


@given(packet_messages, st.binary(max_size=8))
def test_what_is_encoded_is_decoded_whatever_follows(message: PacketMessage, rest: bytes) -> None:
    data = codec.encode(message)
    assert codec.decode_message_untrusted(data) == message
    if not isinstance(message, UserMessage):
        assert codec.decode_message_untrusted(data + rest) == message


@given(node_states)
def test_node_states_survive_the_round_trip(state: NodeState) -> None:
    assert codec.decode_map_untrusted(NodeState, codec.encode_fragment(state)) == state


@given(signed)
def test_signed_fields_take_the_shortest_of_their_own_forms(value: int) -> None:
    data = codec.encode_fragment(PushPullHeader(value, 0, False))
    assert codec.decode_map_untrusted(PushPullHeader, data).nodes == value
    written = data[data.index(b"Nodes") + 5 : data.index(b"\xacUserStateLen")]
    assert written[:1] not in (b"\xcc", b"\xcd", b"\xce", b"\xcf")
    assert len(written) == 1 if 0 <= value <= 127 else len(written) in (3, 5, 9)


@given(packet_messages, st.data())
def test_a_message_cut_short_is_refused(message: PacketMessage, data: st.DataObject) -> None:
    whole = codec.encode(message)
    if isinstance(message, UserMessage):
        return
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadPacket):
        codec.decode_message_untrusted(whole[:cut])


def test_optional_fields_are_left_out_one_by_one() -> None:
    bare = codec.encode(Ping(1, "b"))
    assert bare == b"\x00\x82\xa4Node\xa1b\xa5SeqNo\x01"
    assert codec.encode(Ping(1, "b", source_port=1)) == b"\x00\x83" + bare[2:] + b"\xaaSourcePort\x01"


@pytest.mark.parametrize(
    "message",
    [
        Ping(-1, "b"),
        Ping(2**32, "b"),
        Ping(1, "b", b"\x7f\x00\x00\x01", 65536),
        Alive(2**32, "b", b"\x7f\x00\x00\x01", 1, None, None),
        Suspect(1, "\ud800", "b"),
        Dead(1, "a", "\udfff"),
    ],
)
def test_what_the_wire_cannot_carry_is_a_local_mistake(message: PacketMessage) -> None:
    with pytest.raises(LocalError):
        codec.encode(message)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_a_signed_field_has_64_bits(value: int) -> None:
    with pytest.raises(LocalError):
        codec.encode_fragment(PushPullHeader(value, 0, False))


@pytest.mark.rule("4.4e")
@pytest.mark.upstream("TestHandleCommand")
@pytest.mark.parametrize("data", [b"", *(bytes((kind,)) + b"\x80" for kind in (6, 7, 9, 10, 12, 13, 14, 99, 244, 255))])
def test_types_without_a_place_in_a_packet_are_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        codec.decode_message_untrusted(data)


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (IndirectPing, b"\x81\xa4Nack\x02"),
        (IndirectPing, b"\x81\xa4Nack\xa1\x01"),
        (IndirectPing, b"\x81\xa4Nack\xcb" + bytes(8)),
        (Alive, b"\x81\xa3Vsn\x91\xc3"),
        (Alive, b"\x81\xa3Vsn\x81\x01\x01"),
        (Alive, b"\x81\xa4Node\x91\x41"),
        (Alive, b"\x81\x91\x01\x01"),
        (Alive, b"\x05"),
        (Alive, b"\xa5hello"),
        (PushPullHeader, b"\x81\xa5Nodes\xcf" + b"\xff" * 8),
        (PushPullHeader, b"\x81\xa5Nodes\xc3"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(cls: type, data: bytes) -> None:
    with pytest.raises(BadPacket):
        codec.decode_map_untrusted(cls, data)


@pytest.mark.parametrize(
    "absent",
    [PushPullHeader(0, 0, False), IndirectPing(0, b"", 0, "", False), Alive(0, "", b"", 0, None, None)],
    ids=lambda message: type(message).__name__,
)
def test_nil_stands_for_zero_in_every_kind_of_field(absent: PushPullHeader | IndirectPing | Alive) -> None:
    keys = [pack(key) for key in codec.wire_fields(absent)]
    data = bytes((0x80 | len(keys),)) + b"".join(key + b"\xc0" for key in keys)
    assert codec.decode_map_untrusted(type(absent), data) == absent


@pytest.mark.parametrize("value", [b"\x92\x81\x05\x06\x81\x90\xc0", b"\xd6\xff\x00\x00\x00\x01", b"\xc7\x02\x05ab"])
def test_unknown_keys_may_hold_what_no_field_may(value: bytes) -> None:
    assert codec.decode_map_untrusted(Ack, b"\x82\xa1?" + value + b"\xa5SeqNo\x2a") == Ack(42)


@pytest.mark.parametrize(
    "value",
    [
        b"\x91" * (MAX_NESTING + 2) + b"\xc0",
        b"\x91" * 400 + b"\xc0",
        b"\x91" * (WALK_ABOVE * 2) + b"\xc0",
        b"\xdc" + (MAX_ITEMS + 1).to_bytes(2, "big") + b"\xc0" * (MAX_ITEMS + 1),
        (b"\xdc" + MAX_ITEMS.to_bytes(2, "big")) * 20_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ],
)
def test_depth_and_number_of_nested_values_are_bounded(value: bytes) -> None:
    with pytest.raises(BadPacket):
        codec.decode_map_untrusted(Ack, b"\x81\xa1?" + value)


def test_the_error_of_a_deep_value_tells_its_type_alone() -> None:
    with pytest.raises(BadPacket, match="Node: list is not a string"):
        codec.decode_map_untrusted(Alive, b"\x81\xa4Node" + b"\x91" * 700 + b"\xc0")


@pytest.mark.rule("4.2d")
@pytest.mark.upstream("TestDecodeCompoundMessage_NumberOfPartsOverflow")
@pytest.mark.parametrize("data", [b"\x07", b"\x07\x80", b"\x07\xff" + bytes(509), b"\x07\x02\x00\x01"])
def test_a_compound_without_its_lengths_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        codec.split_compound_untrusted(data)


@pytest.mark.rule("4.2c")
@pytest.mark.upstream("TestDecodeCompoundMessage_Trunc")
def test_a_compound_cut_short_yields_its_whole_parts() -> None:
    whole = codec.make_compound([b"one", b"two", b"three"])
    assert codec.split_compound_untrusted(whole[:-1]) == ([b"one", b"two"], 1)
    assert codec.split_compound_untrusted(whole[:-6]) == ([b"one"], 2)


@pytest.mark.rule("4.2f")
@given(st.lists(st.binary(max_size=20), max_size=600))
def test_lists_of_any_length_go_into_compounds_and_come_back(parts: list[bytes]) -> None:
    made = codec.make_compounds(parts)
    if len(parts) == 1:
        assert made == parts
        return
    split = [codec.split_compound_untrusted(compound) for compound in made]
    assert [part for inner, _ in split for part in inner] == parts
    assert all(cut_off == 0 and 1 <= len(inner) <= 255 for inner, cut_off in split)


def test_what_does_not_fit_a_compound_is_a_local_mistake() -> None:
    with pytest.raises(LocalError):
        codec.make_compound([b""] * 256)
    with pytest.raises(LocalError):
        codec.make_compound([bytes(65536)])


@pytest.mark.rule("6.1e")
def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(BadPacket, match="algorithm 1"):
        codec.decode_compressed_untrusted(b"\x82\xa4Algo\x01\xa3Buf\xa0")
