"""What the two processes of a speaker tell each other, and what they keep: inputs, and what must hold of any bytes."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from cluster.model import ExternalTrafficPolicy, ObjectName
from speaker.demand import Demand, DemandChange, Group, NodeFacts
from speaker.link import (
    BadMessage,
    Bye,
    Hello,
    LogRecord,
    Message,
    Report,
    SourceHealth,
    SourceState,
    Unframer,
    Wanted,
    decode_untrusted,
    encode,
)
from speaker.saved import Origin, UnusableState, check_saved_untrusted, decode_saved_untrusted, encode_saved
from telemetry.levels import Level

ORIGIN = Origin("ann", "/manifests", None)
GROUP = Group(
    key=IPv4Address("192.0.2.1"),
    addresses=(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")),
    services=(ObjectName("default", "coffee"), ObjectName("default", "tea")),
    pools=("pool",),
    advertisements=("pool",),
    policy=ExternalTrafficPolicy.LOCAL,
    serving_nodes=("ann", "bea"),
    is_served=True,
    spare=IPv4Address("192.0.2.254"),
)
NODES = (NodeFacts(name="ann"), NodeFacts(name="bea", is_excluded=True))
MESSAGES: tuple[Message, ...] = (
    Hello(pid=17),
    Wanted(change=DemandChange(groups=(GROUP,), nodes=NODES), is_reset=True),
    Wanted(change=DemandChange(gone=(GROUP.key,), gone_nodes=("bea",), is_complete=False)),
    SourceState(health=SourceHealth.CURRENT, as_of=1.5, warnings=("status/default.tea.yaml:1:1: no status",)),
    SourceState(health=SourceHealth.STALE, reasons=("services.yaml:3:1: no kind", "and 5 more problems")),
    LogRecord(at=1.5, level=Level.WARN, event="ownerChanged", fields={"ip": "192.0.2.1", "pools": ("a", "b"), "n": 3}),
    Report(known=GROUP.addresses),
    Bye(),
)
LINKS = [*map(encode, MESSAGES), b"".join(map(encode, MESSAGES))]
KEPT = [
    encode_saved(ORIGIN, Demand(groups=(GROUP,) * groups, nodes=NODES[:nodes]), GROUP.addresses[:known], 5.0)
    for groups in (0, 1)
    for nodes in (0, 1, 2)
    for known in (0, 2)
]
BODIES = [kept.partition(b"\n")[2] for kept in KEPT]


def hear(data: bytes) -> None:
    """The messages in a stream, which are the same wherever it is cut."""
    assert _read(data) == _read(data[: len(data) // 2], data[len(data) // 2 :])


def _read(*pieces: bytes) -> list[Message | str]:
    unframer = Unframer()
    read: list[Message | str] = []
    try:
        for piece in pieces:
            unframer.feed(piece)
            while (message := unframer.next_message()) is not None:
                read.append(message)
                assert repr(decode_untrusted(encode(message)[4:])) == repr(message)
    except BadMessage as reason:
        read.append(str(reason))
    return read


def load(data: bytes) -> None:
    """The content of a kept state; and the same behind a first line that fits, as only a speaker writes it."""
    with suppress(UnusableState):
        _, body = check_saved_untrusted(data, ORIGIN, 6.0)
        assert body in BODIES
        list(decode_saved_untrusted(body))
    with suppress(UnusableState):
        list(decode_saved_untrusted(data.partition(b"\n")[2]))
