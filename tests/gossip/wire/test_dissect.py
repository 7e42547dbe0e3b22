"""`starling ring decode`: layers and fields as a reader wants to see them, and no exception whatever the bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import codec
from gossip.dissect import dissect
from gossip.envelope import Envelope, WireConfig
from gossip.keyring import Keyring
from gossip.messages import Ack, Alive, Ping, UserMessage
from gossip.streams import encode_push_pull
from tests.vectors import NONCE, Fields, Vector, name_of, node_state, packets, raw, streams, vectors

KEY = bytes(range(16))


def shown(data: bytes, *keys: bytes, label: bytes | None = None, stream: bool = False) -> dict[str, Any]:
    result = dissect(data, Keyring(keys), label, stream)
    json.dumps(result, allow_nan=False)
    return result


def envelope(*keys: bytes, **config: object) -> Envelope:
    return Envelope(WireConfig(**config), Keyring(keys), lambda length: NONCE[:length])  # type: ignore[arg-type]  # tests give what the fields take


def _as_shown(fields: Fields) -> Fields:
    """The fields of a recorded vector as we print them."""
    names = {"errResp": "err"}
    plain = {key: raw(value).hex() if isinstance(value, dict) else value for key, value in fields.items()}
    return {**plain, "type": names.get(plain["type"], plain["type"])}


def _with_zeros(message: Fields) -> Fields:
    optional = {"SourceAddr": "", "SourceNode": "", "SourcePort": 0}
    return {**optional, **message} if message["type"] in ("ping", "indirectPing") else message


@pytest.mark.parametrize("vector", [v for v in vectors("message") if v.fields["type"] != "errResp"], ids=name_of)
def test_messages_are_shown_under_their_wire_names(vector: Vector) -> None:
    result = shown(vector.data)
    assert result == {"layers": [], "messages": [_with_zeros(_as_shown(vector.fields))]}


def test_every_layer_is_shown_in_the_order_it_was_found() -> None:
    body = codec.make_compound([codec.encode(Ack(1)), codec.encode(UserMessage(b"a" * 60)), codec.encode(Ack(2, b""))])
    data = envelope(KEY, label=b"red", compression=True).wrap_packet(body, crc=True)
    assert shown(data, KEY) == {
        "layers": ["label", "encrypt v1", "crc", "compress", "compound"],
        "label": "red",
        "messages": [
            {"type": "ackResp", "Payload": None, "SeqNo": 1},
            {"type": "user", "Payload": (b"a" * 60).hex()},
            {"type": "ackResp", "Payload": "", "SeqNo": 2},
        ],
    }


def test_a_stream_is_shown_entry_by_entry() -> None:
    nodes = [node_state(node) for node in vectors("stream")[0].fields["nodes"]]
    layers = envelope(KEY, compression=True, protocol_version=1, label=b"red")
    data = layers.wrap_stream(encode_push_pull(True, nodes, b"\x01\x02"))
    for whole in (layers.label_header() + data, data):
        result = shown(whole, KEY, label=b"red", stream=True)
        assert result["layers"][-2:] == ["encrypt v0", "compress"]
        assert ("label" in result) == (whole != data)
        header, *states, user_state = result["messages"]
        assert header == {"type": "pushPullHeader", "Join": True, "Nodes": len(nodes), "UserStateLen": 2}
        assert [state["Name"] for state in states] == [node.name for node in nodes]
        assert states[1]["Meta"] is None
        assert user_state == {"type": "userState", "Payload": "0102"}


@pytest.mark.parametrize("vector", [v for v in vectors("stream") if v.fields["type"] != "pushPull"], ids=name_of)
def test_recorded_streams_are_shown(vector: Vector) -> None:
    key = raw(vector.fields["key"])
    result = shown(vector.data, *filter(None, [key]), label=vector.fields["label"].encode() or None, stream=True)
    (message,) = result["messages"]
    names = {"userMsg": "user", "errResp": "err"}
    assert message["type"] == names.get(vector.fields["type"], vector.fields["type"])


def test_names_that_are_no_text_show_their_bytes() -> None:
    name = b"caf\xc3\xa9-\xff\n".decode("utf-8", "surrogateescape")
    result = shown(codec.encode(Ping(1, name)))
    assert result["messages"][0]["Node"] == "café-\\xff\n"
    assert shown(envelope(label=b"\xfe").wrap_packet(codec.encode(Ack(1)), crc=False))["label"] == "\\xfe"


def test_a_key_may_be_given_for_plain_packets_too() -> None:
    data = codec.encode(Ping(1, "b", bytes(4), 1, "somebody-with-a-long-name"))
    assert shown(data, KEY)["messages"] == shown(data)["messages"]


def test_parts_that_cannot_be_read_are_reported_beside_the_others() -> None:
    result = shown(codec.make_compound([codec.encode(Ack(1)), b"\x63"]))
    assert len(result["messages"]) == 1
    assert result["problems"] == ["a message of type 99 has no place here"]


SEALED = envelope(KEY, label=b"red").wrap_packet(codec.encode(Alive(1, "a", bytes(4), 1, None, None)), crc=False)


@pytest.mark.parametrize(
    ("data", "keys", "label", "stream", "reason"),
    [
        (b"", (), None, False, "empty message"),
        (b"", (), None, True, "ended too soon"),
        (b"\xf4\x00", (), None, False, "malformed label"),
        (SEALED, (KEY,), b"blue", False, "the label is not blue"),
        (SEALED, (), None, False, "no key was given"),
        (SEALED, (bytes(16),), None, False, "no key decrypts"),
        (SEALED[:-1], (KEY,), None, False, "no key decrypts"),
        (b"\x0c\x00\x00\x00\x00\x08", (), None, False, "checksum"),
        (b"\x00\x82", (), None, True, "ended too soon"),
        (b"\x08", (), b"x" * 300, False, "label"),
    ],
)
def test_what_is_wrong_is_said(
    data: bytes, keys: tuple[bytes, ...], label: bytes | None, stream: bool, reason: str
) -> None:
    result = shown(data, *keys, label=label, stream=stream)
    assert reason in result["error"]
    assert "messages" not in result


@pytest.mark.parametrize("vector", [*packets(), *streams()], ids=name_of)
def test_nothing_recorded_makes_it_raise(vector: Vector) -> None:
    for stream in (False, True):
        result = shown(vector.data, KEY, stream=stream)
        assert ("messages" in result) != ("error" in result)


@given(st.binary(max_size=100), st.sampled_from([(), (KEY,)]), st.booleans())
def test_no_bytes_make_it_raise(data: bytes, keys: tuple[bytes, ...], stream: bool) -> None:
    result = shown(data, *keys, stream=stream)
    assert ("messages" in result) != ("error" in result)
