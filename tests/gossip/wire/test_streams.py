"""Streams: the same whole and in pieces, limits before memory, who is answered, and the pauses between turns."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import codec, lzw
from gossip.envelope import MAX_ENCRYPTED, Envelope, WireConfig
from gossip.errors import LocalError
from gossip.keyring import DECRYPT_TURN, Keyring
from gossip.messages import (
    Ack,
    ErrorReply,
    NodeState,
    Ping,
    PushPull,
    PushPullHeader,
    StreamMessage,
    UserMessage,
    UserMessageHeader,
)
from gossip.packets import INFLATE_TURN
from gossip.streams import (
    DEFAULT_LIMITS,
    MAX_MAP_BYTES,
    MAX_STREAM_NODES,
    MAX_USER_STATE,
    NODE_STATE_CHARGE,
    NODES_TURN,
    StreamFault,
    StreamLimits,
    StreamReader,
    Want,
    encode_push_pull,
    encode_push_pull_in_turns,
    encode_user_stream,
)
from tests.gossip.wire.helpers import with_pauses
from tests.gossip.wire.strategies import stream_messages
from tests.gossip.wire.test_vectors import envelope_of
from tests.vectors import NONCE, Vector, name_of, streams, vectors

KEY = bytes(range(16))
NODE = NodeState("node-b", b"\x7f\x00\x00\x02", 7946, b"web", 3, 0, b"\x01\x05\x02\x00\x00\x00")


def envelope(*keys: bytes, **config: object) -> Envelope:
    return Envelope(WireConfig(**config), Keyring(keys), lambda length: NONCE[:length])  # type: ignore[arg-type]  # tests give what the fields take


def reader(layers: Envelope | None = None, *, labelled: bool = True, **limits: int) -> StreamReader:
    return StreamReader(layers or envelope(), labelled=labelled, limits=StreamLimits(**limits))


def read(target: StreamReader, *pieces: bytes) -> StreamMessage | Want:
    """Feed the pieces one by one; give what the reader says in the end, taking all the turns it wants."""
    said: StreamMessage | Want = Want.DATA
    for piece in pieces:
        target.feed(piece)
        while (said := target.next_message()) is Want.TURN:
            pass
        if said is not Want.DATA:
            break
    return said


def fault_of(target: StreamReader, *pieces: bytes) -> StreamFault:
    with pytest.raises(StreamFault) as caught:
        read(target, *pieces)
    return caught.value


def body_of(message: StreamMessage) -> bytes:
    if isinstance(message, PushPull):
        return encode_push_pull(message.join, message.nodes, message.user_state)
    return encode_user_stream(message.payload) if isinstance(message, UserMessage) else codec.encode(message)


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges) if stop > start]


configs = st.builds(
    WireConfig, label=st.binary(max_size=12), compression=st.booleans(), protocol_version=st.integers(1, 5)
)


@pytest.mark.rule("5.1a")
@given(configs, st.sampled_from([(), (KEY,)]), stream_messages, st.booleans(), st.data())
def test_what_is_written_is_read_in_any_pieces(
    config: WireConfig, keys: tuple[bytes, ...], message: StreamMessage, initiated: bool, data: st.DataObject
) -> None:
    layers = Envelope(config, Keyring(keys), lambda length: NONCE[:length])
    whole = (layers.label_header() if initiated else b"") + layers.wrap_stream(body_of(message))
    pieces = cut(whole, data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    assert read(reader(layers, labelled=initiated), *pieces) == message


@pytest.mark.rule("5.1a")
@pytest.mark.parametrize("vector", vectors("stream"), ids=name_of)
def test_a_stream_may_come_byte_by_byte(vector: Vector) -> None:
    initiated = "direction" not in vector.fields
    layers = envelope_of(vector.fields)
    expected = read(reader(layers, labelled=initiated), vector.data)
    assert not isinstance(expected, Want)
    slow = reader(layers, labelled=initiated)
    for byte in vector.data[:-1]:
        slow.feed(bytes((byte,)))
        assert slow.next_message() is Want.DATA
    assert read(slow, vector.data[-1:]) == expected


@pytest.mark.parametrize("vector", streams(), ids=name_of)
def test_every_recorded_stream_ends_the_same_whole_and_in_halves(vector: Vector) -> None:
    layers = envelope_of(vector.fields)
    labelled = "direction" not in vector.fields

    def outcome(*pieces: bytes) -> object:
        try:
            return read(reader(layers, labelled=labelled), *pieces, b"")
        except StreamFault as fault:
            return str(fault), fault.answer, fault.quiet

    whole = outcome(vector.data)
    for middle in range(1, len(vector.data)):
        assert outcome(vector.data[:middle], vector.data[middle:]) == whole


@pytest.mark.rule("5.1a")
def test_nothing_after_the_body_is_read() -> None:
    target = reader()
    ping = Ping(1, "b")
    assert read(target, codec.encode(ping) + b"\xc1 more") == ping
    assert target.buffered == 0
    target.feed(bytes(1000))
    assert target.next_message() is Want.DATA
    assert target.buffered == 0


@pytest.mark.rule("5.1a", "5.1b")
@pytest.mark.upstream("TestAddLabelHeaderToStream")
def test_the_label_is_the_first_thing_written_and_replies_have_none() -> None:
    layers = envelope(label=b"red")
    assert layers.label_header() == b"\xf4\x03red"
    assert layers.wrap_stream(b"body") == b"body"
    assert envelope().label_header() == b""


@pytest.mark.rule("5.2b")
@pytest.mark.upstream("TestRemoveLabelHeaderFromStream")
@pytest.mark.parametrize(
    ("ours", "skip", "data"),
    [
        (b"", False, b"\xf4\x03red"),
        (b"red", False, b""),
        (b"red", False, b"\xf4\x03rad"),
        (b"red", False, b"\xf4\x02re"),
        (b"red", True, b"\xf4\x03red"),
        (b"red", False, b"\xf4\x00"),
    ],
)
def test_a_wrong_label_closes_without_an_answer(ours: bytes, skip: bool, data: bytes) -> None:
    layers = envelope(label=ours, skip_inbound_label_check=skip)
    fault = fault_of(reader(layers), data + codec.encode(Ping(1, "b")))
    assert "label" in str(fault)
    assert fault.answer is None
    assert not fault.quiet


@pytest.mark.upstream("TestRemoveLabelHeaderFromStream")
def test_a_label_leaves_the_rest_of_the_stream_in_place() -> None:
    ping = Ping(1, "b")
    target = reader(envelope(label=b"red"))
    assert read(target, b"\xf4", b"\x03r", b"ed" + codec.encode(ping)[:3], codec.encode(ping)[3:]) == ping
    assert target.layers == ["label"]


def test_a_label_on_a_reply_is_an_unknown_type() -> None:
    fault = fault_of(reader(envelope(label=b"red"), labelled=False), b"\xf4\x03red" + codec.encode(Ack(1)))
    assert "244" in str(fault)


@pytest.mark.rule("5.2a")
@pytest.mark.parametrize("before", [b"", b"\xf4\x03red"])
def test_a_peer_that_says_nothing_is_left_in_peace(before: bytes) -> None:
    fault = fault_of(reader(envelope(label=b"red")), *filter(None, [before]), b"")
    assert fault.quiet
    assert fault.answer is None


@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_an_end_within_the_body_is_not_answered(keys: tuple[bytes, ...]) -> None:
    for compression in (False, True):
        layers = envelope(*keys, compression=compression)
        whole = layers.wrap_stream(encode_push_pull(True, [NODE], b"state"))
        for stop in range(1, len(whole)):
            fault = fault_of(reader(layers), whole[:stop], b"")
            assert fault.answer is None
            assert not fault.quiet


@pytest.mark.rule("5.2c", "5.2d", "5.2e", "5.2f", "5.2g", "6.1e")
@pytest.mark.upstream("TestGossip_MismatchedKeys")
@pytest.mark.parametrize(
    ("ours", "data", "reason"),
    [
        ((), b"\x0a\x00\x00\x00\x1e" + bytes(30), "no key"),
        ((KEY,), codec.encode(Ping(1, "b")), "not encrypted"),
        ((KEY,), envelope(bytes(16)).wrap_stream(codec.encode(Ping(1, "b"))), "no key decrypts"),
        ((KEY,), b"\x0a" + (MAX_ENCRYPTED + 1).to_bytes(4, "big"), "more than"),
        ((KEY,), b"\x0a\xff\xff\xff\xff", "more than"),
        ((KEY,), b"\x0a\x00\x00\x00\x00", "version"),
        ((KEY,), envelope(KEY).wrap_stream(b""), "nothing in it"),
        ((), codec.encode_compressed(lzw.compress(b"")), "nothing in it"),
        ((), codec.encode_compressed(b"\x00\x01"), "without an end"),
        ((), b"\x09\x82\xa4Algo\x01\xa3Buf\xa0", "algorithm"),
        ((), b"\x09\xc1", "0xc1"),
        ((KEY,), envelope(KEY).wrap_stream(b"\x09\x82"), "too soon"),
    ],
)
def test_a_peer_hears_why_its_stream_is_refused(ours: tuple[bytes, ...], data: bytes, reason: str) -> None:
    fault = fault_of(reader(envelope(*ours)), data)
    assert reason in str(fault)
    assert fault.answer == str(fault)
    assert not fault.quiet


@pytest.mark.rule("5.2h")
@pytest.mark.parametrize(
    "body",
    [
        b"\x63\x80",
        b"\x01\x80",
        b"\x07\x00",
        b"\x0a",
        b"\x00\xc1",
        b"\x06\x05",
        b"\x06\x81\x01\x01",
        codec.encode_compressed(b"\0"),
    ],
)
def test_later_mistakes_just_close(body: bytes) -> None:
    layers = envelope(KEY, compression=True)
    fault = fault_of(reader(layers), layers.wrap_stream(body))
    assert fault.answer is None


def test_a_fault_stays() -> None:
    target = reader()
    first = fault_of(target, b"\x63")
    assert fault_of(target, codec.encode(Ping(1, "b"))) is first
    assert target.buffered == 0


def _header(nodes: int, user_state: int) -> bytes:
    return b"\x06" + codec.encode_fragment(PushPullHeader(nodes, user_state, False))


@pytest.mark.rule("5.3b")
@pytest.mark.upstream("TestReadRemoteState_Limits")
@pytest.mark.parametrize(
    "data",
    [_header(10_000_000, 0), _header(MAX_STREAM_NODES + 1, 0), _header(-1, 0), _header(0, 30_000_000), _header(0, -1)],
)
def test_absurd_headers_are_refused_at_once(data: bytes) -> None:
    assert fault_of(reader(), data).answer is None


@pytest.mark.rule("5.3b")
def test_the_highest_header_is_waited_for_without_reserving_anything() -> None:
    target = reader()
    assert read(target, _header(MAX_STREAM_NODES, MAX_USER_STATE)) is Want.DATA
    assert target.buffered < 100


@pytest.mark.rule("5.4b")
@pytest.mark.upstream("TestReadUserMsg_Limit")
@pytest.mark.parametrize("length", [30_000_000, MAX_USER_STATE + 1, -1])
def test_an_absurd_user_message_is_refused_at_once(length: int) -> None:
    assert fault_of(reader(), b"\x08" + codec.encode_fragment(UserMessageHeader(length))).answer is None


@pytest.mark.rule("5.4b")
def test_user_messages_may_be_as_long_as_allowed() -> None:
    payload = bytes(MAX_USER_STATE)
    assert read(reader(), encode_user_stream(payload)) == UserMessage(payload)
    with pytest.raises(LocalError):
        encode_user_stream(payload + b"x")


def test_a_stream_that_never_ends_is_cut_off() -> None:
    target = reader(max_plain=100_000)
    assert read(target, b"\x08" + codec.encode_fragment(UserMessageHeader(MAX_USER_STATE))) is Want.DATA
    for _ in range(9):
        assert read(target, bytes(11_000)) is Want.DATA
        assert target.buffered <= 100_300
    assert "more bytes" in str(fault_of(target, bytes(11_000)))
    assert target.buffered == 0


def test_what_comes_faster_than_it_is_read_is_bounded_too() -> None:
    target = reader(max_plain=100_000)
    for _ in range(50):
        target.feed(bytes(10_000))
    assert target.buffered <= 100_000 + 300


def test_tiny_node_states_count_as_what_they_become() -> None:
    count = 2 * 100_000 // NODE_STATE_CHARGE
    fault = fault_of(reader(max_plain=100_000), _header(count, 0) + b"\x80" * count)
    assert "node states" in str(fault)


def test_one_map_is_bounded() -> None:
    long_name = NodeState("n" * MAX_MAP_BYTES, b"", 0, None, 0, 0, None)
    fault = fault_of(reader(), encode_push_pull(False, [long_name], b""))
    assert "too long" in str(fault)


@pytest.mark.rule("5.2g", "6.1d")
def test_a_compressed_body_is_bounded() -> None:
    body = encode_user_stream(bytes(50_000))
    data = envelope(compression=True).wrap_stream(body)
    assert read(reader(max_inflated=len(body)), data) == UserMessage(bytes(50_000))
    fault = fault_of(reader(max_inflated=len(body) - 1), data)
    assert fault.answer is not None


def _turns(target: StreamReader, data: bytes) -> int:
    target.feed(data)
    return len(list(itertools.takewhile(lambda said: said is Want.TURN, iter(target.next_message, None))))


def test_long_work_pauses() -> None:
    nodes = [NODE] * (5 * NODES_TURN + 1)
    assert _turns(reader(), encode_push_pull(False, nodes, b"")) == 5
    squeezed = envelope(compression=True)
    assert _turns(reader(squeezed), squeezed.wrap_stream(encode_user_stream(bytes(20 * INFLATE_TURN)))) >= 12
    sealed = envelope(KEY)
    assert _turns(reader(sealed), sealed.wrap_stream(encode_user_stream(bytes(4 * DECRYPT_TURN)))) == 5
    assert with_pauses(encode_push_pull_in_turns(False, nodes, b""))[1] == 5
    assert with_pauses(squeezed.wrap_stream_in_turns(bytes(5000), 1000))[1] == 4


def test_turns_and_no_turns_write_the_same() -> None:
    layers = envelope(KEY, compression=True)
    body = encode_push_pull(True, [NODE] * 300, b"state")
    written, pauses = with_pauses(layers.wrap_stream_in_turns(body, 777))
    assert written == layers.wrap_stream(body)
    assert pauses == (len(body) - 2) // 777


def test_while_a_turn_is_waited_for_more_may_come() -> None:
    nodes = tuple([NODE] * (3 * NODES_TURN))
    whole = encode_push_pull(False, nodes, b"end")
    target = reader()
    target.feed(whole[:-500])
    assert target.next_message() is Want.TURN
    target.feed(whole[-500:])
    assert read(target, b"") == PushPull(False, nodes, b"end")


def test_what_is_held_while_inflating_is_counted() -> None:
    layers = envelope(compression=True)
    target = reader(layers)
    target.feed(layers.wrap_stream(encode_user_stream(bytes(100_000))))
    held = [target.buffered]
    while target.next_message() is Want.TURN:
        held.append(target.buffered)
    assert held == sorted(held)
    assert held[-1] > 80_000
    assert target.buffered == 0


def test_what_is_held_while_decrypting_is_counted() -> None:
    layers = envelope(KEY)
    whole = layers.wrap_stream(encode_user_stream(bytes(3 * DECRYPT_TURN)))
    target = reader(layers)
    target.feed(whole)
    while target.next_message() is Want.TURN:
        assert target.buffered >= 3 * DECRYPT_TURN
    assert target.buffered == 0


def test_what_peers_would_refuse_is_not_written() -> None:
    with pytest.raises(LocalError, match="user state"):
        encode_push_pull(False, [], bytes(MAX_USER_STATE + 1))
    largest = bytes(MAX_ENCRYPTED - 29)
    assert len(envelope(KEY).wrap_stream(largest)) == 5 + MAX_ENCRYPTED
    with pytest.raises(LocalError, match="encrypted bytes"):
        envelope(KEY).wrap_stream(largest + b"x")


@pytest.mark.rule("5.2d", "5.2g", "5.3b", "5.4b")
def test_the_limits_are_those_of_the_protocol() -> None:
    assert (
        StreamLimits(
            max_nodes=1_048_576,
            max_user_state=20_971_520,
            max_encrypted=20_971_520,
            max_inflated=41_943_040,
            max_plain=41_943_040,
        )
        == DEFAULT_LIMITS
    )


@given(st.binary(max_size=120), st.sampled_from([(), (KEY,)]), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, keys: tuple[bytes, ...], labelled: bool) -> None:
    try:
        said = read(reader(envelope(*keys, verify_incoming=False), labelled=labelled), data)
    except StreamFault:
        return
    assert said is Want.DATA or isinstance(said, Ping | Ack | PushPull | UserMessage | ErrorReply)
