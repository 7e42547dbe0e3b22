"""A packet or stream taken apart for a human reader: ``starling ring decode``.

Rules kept here:

* Nothing raises: what cannot be read is an ``error`` beside whatever was read before it.
* Fields carry their wire names (memberlist-protocol.md §3.2), types those of §3.1; bytes are hex, nil is ``None``, and
  names that are not UTF-8 show their odd bytes as ``\\xNN``. The result is plain JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gossip.codec import wire_fields
from gossip.envelope import (
    Envelope,
    WireConfig,
    has_crc,
    is_plain_untrusted,
    split_label_untrusted,
    strip_crc_untrusted,
)
from gossip.errors import BadPacket, GossipError
from gossip.keyring import is_sealed_untrusted
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    PushPull,
    PushPullHeader,
    Suspect,
    UserMessage,
)
from gossip.packets import read_packet_untrusted
from gossip.streams import StreamReader, Want
from gossip.turns import run_to_end

if TYPE_CHECKING:
    from gossip.keyring import Keyring
    from gossip.messages import PacketMessage, StreamMessage

_NAMES: Final[dict[type, str]] = {
    Ping: "ping",
    IndirectPing: "indirectPing",
    Ack: "ackResp",
    Suspect: "suspect",
    Alive: "alive",
    Dead: "dead",
    Nack: "nackResp",
    ErrorReply: "err",
    PushPullHeader: "pushPullHeader",
    NodeState: "pushNodeState",
}


def dissect(data: bytes, keyring: Keyring, label: bytes | None, stream: bool) -> dict[str, Any]:
    """Take one packet, or with ``stream`` what one side wrote on a stream, apart.

    The result has ``layers`` in the order they were found, ``label`` if there is one, ``messages`` with compounds
    flattened, ``problems`` if parts could not be read, and ``error`` instead of messages if nothing could be. ``label``
    ``None`` takes any label; it authenticates encrypted data even where no header shows it, as in replies on streams.
    """
    result: dict[str, Any] = {"layers": []}
    try:
        found, body = split_label_untrusted(data)
        if found:
            result["layers"].append("label")
            result["label"] = _printable(found)
            if label is not None and found != label:
                raise BadPacket(f"the label is not {_printable(label)}")
        config = WireConfig(label=found or label or b"", verify_incoming=False)
        envelope = Envelope(config, keyring, bytes)  # nothing is encrypted, so no nonce is drawn
        take_apart = _dissect_stream_untrusted if stream else _dissect_packet_untrusted
        take_apart(body, envelope, result)
    except GossipError as reason:
        result["error"] = str(reason)
    return result


def _dissect_packet_untrusted(body: bytes, envelope: Envelope, result: dict[str, Any]) -> None:
    if envelope.keyring.encrypts:
        try:
            sealed, body = body, envelope.keyring.open_untrusted(body, envelope.config.label)
            result["layers"].append(f"encrypt v{sealed[0]}")
        except BadPacket:
            if not is_plain_untrusted(body):
                raise
    elif is_sealed_untrusted(body) and not is_plain_untrusted(body):
        raise BadPacket("encrypted, it seems, and no key was given")
    if has_crc(body):
        result["layers"].append("crc")
        body = strip_crc_untrusted(body)
    contents = run_to_end(read_packet_untrusted(body))
    result["layers"] += contents.layers
    result["messages"] = [_describe(message) for message in contents.messages]
    if contents.problems:
        result["problems"] = list(contents.problems)


def _dissect_stream_untrusted(body: bytes, envelope: Envelope, result: dict[str, Any]) -> None:
    reader = StreamReader(envelope, labelled=False)
    reader.feed(body)
    reader.feed(b"")
    try:
        while isinstance(message := reader.next_message(), Want):
            pass
    finally:
        result["layers"] += reader.layers
    result["messages"] = _describe_body(message)


def _describe_body(message: StreamMessage) -> list[dict[str, Any]]:
    if not isinstance(message, PushPull):
        return [_describe(message)]
    header = PushPullHeader(len(message.nodes), len(message.user_state), message.join)
    lines = [_describe(header), *map(_describe, message.nodes)]
    if message.user_state:
        lines.append({"type": "userState", "Payload": message.user_state.hex()})
    return lines


def _describe(message: PacketMessage | ErrorReply | PushPullHeader | NodeState) -> dict[str, Any]:
    if isinstance(message, UserMessage):
        return {"type": "user", "Payload": message.payload.hex()}
    shown = {key: _plain(value) for key, value in wire_fields(message).items()}
    return {"type": _NAMES[type(message)], **shown}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return _printable(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else value


def _printable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
