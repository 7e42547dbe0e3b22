"""What is fuzzed. Each target swallows the one exception its subject may raise, and checks what must hold besides."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address

from gossip import codec
from gossip.dissect import dissect
from gossip.envelope import Envelope, WireConfig
from gossip.errors import BadPacket
from gossip.keyring import Keyring
from gossip.lzw import Inflater, compress
from gossip.messages import (
    Compressed,
    ErrorReply,
    NodeState,
    PushPullHeader,
    StreamMessage,
    UserMessageHeader,
)
from gossip.packets import MAX_PACKET_INFLATED, MAX_PACKET_MESSAGES, read_packet_untrusted
from gossip.packing import walk_untrusted
from gossip.streams import StreamFault, StreamLimits, StreamReader, Want
from gossip.turns import run_to_end
from speaker.l2.frames import BadFrame, decode_arp_untrusted
from speaker.marker import MarkedInterface, Marker, Tier
from speaker.marker import decode_untrusted as decode_marker
from speaker.marker import encode as encode_marker
from speaker.notices import (
    MAX_ADDRESSES,
    ClaimNotice,
    ReleaseNotice,
    decode_notice_untrusted,
    encode_claims,
    encode_release,
)
from tests.fuzz.announcing import FRAMES, Announcing
from tests.fuzz.harness import Target
from tests.fuzz.processes import KEPT, LINKS, hear, load
from tests.fuzz.ring import Ring
from tests.gossip.wire.helpers import decompress_untrusted
from tests.vectors import NONCE, packets, records, streams, vectors

KEY = bytes(range(16))
LIMITS = StreamLimits(max_plain=1 << 20, max_inflated=1 << 20, max_encrypted=1 << 20, max_user_state=1 << 20)


def _envelope(*keys: bytes, **config: object) -> Envelope:
    return Envelope(WireConfig(**config), Keyring(keys), lambda length: NONCE[:length])  # type: ignore[arg-type]  # the table below gives what the fields take


PLAIN = _envelope()
LABELLED = _envelope(label=b"my-label")
KEYED = _envelope(KEY)
LENIENT = _envelope(KEY, verify_incoming=False)


def _data(*categories: str) -> list[bytes]:
    return [vector.data for category in categories for vector in vectors(category)]


MESSAGES = _data("message", "compress")
MAPS = [*_data("fragment"), *(bytes.fromhex(case["hex"]) for case in records("decode_tolerance"))]
BODIES = [
    *MESSAGES,
    *_data("compound", "packet_flow"),
    *(vector.data for vector in vectors("packet") if not vector.fields["key"]),
]
PACKETS = [vector.data for vector in packets()]
STREAMS = [vector.data for vector in streams()]
STREAM_BODIES = [vector.data for vector in vectors("stream") if not vector.fields["key"] and not vector.fields["label"]]
LZW_STREAMS = [codec.decode_map_untrusted(Compressed, data[1:]).buf for data in _data("compress")]


def _message(data: bytes) -> None:
    with suppress(BadPacket):
        message = codec.decode_message_untrusted(data)
        assert codec.decode_message_untrusted(codec.encode(message)) == message


def _maps(data: bytes) -> None:
    for cls in (NodeState, PushPullHeader, UserMessageHeader, Compressed, ErrorReply):
        with suppress(BadPacket):
            codec.decode_map_untrusted(cls, data)
    with suppress(BadPacket):
        assert 0 < walk_untrusted(data) <= len(data)


def _lzw(data: bytes) -> None:
    inflater = Inflater(data, 65_536)
    with suppress(BadPacket):
        while not inflater.step(1000):
            pass
        assert decompress_untrusted(data, 65_536) == inflater.output
    assert inflater.produced <= 65_536 + 4096


def _read_packet(body: bytes) -> None:
    with suppress(BadPacket):
        contents = run_to_end(read_packet_untrusted(body))
        assert len(contents.messages) + len(contents.problems) <= 2 * MAX_PACKET_MESSAGES + 1
        assert len(contents.layers) <= MAX_PACKET_MESSAGES


def _packet(envelope: Envelope) -> Callable[[bytes], None]:
    def attack(data: bytes) -> None:
        with suppress(BadPacket):
            _read_packet(envelope.unwrap_packet_untrusted(data))

    return attack


def _compressed_packet(body: bytes) -> None:
    if len(body) <= MAX_PACKET_INFLATED:
        _read_packet(codec.encode_compressed(compress(body)))


def _from_key_holder(body: bytes) -> None:
    """A peer with the key sends nonsense: every layer is sound but what is inside."""
    _packet(KEYED)(KEYED.wrap_packet(body, crc=True))


def _outcome(envelope: Envelope, labelled: bool, pieces: Iterable[bytes]) -> object:
    """What a reader says in the end; every answer but a message is told by its text."""
    reader = StreamReader(envelope, labelled=labelled, limits=LIMITS)
    said: StreamMessage | Want = Want.DATA
    try:
        for piece in pieces:
            reader.feed(piece)
            while (said := reader.next_message()) is Want.TURN:
                assert reader.buffered <= 3 * LIMITS.max_plain
            if said is not Want.DATA:
                return said
    except StreamFault as fault:
        return str(fault), fault.answer, fault.quiet
    return said


def _stream(envelope: Envelope, *, labelled: bool) -> Callable[[bytes], None]:
    def attack(data: bytes) -> None:
        whole = _outcome(envelope, labelled, (data, b""))
        assert whole is not Want.DATA
        third = len(data) // 3 + 1
        assert _outcome(
            envelope, labelled, filter(None, (data[:third], data[third : 2 * third], data[2 * third :]))
        ) in (
            whole,
            Want.DATA,
        )

    return attack


def _sealed_stream(body: bytes) -> None:
    _outcome(KEYED, False, (KEYED.wrap_stream(body), b""))


def _dissect(data: bytes) -> None:
    for stream in (False, True):
        result = dissect(data, KEYED.keyring, None, stream)
        assert ("messages" in result) != ("error" in result)
        json.dumps(result, allow_nan=False)


MARKED = [MarkedInterface(bytes((number, 7)), has_ipv4=True, has_carrier=bool(number % 2)) for number in range(8)]
MACS = [bytes((2, 0, 0, 0, 0, number)) for number in range(8)]
DISPUTED = [ip_address("192.0.2.7") + number for number in range(63)] + [ip_address("2001:db8::7")]
MARKERS = [
    encode_marker(Marker(tier=tier, interfaces=tuple(MARKED[:count]), macs=tuple(MACS[:count])))
    for tier in Tier
    for count in (0, 1, 2, 8)
]
NOTICES = [
    *(
        notice
        for count in (1, 2, 64)
        for is_isolated in (False, True)
        for notice in encode_claims("ann", DISPUTED[:count], is_isolated, 1.5 * count)
    ),
    *(encode_release(ReleaseNotice(sender="ann", address=address)) for address in DISPUTED[:4]),
]


def _notice(data: bytes) -> None:
    notice = decode_notice_untrusted(data)
    if isinstance(notice, ClaimNotice):
        assert len(notice.addresses) <= MAX_ADDRESSES


def _arp(data: bytes) -> None:
    with suppress(BadFrame):
        packet = decode_arp_untrusted(data)
        assert (packet.ethernet_source, packet.sender_ip) == (data[6:12], data[28:32])


TARGETS = (
    Target("message", MESSAGES, _message),
    Target("maps", MAPS, _maps),
    Target("lzw", LZW_STREAMS, _lzw),
    Target("packet body", BODIES, _read_packet),
    Target("packet body, compressed", BODIES, _compressed_packet),
    Target("packet", PACKETS, _packet(PLAIN)),
    Target("packet, labelled", PACKETS, _packet(LABELLED)),
    Target("packet, encrypted", PACKETS, _packet(KEYED)),
    Target("packet, lenient", PACKETS, _packet(LENIENT)),
    Target("packet, from a key holder", BODIES, _from_key_holder),
    Target("stream", STREAMS, _stream(PLAIN, labelled=True)),
    Target("stream, labelled", STREAMS, _stream(LABELLED, labelled=True)),
    Target("stream, encrypted", STREAMS, _stream(LENIENT, labelled=False)),
    Target("stream, from a key holder", STREAM_BODIES, _sealed_stream),
    Target("ring, datagrams", PACKETS, Ring().hear_datagram),
    Target("ring, streams", STREAMS, Ring().hear_stream),
    Target("ring, replies", STREAMS, Ring().hear_reply),
    Target("dissect", [*PACKETS, *STREAMS], _dissect),
    Target("ARP frame", FRAMES, _arp),
    Target("speaker, ARP frames", FRAMES, Announcing().hear),
    Target("speaker, link", LINKS, hear),
    Target("speaker, kept state", KEPT, load),
    Target("speaker, metadata of members", MARKERS, decode_marker),
    Target("speaker, messages of members", NOTICES, _notice),
)
"""All of them. Add to it what else takes bytes from strangers."""
