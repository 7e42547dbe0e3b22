"""Objects that name each other and do not meet: what is warned of, and what is not."""

import pytest

from cluster.cross_checks import cross_check
from tests.cluster.helpers import BGP_POOL, PEER, POOL, read, wrap

TWO_POOLS = f"{POOL}- name: q\n  protocol: layer2\n  addresses: [198.51.100.0/24]\n"


def service(annotations: str = "", spec: str = "type: LoadBalancer") -> str:
    return (
        "---\napiVersion: v1\nkind: Service\n"
        f"metadata: {{name: web, annotations: {{{annotations}}}}}\n"
        f"spec: {{{spec}, ports: [{{port: 80}}]}}\n"
    )


def endpoints(name: str, *conditions: str) -> str:
    listed = ", ".join(f"{{addresses: [10.0.0.1], conditions: {{{text}}}}}" for text in conditions)
    return (
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n"
        f"addressType: IPv4\nendpoints: [{listed}]\n"
    )


def warned(*texts: str) -> list[str]:
    reading = read("".join(texts))
    assert reading.problems == ()
    return [f"{problem.place.line}: {problem.message}; {problem.hint}" for problem in cross_check(reading)]


CASES = {
    "a pool that is not there": (
        (wrap(TWO_POOLS), service("metallb.io/address-pool: x")),
        ["14: 'default/web' asks for the pool 'x', and there is none of that name; write 'p' or 'q'"],
    ),
    "a pool where there is none": (
        (wrap("{}"), service("metallb.io/address-pool: x")),
        ["8: 'default/web' asks for the pool 'x', and there is none of that name; configure it"],
    ),
    "a pool that is there": ((wrap(TWO_POOLS), service("metallb.io/address-pool: q")), []),
    "an address in no pool": (
        (wrap(POOL), service("metallb.io/loadBalancerIPs: 203.0.113.1")),
        ["11: 'default/web' asks for 203.0.113.1, which is in no pool; ask for another, or put it into a pool"],
    ),
    "an address of another pool than the one that is asked for": (
        (wrap(TWO_POOLS), service("metallb.io/loadBalancerIPs: 198.51.100.1, metallb.io/address-pool: p")),
        [
            (
                "14: 'default/web' asks for 198.51.100.1, which is in the pool 'q', and for the pool 'p'; "
                "leave out one of the two"
            )
        ],
    ),
    "an address of a pool": (
        (wrap(TWO_POOLS), service("metallb.io/loadBalancerIPs: 198.51.100.1, metallb.io/address-pool: q")),
        [],
    ),
    "another's service": (
        (wrap(POOL), service("metallb.io/address-pool: x", "type: LoadBalancer, loadBalancerClass: c")),
        [],
    ),
    "a service without an address": ((wrap(POOL), service("metallb.io/address-pool: x", "type: ClusterIP")), []),
    "no configuration": ((service("metallb.io/address-pool: x"),), []),
    "no endpoints": (
        (service(), endpoints("api", "")),
        ["2: 'default/web' has no endpoints; nobody announces it until an EndpointSlice names some"],
    ),
    "no endpoint that is ready": (
        (service(), endpoints("web", "ready: false", "ready: false, serving: false")),
        ["2: none of the 2 endpoints of 'default/web' takes connections; nobody announces it until one is ready"],
    ),
    "an endpoint that ends and serves": ((service(), endpoints("web", "ready: false, serving: true")), []),
    "an endpoint of which nothing is known": ((service(), endpoints("web", "")), []),
    "nothing said of endpoints": ((service(),), []),
    "BGP without peers": (
        (wrap(BGP_POOL),),
        ["1: the pool 'p' is announced by BGP, and there are no peers; add peers, or write `protocol: layer2`"],
    ),
    "BGP with peers": ((wrap(BGP_POOL + PEER),), []),
}


@pytest.mark.parametrize(("texts", "expected"), CASES.values(), ids=CASES)
def test_what_is_warned_of(texts: tuple[str, ...], expected: list[str]) -> None:
    assert warned(*texts) == expected


def test_warnings_come_in_the_order_of_places() -> None:
    both = service("metallb.io/address-pool: x, metallb.io/loadBalancerIPs: 203.0.113.1")
    lines = [text.split(":")[0] for text in warned(both, "---\n", wrap(BGP_POOL), endpoints("api", ""))]
    assert lines == ["2", "2", "2", "7"]
