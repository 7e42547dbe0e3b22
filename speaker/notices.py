"""What speakers tell each other directly, as user messages of the ring.

Rules kept here:

* The bytes are `S1` and a MessagePack array of the kind and its fields. Whatever else arrives is somebody else's
  message, and never an error: a ring may carry other programs' messages.
* A message about many addresses is several of at most MAX_ADDRESSES.

Source: design.md §4, 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeAlias

from cluster.model import Address
from speaker.packing import BadPacking, pack, unpack_untrusted

MAGIC: Final = b"S1"
MAX_ADDRESSES: Final = 64
"""Addresses in one message."""
MAX_NOTICE_BYTES: Final = 8192
MAX_NAME_CHARACTERS: Final = 1024
MAX_AGE: Final = 1e9
"""Seconds; a larger age is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNotice:
    """Its sender announces addresses that it heard the receiver announce too; the two settle it by these facts."""

    sender: str
    addresses: tuple[Address, ...]
    is_isolated: bool
    """The sender saw no other live member when it heard of the claim."""
    age: float
    """Seconds since the sender's desired state was last known to be current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNotice:
    """Its sender announces an address no longer that it had settled with the receiver: whoever yielded may have it."""

    sender: str
    address: Address


Notice: TypeAlias = ClaimNotice | ReleaseNotice


def encode_claims(sender: str, addresses: Sequence[Address], is_isolated: bool, age: float) -> Iterator[bytes]:
    """Claims as user messages."""
    for start in range(0, len(addresses), MAX_ADDRESSES):
        some = [str(address) for address in addresses[start : start + MAX_ADDRESSES]]
        yield MAGIC + pack(["claims", sender, some, is_isolated, min(age, MAX_AGE)])


def encode_release(notice: ReleaseNotice) -> bytes:
    """A release as a user message."""
    return MAGIC + pack(["release", notice.sender, str(notice.address)])


def decode_notice_untrusted(payload: bytes) -> Notice | None:
    """The notice in a user message; None for any other bytes."""
    if not payload.startswith(MAGIC):
        return None
    try:
        value = unpack_untrusted(payload[len(MAGIC) :], MAX_NOTICE_BYTES)
        match value:
            case ["claims", str(sender), list(texts), bool(is_isolated), float(age)] if (
                len(sender) <= MAX_NAME_CHARACTERS and len(texts) <= MAX_ADDRESSES and 0 <= age <= MAX_AGE
            ):
                addresses = tuple(ip_address(text) for text in texts if isinstance(text, str))
                return ClaimNotice(sender=sender, addresses=addresses, is_isolated=is_isolated, age=age)
            case ["release", str(sender), str(text)] if len(sender) <= MAX_NAME_CHARACTERS:
                return ReleaseNotice(sender=sender, address=ip_address(text))
    except (BadPacking, ValueError):
        return None
    return None
