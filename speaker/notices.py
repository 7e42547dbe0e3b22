"""What speakers tell each other directly, as user messages of the ring.

Rules kept here:

* The bytes are `S1`, a MessagePack array of the kind and its fields. Whatever else arrives is somebody else's message,
  and never an error: a ring may carry other programs' messages.

Source: design.md §4, 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from cluster.model import Address
from speaker.packing import BadPacking, pack, unpack_untrusted

MAGIC: Final = b"S1"
MAX_NOTICE_BYTES: Final = 512
MAX_AGE: Final = 1e9
"""Seconds; a larger age is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNotice:
    """Its sender announces an address that it heard the receiver announce too; the two settle it by these facts."""

    sender: str
    address: Address
    is_isolated: bool
    """The sender saw no other live member when it heard of the claim."""
    age: float
    """Seconds since the sender's desired state was last known to be current."""


def encode_notice(notice: ClaimNotice) -> bytes:
    """The notice as a user message."""
    return MAGIC + pack(["claim", notice.sender, str(notice.address), notice.is_isolated, notice.age])


def decode_notice_untrusted(payload: bytes) -> ClaimNotice | None:
    """The notice in a user message; None for any other bytes."""
    if not payload.startswith(MAGIC):
        return None
    try:
        value = unpack_untrusted(payload[len(MAGIC) :], MAX_NOTICE_BYTES)
    except BadPacking:
        return None
    match value:
        case ["claim", str(sender), str(text), bool(is_isolated), float(age)] if 0 <= age <= MAX_AGE:
            try:
                return ClaimNotice(sender=sender, address=ip_address(text), is_isolated=is_isolated, age=age)
            except ValueError:
                return None
    return None
