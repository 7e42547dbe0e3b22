"""Manifests of the clusters that labs are made of."""

from __future__ import annotations

from sim.lab.plan import render_manifests

MANY = 200
"""Services of :func:`many`."""
PART = 50
"""Services that are rendered at once; a lab of its own has no more than a hundred."""


def cluster(nodes: int, services: int, pool: list[str] | None = None) -> dict[str, str]:
    """Manifests of a cluster with `n1` … and `svc-1` …."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    return render_manifests(names, [f"svc-{number}" for number in range(1, services + 1)], pool)


def many() -> dict[str, str]:
    """A cluster of five nodes with `MANY` services, which come in parts."""
    nodes = [f"n{number}" for number in range(1, 6)]
    texts = cluster(5, 1, ["10.225.28.30-10.225.28.229"])
    for part in range(1, MANY, PART):
        some = render_manifests(nodes, [f"svc-{number}" for number in range(part, part + PART)])
        texts |= {f"{part:03}-{name}": some[name] for name in ("services.yaml", "endpoints.yaml")}
    del texts["services.yaml"], texts["endpoints.yaml"]
    return texts
