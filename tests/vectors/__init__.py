"""The recorded vectors, typed: what memberlist itself wrote, read and did (docs/specs/memberlist-protocol.md §13).

Finding no vector is an error here, so that no test passes for lack of cases.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gossip.messages import (
    Ack,
    Alive,
    Compressed,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    PushPullHeader,
    Suspect,
    UserMessageHeader,
)

FILE: Final = Path(__file__).with_name("memberlist-vectors.json")
NONCE: Final = bytes(range(0xA0, 0xAC))
"""What every encrypted vector was made with."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Vector:
    name: str
    data: bytes
    fields: Fields
    outcome: str
    legacy: bytes | None
    """What the older codec writes instead, where it differs and is known."""


@cache
def document() -> Fields:
    loaded: Fields = json.loads(FILE.read_text())
    return loaded


@cache
def vectors(category: str) -> tuple[Vector, ...]:
    found = tuple(_vector(entry) for entry in document()["vectors"] if entry["category"] == category)
    if not found:
        raise LookupError(f"no vector of category {category!r} in {FILE.name}")
    return found


@cache
def records(part: str) -> tuple[Fields, ...]:
    """One of the parts that are plain lists, such as ``decode_tolerance``."""
    found = tuple(document()[part])
    if not found:
        raise LookupError(f"nothing under {part!r} in {FILE.name}")
    return found


def _vector(entry: Fields) -> Vector:
    legacy = entry["legacy"]
    return Vector(
        name=entry["name"],
        data=bytes.fromhex(entry["hex"]),
        fields=entry["fields"],
        outcome=entry.get("outcome", ""),
        legacy=None if legacy in ("same", "n/a", "not generated") else bytes.fromhex(legacy),
    )


def name_of(case: Vector | Fields) -> str:
    """For pytest's ids."""
    return case.name if isinstance(case, Vector) else str(case.get("name") or case.get("what") or "")


def nilable(value: Fields | None) -> bytes | None:
    """A byte string as the file writes it: literal, all zeros, or from the generator it calls ``lcg``."""
    if value is None:
        return None
    if "lcg" in value:
        return _lcg(value["lcg"]["seed"], value["lcg"]["len"])
    if "zeros" in value:
        return bytes(value["zeros"])
    return bytes.fromhex(value["bytes"])


def raw(value: Fields | None) -> bytes:
    """The same where nil and empty are one."""
    return nilable(value) or b""


def text(value: Fields | str) -> str:
    """A name, given as text or by its bytes."""
    if isinstance(value, str):
        return value
    return bytes.fromhex(value["utf8_hex"]).decode("utf-8", "surrogateescape")


def _lcg(seed: int, length: int) -> bytes:
    made = bytearray()
    for _ in range(length):
        seed = (seed * 1664525 + 1013904223) % 2**32
        made.append(seed >> 24)
    return bytes(made)


def _ping(f: Fields) -> Ping:
    return Ping(
        f["SeqNo"],
        text(f["Node"]),
        raw(f.get("SourceAddr")),
        f.get("SourcePort", 0),
        text(f.get("SourceNode", "")),
    )


def _indirect_ping(f: Fields) -> IndirectPing:
    return IndirectPing(
        f["SeqNo"],
        raw(f["Target"]),
        f["Port"],
        text(f["Node"]),
        f["Nack"],
        raw(f.get("SourceAddr")),
        f.get("SourcePort", 0),
        text(f.get("SourceNode", "")),
    )


def _alive(f: Fields) -> Alive:
    return Alive(f["Incarnation"], text(f["Node"]), raw(f["Addr"]), f["Port"], nilable(f["Meta"]), nilable(f["Vsn"]))


def node_state(f: Fields) -> NodeState:
    return NodeState(
        text(f["Name"]),
        raw(f["Addr"]),
        f["Port"],
        nilable(f["Meta"]),
        f["Incarnation"],
        f["State"],
        nilable(f["Vsn"]),
    )


BUILDERS: Final[dict[str, Callable[[Fields], Any]]] = {
    "ping": _ping,
    "indirectPing": _indirect_ping,
    "ackResp": lambda f: Ack(f["SeqNo"], nilable(f["Payload"])),
    "nackResp": lambda f: Nack(f["SeqNo"]),
    "errResp": lambda f: ErrorReply(f["Error"]),
    "suspect": lambda f: Suspect(f["Incarnation"], text(f["Node"]), text(f["From"])),
    "dead": lambda f: Dead(f["Incarnation"], text(f["Node"]), text(f["From"])),
    "alive": _alive,
    "pushPullHeader": lambda f: PushPullHeader(f["Nodes"], f["UserStateLen"], f["Join"]),
    "pushNodeState": node_state,
    "userMsgHeader": lambda f: UserMessageHeader(f["UserMsgLen"]),
    "compress": lambda f: Compressed(f["Algo"], raw(f["Buf"])),
}
"""From the fields of a vector, under their wire names, to the message."""


def packets() -> Sequence[Vector]:
    """Everything recorded that is a datagram."""
    return [
        v for category in ("message", "compound", "packet", "packet_flow", "ingest_packet") for v in vectors(category)
    ]


def streams() -> Sequence[Vector]:
    """Everything recorded that is what one side wrote on a stream."""
    return [v for category in ("stream", "ingest_stream") for v in vectors(category)]
