"""The layers round a message: compression, checksum, encryption, label (memberlist-protocol.md §4.3, 4.4, 5.1, 6).

Rules kept here:

* Layers go on in one order and come off in the other; whether a packet is encrypted is a matter of configuration, never
  of its first byte.
* Nonces come from the function given on construction. Everything else is a function of the arguments.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gossip.codec import encode_compressed
from gossip.errors import BadPacket, ConfigError, LocalError
from gossip.keyring import NONCE_BYTES, Keyring, is_sealed_untrusted, sealed_length
from gossip.lzw import Deflater, compress
from gossip.messages import MAX_LABEL_BYTES, MessageType
from gossip.packing import unpack_untrusted
from gossip.turns import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MAX_ENCRYPTED: Final = 20 * 1024 * 1024
"""Bytes of one encrypted stream payload (§5.3)."""
CRC_HEADER_BYTES: Final = 5
STREAM_HEADER_BYTES: Final = 5
_CRC: Final = bytes((MessageType.HAS_CRC,))
_ENCRYPT: Final = bytes((MessageType.ENCRYPT,))
_LABEL: Final = bytes((MessageType.HAS_LABEL,))


@dataclass(frozen=True, slots=True, kw_only=True)
class WireConfig:
    """How packets and streams are wrapped, and what is demanded of those that come in."""

    label: bytes = b""
    """Up to 255 bytes that all packets and streams must carry. Keeps rings on one network apart; it is no secret."""
    skip_inbound_label_check: bool = False
    """Something in front of us already took the label off: a packet that still has one is refused."""
    verify_incoming: bool = True
    """With a key, refuse what is not encrypted. Off only while a running ring is being given its first key."""
    verify_outgoing: bool = True
    """With a key, encrypt what is sent. Off only while a running ring is being given its first key."""
    compression: bool = False
    """Compress what is sent. Saves half of a large push/pull's bytes and costs about 0.15 ms of CPU time a kilobyte."""
    protocol_version: int = 2
    """The version we speak, 1..5. Below 2, encryption is padded and ports in messages are ignored: for old rings."""

    def __post_init__(self) -> None:
        if len(self.label) > MAX_LABEL_BYTES:
            raise ConfigError(f"wire.label has {len(self.label)} bytes; at most {MAX_LABEL_BYTES} fit")
        if not 1 <= self.protocol_version <= 5:
            raise ConfigError(f"wire.protocol_version {self.protocol_version} must be in 1..5")

    @property
    def encryption_version(self) -> int:
        """The form of encryption that goes with the protocol version (§6.3)."""
        return 1 if self.protocol_version >= 2 else 0


class Envelope:
    """Puts the layers on and takes them off, for one member.

    ``keyring`` may change while in use: keys are looked up each time.
    """

    def __init__(self, config: WireConfig, keyring: Keyring, nonce: Callable[[int], bytes]) -> None:
        self.config = config
        self.keyring = keyring
        self._nonce = nonce

    @property
    def packet_overhead(self) -> int:
        """Bytes that label and encryption add to a packet at most (§4.1). A checksum adds five more."""
        encryption = sealed_length(0, self.config.encryption_version) if self._encrypts else 0
        return len(self.label_header()) + encryption

    @property
    def _encrypts(self) -> bool:
        return self.keyring.encrypts and self.config.verify_outgoing

    def label_header(self) -> bytes:
        """What precedes a packet, and what the connecting side of a stream writes first; empty without label (§6.4)."""
        label = self.config.label
        return _LABEL + bytes((len(label),)) + label if label else b""

    def wrap_packet(self, body: bytes, *, crc: bool) -> bytes:
        """A datagram from a message or compound: compressed if that is shorter, checksum, encryption, label (§4.3)."""
        if self.config.compression:
            compressed = encode_compressed(compress(body))
            if len(compressed) < len(body):
                body = compressed
        if crc:
            body = _CRC + zlib.crc32(body).to_bytes(4, "big") + body
        if self._encrypts:
            body = self._seal(body, self.config.label)
        return self.label_header() + body

    def unwrap_packet_untrusted(self, data: bytes) -> bytes:
        """The message or compound in a datagram (§4.4). Raises :class:`BadPacket` for a wrong or missing layer."""
        label, body = split_label_untrusted(data)
        self.check_label_untrusted(label)
        if self.keyring.encrypts:
            try:
                body = self.keyring.open_untrusted(body, self.config.label)
            except BadPacket:
                if self.config.verify_incoming or not is_plain_untrusted(body):
                    raise
        return strip_crc_untrusted(body)

    def check_label_untrusted(self, label: bytes) -> None:
        """Raise :class:`BadPacket` unless a packet or stream with this label, ``b""`` for none, is for us (§4.4)."""
        expected = b"" if self.config.skip_inbound_label_check else self.config.label
        if label != expected:
            raise BadPacket(f"label {_shown(label)} where {_shown(expected)} is expected")

    def wrap_stream(self, body: bytes) -> bytes:
        """A stream body: compressed if that is on at all, then encrypted in its frame (§5.1); without the label header.

        Raises :class:`LocalError` when it gets larger than peers accept.
        """
        return run_to_end(self.wrap_stream_in_turns(body, len(body)))

    def wrap_stream_in_turns(self, body: bytes, budget: int) -> Generator[None, object, bytes]:
        """As :meth:`wrap_stream`, pausing after every ``budget`` bytes of compression."""
        if self.config.compression:
            deflater = Deflater(body)
            while not deflater.step(budget):
                yield
            body = encode_compressed(deflater.output)
        if not self._encrypts:
            return body
        header = _ENCRYPT + self.check_stream_length(len(body)).to_bytes(4, "big")
        return header + self._seal(body, header + self.config.label)

    def check_stream_length(self, length: int) -> int:
        """How many bytes a stream body of that many has once encrypted. Raises :class:`LocalError` for more than peers
        accept."""
        if not self._encrypts:
            return length
        sealed = sealed_length(length, self.config.encryption_version)
        if sealed > MAX_ENCRYPTED:
            raise LocalError(f"{sealed} encrypted bytes are more than the {MAX_ENCRYPTED} that peers accept")
        return sealed

    def open_stream_untrusted(self, header: bytes, payload: bytes) -> Generator[None, None, bytes]:
        """The body in an encrypted frame: its five header bytes and the payload. Pauses as decryption does (§5.2).

        Raises :class:`BadPacket` when no key fits and when there is nothing inside.
        """
        body = yield from self.keyring.open_in_turns_untrusted(payload, header + self.config.label)
        if not body:
            raise BadPacket("an encrypted stream with nothing in it")
        return body

    def _seal(self, body: bytes, aad: bytes) -> bytes:
        return self.keyring.seal(body, aad, self._nonce(NONCE_BYTES), self.config.encryption_version)


def split_label_untrusted(data: bytes) -> tuple[bytes, bytes]:
    """The label of a packet, ``b""`` when it has no label header, and the rest (§6.4). Raises :class:`BadPacket`."""
    if data[:1] != _LABEL:
        return b"", data
    if len(data) < 2 or not data[1] or len(data) < 2 + data[1]:
        raise BadPacket("malformed label header")
    stop = 2 + data[1]
    return data[2:stop], data[stop:]


def has_crc(body: bytes) -> bool:
    """Whether a decrypted packet starts with a checksum (§6.2); below five bytes it is a message of that type."""
    return len(body) >= CRC_HEADER_BYTES and body[:1] == _CRC


def strip_crc_untrusted(body: bytes) -> bytes:
    """What the checksum, if there is one, covers. Raises :class:`BadPacket` when it does not fit."""
    if not has_crc(body):
        return body
    covered = body[CRC_HEADER_BYTES:]
    if zlib.crc32(covered) != int.from_bytes(body[1:CRC_HEADER_BYTES], "big"):
        raise BadPacket("checksum mismatch")
    return covered


def is_plain_untrusted(body: bytes) -> bool:
    """Whether bytes that no key decrypts may be read as plain ones.

    Encryption versions 0 and 1 are also the types of ping and indirect ping. Where both are possible only exactly one
    map is believed; otherwise about one in a hundred datagrams under a strange key would pass for an empty ping.
    """
    if not is_sealed_untrusted(body):
        return True
    try:
        value, rest = unpack_untrusted(body[1:])
    except BadPacket:
        return False
    return type(value) is tuple and not rest


def _shown(label: bytes) -> str:
    """A label for an error text."""
    return f"'{label.decode(errors='backslashreplace'):.40}'" if label else "none"
