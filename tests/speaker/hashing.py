"""MetalLB's rule for whose an address is, written down once more; the speaker is judged by it and does not share it.

Source: docs/specs/metallb-interface.md §4.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def by_hash(address: object, nodes: Iterable[str]) -> list[str]:
    """Nodes in the order in which an address is theirs; its text is hashed."""
    return sorted(nodes, key=lambda node: sha256(f"{node}#{address}".encode()).digest())
