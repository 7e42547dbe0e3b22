"""Manifests as text, and what the readers say about them."""

from cluster.manifests import Reading, read_manifests
from cluster.model import Configuration

FILE = "m.yaml"
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: metallb-system}\ndata:\n  config: |\n"
HEAD_LINES = HEAD.count("\n")
INDENT = 4

# Documents that are right, each with one entry that more keys can be added to.
POOL = "address-pools:\n- name: p\n  protocol: layer2\n  addresses: [192.0.2.0/24]\n"
BGP_POOL = "address-pools:\n- name: p\n  protocol: bgp\n  addresses: [192.0.2.0/24, 2001:db8::/64]\n"
ADVERTISEMENT = f"{BGP_POOL}  bgp-advertisements:\n  - localpref: 1\n"
PEER = "peers:\n- my-asn: 64500\n  peer-asn: 64501\n  peer-address: 192.0.2.1\n"
SELECTOR = f"{PEER}  node-selectors:\n  - match-expressions:\n    - key: rack\n      operator: Exists\n"
PROFILE = "bfd-profiles:\n- name: fast\n"


def read(*texts: str) -> Reading:
    """Read texts as files m.yaml, m2.yaml, …"""
    names = [FILE, *(f"m{number}.yaml" for number in range(2, len(texts) + 1))]
    return read_manifests([(name, text.encode()) for name, text in zip(names, texts, strict=True)])


def said(*texts: str) -> list[str]:
    """Every problem as `LINE:COLUMN: message; hint`."""
    return [str(problem).removeprefix(f"{FILE}:") for problem in read(*texts).problems]


def wrap(document: str) -> str:
    """A ConfigMap that holds the document as a literal, as MetalLB's users write it."""
    return HEAD + "".join(f"{' ' * INDENT}{line}\n" if line else "\n" for line in document.splitlines())


def config(document: str) -> Configuration:
    """The configuration of a document that is right."""
    reading = read(wrap(document))
    assert reading.problems == ()
    return reading.snapshot.config


def refused(document: str) -> list[str]:
    """Every problem of the document, with its place counted from the document's own beginning."""
    return [
        f"{problem.place.line - HEAD_LINES}:{problem.place.column - INDENT}: {problem.message}; {problem.hint}"
        for problem in read(wrap(document)).problems
    ]
