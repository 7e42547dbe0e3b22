"""Services, pools and changes at random, beside a model that tries every address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import combinations, permutations
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cluster.model import ExternalTrafficPolicy, ServiceType
from controller.reconciler import Outcome
from tests.controller.helpers import Source, name, pool, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.model import Address, ObjectName, Pool, Service

CONFIGURATIONS = [
    (pool("p", "192.0.2.0/30"),),
    (pool("p", "192.0.2.0/31"), pool("q", "192.0.2.2-192.0.2.4", auto_assign=False)),
    (pool("q", "192.0.2.4-192.0.2.6", "192.0.2.2/32"), pool("p", "192.0.2.0/31", avoid_buggy_ips=True)),
    (pool("r", "192.0.2.1-192.0.2.3"),),
    (),
]
EVERY_ADDRESS = [IPv4Address(f"192.0.2.{last}") for last in range(8)]
LETTERS = st.sampled_from("abcdef")
SERVICES = st.builds(
    service,
    LETTERS,
    port=st.sampled_from(["80", "81", "80 81", "82"]),
    asks=st.sampled_from([""] * 5 + [str(address) for address in EVERY_ADDRESS[:5]]),
    key=st.sampled_from([None, None, "k", "l"]),
    local=st.sampled_from([False, False, True]),
    address_pool=st.sampled_from([None] * 4 + ["p", "q", "no"]),
    kind=st.sampled_from([ServiceType.LOAD_BALANCER] * 6 + [ServiceType.NODE_PORT]),
)


# ---- the model: §3.5 and 3.6, word for word


def pool_of(pools: tuple[Pool, ...], address: Address) -> Pool | None:
    """The pool that gives the address out."""
    for each in pools:
        if any(address in network for network in each.networks):
            return None if each.avoid_buggy_ips and int(address) % 256 in (0, 255) else each
    return None


def in_order(pools: tuple[Pool, ...], wants: Service) -> Iterator[Address]:
    """Every address that the service may have for what it asks, the best first."""
    if wants.type is not ServiceType.LOAD_BALANCER:
        return
    for each in pools:
        for network in each.networks:
            for address in network:
                if pool_of(pools, address) is None or (wants.address_pool or each.name) != each.name:
                    continue
                is_asked_for = address in wants.requested_addresses
                if is_asked_for or (not wants.requested_addresses and (each.auto_assign or wants.address_pool)):
                    yield address


def is_allowed(pools: tuple[Pool, ...], wants: Service, address: Address) -> bool:
    """Whether a service that has the address may go on having it: automatic or not plays no part."""
    return address in in_order(tuple(replace(each, auto_assign=True) for each in pools), wants)


def may_share(a: Service, b: Service) -> bool:
    backends = [
        service.selector if service.external_traffic_policy is ExternalTrafficPolicy.LOCAL else None
        for service in (a, b)
    ]
    return (
        a.sharing_key is not None
        and a.sharing_key == b.sharing_key
        and backends[0] == backends[1]
        and not set(a.ports) & set(b.ports)
    )


class Convergence(RuleBasedStateMachine):
    """A folder that changes, a controller that looks, a controller that starts anew."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Source(CONFIGURATIONS[0])
        self.changes = 0

    @rule(services=st.lists(SERVICES, min_size=1, max_size=4, unique_by=lambda service: service.name))
    def change_services(self, services: list[Service]) -> None:
        self.source.put(*services)
        self.turn()

    @rule(letters=st.sets(LETTERS, min_size=1, max_size=2))
    def delete(self, letters: set[str]) -> None:
        self.source.take_out(*sorted(letter for letter in letters if name(letter) in self.source.services))
        self.turn()

    @rule(pools=st.sampled_from(CONFIGURATIONS))
    def configure(self, pools: tuple[Pool, ...]) -> None:
        self.source.pools = pools
        self.turn()

    @rule(pools=st.sampled_from(CONFIGURATIONS))
    def start_anew(self, pools: tuple[Pool, ...]) -> None:
        self.source.pools = pools
        self.source.restart()
        self.turn()

    @rule(lost=SERVICES, late=SERVICES, pools=st.sampled_from(CONFIGURATIONS))
    def write_late(self, lost: Service, late: Service, pools: tuple[Pool, ...]) -> None:
        """What is said of one change is not written before the next."""
        self.source.put(lost)
        self.source.look()
        assert self.source.look() == Outcome(), "the same snapshot gives nothing new"
        self.source.pools = pools
        self.changes += 1
        self.source.put(replace(late, labels=(("change", str(self.changes)),)))
        self.source.turn()
        self.check_who_has_what()

    @rule(letter=LETTERS, address=st.sampled_from([*EVERY_ADDRESS, None]))
    def meddle(self, letter: str, address: IPv4Address | None) -> None:
        """Somebody else writes a status."""
        if old := self.source.services.get(name(letter)):
            self.source.services[old.name] = replace(old, ingress=(address,) if address else ())
            self.source.turn()
            self.check_who_has_what()

    # ---- what must hold

    def turn(self) -> None:
        before = self.holders()
        outcome = self.source.look()
        assert self.source.look() == Outcome(), "the same snapshot gives nothing new"
        for status in outcome.statuses:
            self.source.write(Outcome(statuses=(status,)))
            self.check_nobody_is_joined(before)
        assert self.source.look() == Outcome(), "what is written is not news"
        self.check_who_has_what()
        self.check_who_keeps(before)
        self.check_who_got(before)

    def holders(self) -> dict[ObjectName, Address]:
        return {service.name: service.ingress[0] for service in self.source.services.values() if service.ingress}

    def on(self, address: Address) -> list[Service]:
        return [self.source.services[each] for each, has in self.holders().items() if has == address]

    def is_free_for(self, wants: Service, address: Address) -> bool:
        return all(may_share(wants, other) for other in self.on(address) if other.name != wants.name)

    def check_nobody_is_joined(self, before: dict[ObjectName, Address]) -> None:
        """Not even between two writes does anybody get onto the address of one who does not share."""
        for address in EVERY_ADDRESS:
            for a, b in combinations(self.on(address), 2):
                assert may_share(a, b) or before.get(a.name) == before.get(b.name) == address

    def check_who_has_what(self) -> None:
        services, pools = self.source.services, self.source.pools
        for each, address in self.holders().items():
            place = pool_of(pools, address)
            assert place is not None
            assert services[each].allocated_from_pool == place.name
            assert is_allowed(pools, services[each], address)
            assert self.is_free_for(services[each], address)
        for wants in services.values():
            if not wants.ingress:
                usable = [address for address in in_order(pools, wants) if self.is_free_for(wants, address)]
                assert not usable, f"{wants.name} waits, and could have {usable}"

    def check_who_keeps(self, before: dict[ObjectName, Address]) -> None:
        services = self.source.services
        for each, address in before.items():
            wants = services.get(each)
            if wants is None or not is_allowed(self.source.pools, wants, address):
                continue
            others = [services[other] for other, had in before.items() if had == address and other in services]
            if all(
                may_share(wants, other)
                for other in others
                if other.name != each and other.type is ServiceType.LOAD_BALANCER
            ):
                assert self.holders().get(each) == address

    def check_who_got(self, before: dict[ObjectName, Address]) -> None:
        """The lowest that was to be had: what is usable now was so all the time."""
        for each, address in self.holders().items():
            wants = self.source.services[each]
            if before.get(each) != address:
                best = next(better for better in in_order(self.source.pools, wants) if self.is_free_for(wants, better))
                assert best == address


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(stateful_step_count=25)


def test_the_model_knows_what_may_be_shared() -> None:
    """So that it is not true of nothing."""
    a, b = service("a", key="k"), service("b", port="81", key="k")
    assert all(may_share(*pair) for pair in permutations([a, b]))
    assert not any(may_share(a, each) for each in (a, service("b", port="81"), replace(b, sharing_key="l")))
    assert list(in_order(CONFIGURATIONS[2], a)) == [EVERY_ADDRESS[last] for last in (4, 5, 6, 2, 1)]
