"""What the kernel's routing sockets have in common for those who speak to them. Source: netlink(7), rtnetlink(7)."""

from __future__ import annotations

import struct
from typing import Final

NETLINK_ROUTE: Final = 0
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
HEADER: Final = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
IFADDRMSG: Final = struct.Struct("=BBBBI")
"""Family, length of the prefix, flags, scope, index."""
MAX_DATAGRAM: Final = 65_536
"""Bytes; the kernel makes its lists in pieces of at most 32 KiB."""
