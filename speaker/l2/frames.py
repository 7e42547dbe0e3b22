"""ARP over Ethernet: bytes to fields, and the four frames that a speaker sends.

Rules kept here:

* A decoder may raise :class:`BadFrame` on any bytes, and nothing else.
* IP addresses are the four packed bytes, as on the wire: a frame is looked up and answered without making objects.
* A VLAN tag in the bytes makes a frame somebody else's. (A tag that the kernel took off is for `filters` to see.)
* What an encoder gives is 42 bytes long; the kernel and the card pad it to Ethernet's minimum.

Source: docs/specs/metallb-interface.md §4.5, 4.6; RFC 826; RFC 5227 §1.1, 2.1.1.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from speaker.l2.interfaces import MAC_BYTES

REQUEST: Final = 1
REPLY: Final = 2
BROADCAST: Final = b"\xff" * 6
NO_MAC: Final = bytes(6)
NO_IP: Final = bytes(4)
"""The sender of a probe: it has no address yet."""
FRAME_BYTES: Final = 42
MAX_FRAME_BYTES: Final = 64
"""As much of a frame as is worth reading: ARP and the padding to Ethernet's minimum."""

_ETHERNET_IPV4: Final = bytes.fromhex("0806 0001 0800 06 04")
"""EtherType ARP; hardware Ethernet, protocol IPv4, and the lengths of their addresses."""
_VLAN_TYPES: Final = (bytes.fromhex("8100"), bytes.fromhex("88a8"))
_LAYOUT: Final = Struct("!6s6s8xH6s4s6s4s")


class BadFrame(Exception):
    """Bytes that are no untagged ARP frame for IPv4 over Ethernet; the message says why."""


class ARPPacket(NamedTuple):
    """What an ARP frame says. Hardware addresses are 6 bytes, IP addresses 4."""

    ethernet_destination: bytes
    ethernet_source: bytes
    operation: int
    """1 a request, 2 a reply; others exist and mean nothing here."""
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes

    @property
    def is_probe(self) -> bool:
        """A request by a host that would like to have the address it asks for (RFC 5227 §1.1)."""
        return self.operation == REQUEST and self.sender_ip == NO_IP


def decode_arp_untrusted(frame: bytes) -> ARPPacket:
    """Read a frame from its Ethernet header on; what follows the packet is padding. Raises :class:`BadFrame`."""
    if frame[12:20] != _ETHERNET_IPV4 or len(frame) < FRAME_BYTES:
        raise BadFrame(_why_bad(frame))
    return ARPPacket._make(_LAYOUT.unpack_from(frame))


def _why_bad(frame: bytes) -> str:
    if len(frame) < FRAME_BYTES:
        return f"{len(frame)} bytes are too short for ARP; {FRAME_BYTES} are needed"
    if frame[12:14] in _VLAN_TYPES:
        return "a VLAN-tagged frame"
    if frame[12:14] != _ETHERNET_IPV4[:2]:
        return f"EtherType {frame[12:14].hex()}, not ARP"
    return f"ARP for other than IPv4 over Ethernet: {frame[14:20].hex()}"


class Encoder:
    """The frames of one sender: ``mac`` (6 bytes) is both their Ethernet source and what they tell.

    Raises ValueError for a hardware address of another length.
    """

    __slots__ = ("_probe", "_reply", "_request")

    def __init__(self, mac: bytes) -> None:
        if len(mac) != MAC_BYTES:
            raise ValueError(f"an Ethernet address has {MAC_BYTES} bytes, not {len(mac)}: {mac.hex()}")
        self._request: Final = b"%b%b\x00\x01%b" % (mac, _ETHERNET_IPV4, mac)
        self._reply: Final = b"%b%b\x00\x02%b" % (mac, _ETHERNET_IPV4, mac)
        self._probe: Final = BROADCAST + self._request + NO_IP + NO_MAC

    def reply(self, ip: bytes, to_mac: bytes, to_ip: bytes) -> bytes:
        """The answer "``ip`` is at this MAC", to the one who asked (metallb-interface.md §4.5)."""
        return b"".join((to_mac, self._reply, ip, to_mac, to_ip))

    def gratuitous_request(self, ip: bytes) -> bytes:
        """Tell everybody, as a request: what replaces a cache's entry at once, however new that is."""
        return b"".join((BROADCAST, self._request, ip, BROADCAST, ip))

    def gratuitous_reply(self, ip: bytes) -> bytes:
        """Tell everybody, as a reply (metallb-interface.md §4.6)."""
        return b"".join((BROADCAST, self._reply, ip, BROADCAST, ip))

    def probe(self, ip: bytes) -> bytes:
        """Ask whether anybody has ``ip``, without claiming it (RFC 5227 §2.1.1)."""
        return self._probe + ip
