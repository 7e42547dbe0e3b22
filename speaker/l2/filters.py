"""Programs for the kernel (classic BPF) that keep everything but untagged ARP away from a packet socket.

Rules kept here:

* The programs are constants. Their verdicts are tested in the kernel, with frames that somebody else made.
* The kernel takes a VLAN tag off before a packet socket sees the frame, so that ARP of a VLAN looks untagged. What it
  leaves depends on the protocol that the socket is bound to, and both are tested for. With ETH_P_ALL the tag is still
  beside the frame. With ETH_P_ARP it is gone already, and the frame is marked as another host's.
* VLAN 0 is no VLAN: such a tag only gives a priority, and the kernel itself answers those frames.

Source: Linux, Documentation/networking/filter.rst ("BPF engine and instruction set"); docs/specs/metallb-interface.md
§4.5.
"""

from __future__ import annotations

from struct import pack
from typing import Final, TypeAlias

from speaker.l2.frames import MAX_FRAME_BYTES

Instruction: TypeAlias = tuple[int, int, int, int]
"""Operation, how many instructions to skip if true, and if false, operand."""
Program: TypeAlias = tuple[Instruction, ...]

_LOAD_WORD: Final = 0x20
_LOAD_HALF: Final = 0x28
_IF_EQUAL: Final = 0x15
_IF_GREATER: Final = 0x25
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ABOUT_THE_FRAME: Final = 0xFFFFF000
"""Offsets from here on are not in the frame: they are what the kernel knows about it."""
_PACKET_TYPE: Final = _ABOUT_THE_FRAME + 4
_VLAN_TAG: Final = _ABOUT_THE_FRAME + 44
_VLAN_TAG_PRESENT: Final = _ABOUT_THE_FRAME + 48
_PACKET_MULTICAST: Final = 2
"""The last of the types of frames that are for this host; another host's (3) and those going out (4) follow."""
_VLAN_ID: Final = 0x0FFF
_ETHER_TYPE: Final = 12
_ARP: Final = 0x0806

ARP: Final[Program] = (
    (_LOAD_WORD, 0, 0, _PACKET_TYPE),
    (_IF_GREATER, 7, 0, _PACKET_MULTICAST),
    (_LOAD_WORD, 0, 0, _VLAN_TAG_PRESENT),
    (_IF_EQUAL, 2, 0, 0),
    (_LOAD_WORD, 0, 0, _VLAN_TAG),
    (_IF_ANY_BIT, 3, 0, _VLAN_ID),
    (_LOAD_HALF, 0, 0, _ETHER_TYPE),
    (_IF_EQUAL, 0, 1, _ARP),
    (_RETURN, 0, 0, MAX_FRAME_BYTES),
    (_RETURN, 0, 0, 0),
)
"""Untagged ARP for this host or for everybody, cut after MAX_FRAME_BYTES."""


def encode_program(program: Program) -> bytes:
    """The instructions as the kernel reads them: an array of `struct sock_filter`."""
    return b"".join(pack("=HBBI", *instruction) for instruction in program)
