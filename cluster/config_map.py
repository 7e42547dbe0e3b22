"""MetalLB's ConfigMap, from 0.8 to 0.12: the document under its key `config`.

Rules kept here:

* As strict as MetalLB: an unknown key is a mistake wherever it stands. Where its versions differ, what a later one
  takes is taken: a configuration that works there works here. Text need not be quoted: `65000:50` is a community.
* Every pool, advertisement, peer and profile is read by itself, so that a mistake in one hides none in another.
* Names of advertisements and peers are those that MetalLB's own conversion to custom resources gives.

Source: docs/specs/metallb-interface.md §1.1–1.5, §1.7.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from cluster.config_shapes import (
    BFDProfileShape,
    BGPAdvertisementShape,
    CommunityShape,
    DocumentShape,
    PeerShape,
    PoolProtocol,
    PoolShape,
    SelectorShape,
    parse_community,
)
from cluster.errors import ValueRefused, quote
from cluster.model import (
    BFDProfile,
    BGPAdvertisement,
    Community,
    Configuration,
    L2Advertisement,
    LabelSelector,
    Operator,
    Peer,
    Pool,
    Requirement,
)
from cluster.ranges import find_overlaps, parse_networks
from cluster.shapes import DocumentReader, alternatives, format_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.errors import Problem
    from cluster.model import Network
    from cluster.shapes import Path, Reader
    from cluster.yaml_text import Node


def read_configuration(document: Node, problems: list[Problem]) -> Configuration:
    """The configuration of one document. What could not be read is left out, and every reason added to `problems`."""
    reader = DocumentReader(document, problems)
    reader.read(DocumentShape)
    pools, l2_advertisements, bgp_advertisements = _read_pools(reader, _read_communities(reader))
    profiles = reader.items(("bfd-profiles",))
    reader.refuse_repeated(profiles, "name")
    profile_names = [name for path in profiles if (name := reader.text((*path, "name")))]
    return Configuration(
        pools=tuple(pools),
        l2_advertisements=tuple(l2_advertisements),
        bgp_advertisements=tuple(bgp_advertisements),
        peers=tuple(_read_peers(reader, profile_names)),
        bfd_profiles=tuple(
            BFDProfile(**shape.model_dump()) for path in profiles if (shape := reader.read(BFDProfileShape, path))
        ),
    )


# ---- pools and their advertisements


def _read_communities(reader: Reader) -> Mapping[str, Community | None]:
    """The aliases; None is one whose value is wrong, which has been noted."""
    node = reader.node(("bgp-communities",))
    if node is None or not isinstance(node.value, dict):
        return {}
    shapes = {alias: reader.read(CommunityShape, ("bgp-communities", alias)) for alias in node.value}
    return {alias: shape.root if shape else None for alias, shape in shapes.items()}


def _read_pools(
    reader: Reader, aliases: Mapping[str, Community | None]
) -> tuple[list[Pool], list[L2Advertisement], list[BGPAdvertisement]]:
    paths = reader.items(("address-pools",))
    reader.refuse_repeated(paths, "name")
    _refuse_overlaps(reader, paths)
    pools: list[Pool] = []
    l2_advertisements: list[L2Advertisement] = []
    bgp_advertisements: list[BGPAdvertisement] = []
    l2_names, bgp_names = (map(f"{kind}advertisement{{}}".format, count(1)) for kind in ("l2", "bgp"))
    for path in paths:
        name = reader.text((*path, "name")) or ""
        advertisements = _read_bgp_advertisements(reader, path, aliases)
        listed = (*path, "bgp-advertisements")
        if reader.items(listed) and reader.text((*path, "protocol")) == PoolProtocol.LAYER2:
            hint = "take them out, or write `protocol: bgp`"
            reader.refuse(listed, "a layer2 pool has no BGP advertisements", hint)
        shape = reader.read(PoolShape, path)
        if shape is None:
            continue
        pools.append(
            Pool(
                name=shape.name,
                networks=tuple(network for entry in shape.addresses for network in entry),
                auto_assign=shape.auto_assign,
                avoid_buggy_ips=shape.avoid_buggy_ips,
            )
        )
        match shape.protocol:
            case PoolProtocol.LAYER2:
                l2_advertisements.append(L2Advertisement(name=next(l2_names), pools=(name,)))
            case PoolProtocol.BGP:
                bgp_advertisements += [
                    _bgp_advertisement(next(bgp_names), name, advertisement, communities)
                    for advertisement, communities in advertisements or [(BGPAdvertisementShape(), ())]
                ]
    return pools, l2_advertisements, bgp_advertisements


def _bgp_advertisement(
    name: str, pool: str, shape: BGPAdvertisementShape, communities: tuple[Community, ...]
) -> BGPAdvertisement:
    return BGPAdvertisement(
        name=name,
        pools=(pool,),
        aggregation_length=shape.aggregation_length,
        aggregation_length_v6=shape.aggregation_length_v6,
        local_pref=shape.localpref,
        communities=communities,
    )


def _entries(reader: Reader, pool: Path) -> list[tuple[Path, tuple[Network, ...]]]:
    """The entries of a pool's `addresses` that can be read; the others are noted with the pool."""
    entries = []
    for path in reader.items((*pool, "addresses")):
        text = reader.text(path)
        try:
            entries.append((path, parse_networks(text) if text is not None else ()))
        except ValueRefused:
            continue
    return entries


def _refuse_overlaps(reader: Reader, pools: list[Path]) -> None:
    networks = ((network, path) for pool in pools for path, entry in _entries(reader, pool) for network in entry)
    noted: set[Path] = set()
    for path, other, network in find_overlaps(networks):
        if path in noted:  # one entry of many CIDRs is wrong once
            continue
        noted.add(path)
        text = quote(reader.text(other) or "")
        message = f"{quote(reader.text(path) or '')} overlaps {text} of {format_path(other)} in {network}"
        reader.refuse(path, message, "take the addresses out of one of the two")


def _read_bgp_advertisements(
    reader: Reader, pool: Path, aliases: Mapping[str, Community | None]
) -> list[tuple[BGPAdvertisementShape, tuple[Community, ...]]]:
    found = []
    for path in reader.items((*pool, "bgp-advertisements")):
        communities = [_read_community(reader, item, aliases) for item in reader.items((*path, "communities"))]
        for version, key in (4, "aggregation-length"), (6, "aggregation-length-v6"):
            _check_aggregation(reader, pool, (*path, key), version)
        if shape := reader.read(BGPAdvertisementShape, path):
            known = {community for community in communities if community is not None}
            found.append((shape, tuple(sorted(known))))
    return found


def _check_aggregation(reader: Reader, pool: Path, path: Path, version: int) -> None:
    """Refuse a length that is shorter than the widest block of an entry: it would announce addresses of others."""
    node = reader.node(path)
    if node is None or not isinstance(node.value, int) or isinstance(node.value, bool):
        return  # the shape says so
    for entry, networks in _entries(reader, pool):
        widest = min((network.prefixlen for network in networks if network.version == version), default=0)
        if node.value < widest:
            message = f"{quote(str(node.value))} is shorter than the /{widest} of {quote(reader.text(entry) or '')}"
            reader.refuse(path, message, f"write {widest} or more, or leave it out")
            return


def _read_community(reader: Reader, path: Path, aliases: Mapping[str, Community | None]) -> Community | None:
    text = reader.text(path)
    if text is None:
        return None
    if text in aliases:
        return aliases[text]
    try:
        return parse_community(text)
    except ValueRefused as reason:
        if ":" in text:
            reader.refuse(path, reason.message, reason.hint)
        else:
            cure = f"write {alternatives(map(quote, aliases))}" if aliases else "define it there"
            reader.refuse(path, f"{quote(text)} is no alias of bgp-communities", cure)
        return None


# ---- peers


def _read_peers(reader: Reader, profiles: list[str]) -> list[Peer]:
    peers = []
    first: dict[Peer, Path] = {}
    for number, path in enumerate(reader.items(("peers",)), start=1):
        _check_profile(reader, (*path, "bfd-profile"), profiles)
        shape = reader.read(PeerShape, path)
        if shape is None:
            continue
        _check_peer(reader, path, shape)
        peer = _peer(f"peer{number}", shape)
        same = replace(peer, name="")
        if (earlier := first.setdefault(same, path)) != path:
            reader.refuse(path, f"is the same as {format_path(earlier)}", "take one of the two out")
        peers.append(peer)
    return peers


def _check_peer(reader: Reader, path: Path, shape: PeerShape) -> None:
    if shape.keepalive_time is not None and shape.keepalive_time > shape.hold_time:
        message = f"{shape.keepalive_time}s is longer than the hold time of {shape.hold_time}s"
        reader.refuse((*path, "keepalive-time"), message, f"write {shape.hold_time // 3}s, or leave it out")
    if shape.ebgp_multihop and shape.my_asn == shape.peer_asn:
        message = f"is for external peers, and both sides are in AS {shape.my_asn}"
        reader.refuse((*path, "ebgp-multihop"), message, "leave it out")


def _check_profile(reader: Reader, path: Path, profiles: list[str]) -> None:
    name = reader.text(path)
    if name and name not in profiles:
        cure = f"write {alternatives(map(quote, profiles))}" if profiles else "define it there"
        reader.refuse(path, f"{quote(name)} is the name of none of the bfd-profiles", cure)


def _peer(name: str, shape: PeerShape) -> Peer:
    return Peer(
        name=name,
        my_asn=shape.my_asn,
        peer_asn=shape.peer_asn,
        peer_address=shape.peer_address,
        peer_port=shape.peer_port,
        source_address=shape.source_address,
        hold_time=shape.hold_time,
        keepalive_time=shape.keepalive_time,
        router_id=shape.router_id,
        node_selectors=tuple(map(_selector, shape.node_selectors)) or (LabelSelector(),),
        password=shape.password or None,
        bfd_profile=shape.bfd_profile or None,
        ebgp_multihop=shape.ebgp_multihop,
    )


def _selector(shape: SelectorShape) -> LabelSelector:
    """Labels to match are requirements with one value, before the expressions, sorted by key."""
    labels = [
        Requirement(key=key, operator=Operator.IN, values=(value,)) for key, value in sorted(shape.match_labels.items())
    ]
    expressions = [
        Requirement(key=expression.key, operator=expression.operator, values=tuple(expression.values))
        for expression in shape.match_expressions
    ]
    return LabelSelector(requirements=(*labels, *expressions))
