"""What the cluster wants announced: addresses in groups that move as one, and the facts about nodes that bear on it.

Rules kept here:

* A pure function of the snapshot. The slow process computes it and sends what changed; the fast one only decides.
* Services that share an address form one group, and a group has one owner (design.md §5).
* Nothing is dropped in silence: an address that no advertisement covers, or that lies in no pool, is a group all the
  same, so that `why` can say so.

Source: design.md §5; docs/specs/metallb-interface.md §3.5, 3.11, 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.model import Address, ExternalTrafficPolicy, ObjectName


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Services joined by an address that they share. A group moves as one."""

    key: Address
    """The lowest of the services' first ingress addresses: what is hashed, so both families live on one node."""
    addresses: tuple[Address, ...]
    """Every address of the group, IPv4 before IPv6, ascending."""
    services: tuple[ObjectName, ...]
    """Sorted."""
    pools: tuple[str, ...]
    """The pools that the addresses lie in, sorted; empty when they lie outside of all."""
    advertisements: tuple[str, ...]
    """The L2 advertisements of these pools, sorted; without one nobody announces the group by ARP or NDP."""
    policy: ExternalTrafficPolicy
    serving_nodes: tuple[str, ...]
    """Nodes with an endpoint that serves, sorted."""
    is_served: bool
    """Some endpoint serves, on a node that is named or not."""
    spare: Address | None = None
    """An address of the same pool that no service has: who answers for it too answers for everything (proxy ARP)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the cluster says of a node (metallb-interface.md §3.11)."""

    name: str
    is_excluded: bool = False
    """It has the label node.kubernetes.io/exclude-from-external-load-balancers."""
    network_unavailable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Everything wanted at one instant. Groups are sorted by key, nodes by name."""

    groups: tuple[Group, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandChange:
    """What is different from the demand told before."""

    groups: tuple[Group, ...] = ()
    """New, or changed."""
    gone: tuple[Address, ...] = ()
    """Keys of groups that are no more."""
    nodes: tuple[NodeFacts, ...] = ()
    """New, or changed."""
    gone_nodes: tuple[str, ...] = ()
    is_complete: bool = True
    """The last part of a change: what was told so far is one whole demand."""
