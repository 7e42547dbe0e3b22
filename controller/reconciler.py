"""From snapshots to statuses: which service is to have which address, and what is told about it.

Rules kept here:

* Who has an address keeps it for as long as the configuration allows. All that hold one are heard before anybody gets
  a new one, at the start and ever after.
* Only what changed is decided again, and of those that wait only when something became free that could help.
* A status that is still on its way is not mistaken for another's word: what was decided stands until the snapshot
  shows something that is neither what stood then nor what was decided.
* An event is told when something becomes true, once. The order of everything is that of names.

Source: docs/specs/metallb-interface.md §3.3, 3.7–3.10. Where it leaves the order open, services that ask for an address
go before those that take any, and among these the ones that lost theirs before those that never had one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from cluster.model import Address, IPFamily, ObjectName, Pool, Service, ServiceStatus, ServiceType, Snapshot
from controller.allocator import Allocation, Allocator, Refused, show
from controller.claims import Claim, Families, Unservable, claim_of, families_of, family_choices
from controller.differences import compare
from controller.events import Event, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Standing: TypeAlias = tuple[tuple[Address, ...], str | None]
"""What stands in a service's status: its addresses, and the pool noted for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What follows from a snapshot. Empty when nothing does."""

    statuses: tuple[ServiceStatus, ...] = ()
    """To be written in this order: an address is taken from one service before another has it."""
    events: tuple[Event, ...] = ()
    """To be told, in order."""


@dataclass(slots=True)
class _Record:
    """What was decided about a service."""

    service: Service
    standing: Standing
    """What stood in its status when it was last looked at."""
    wanted: ServiceStatus
    told: ServiceStatus
    """What was last wanted of the source; before that, what stood."""
    warned: tuple[str, ...] = ()
    """The deprecated annotations that were told of."""

    @property
    def is_written(self) -> bool:
        """Whether the status stands as it is wanted."""
        return self.standing == (self.wanted.ingress, self.wanted.pool)


@dataclass(frozen=True, slots=True)
class _Request:
    """A service that has no address and is to have one."""

    service: Service
    claim: Claim
    choices: tuple[Families, ...]

    @property
    def is_special(self) -> bool:
        """Whether what is refused to it may still be given to another with the same choice of pools."""
        return bool(self.service.requested_addresses) or self.claim.share is not None

    @property
    def order(self) -> tuple[bool, int, ObjectName]:
        """Who asks for an address, who lost more, the name."""
        return not self.service.requested_addresses, -len(self.service.ingress), self.service.name


@dataclass(slots=True)
class _Turn:
    """What happens while one snapshot is looked at."""

    decided: dict[ObjectName, None] = field(default_factory=dict)
    """Of whom something may have to be written, in order."""
    lost: dict[ObjectName, str] = field(default_factory=dict)
    """Whose addresses were refused, and why."""
    requests: dict[ObjectName, _Request] = field(default_factory=dict)


class Reconciler:
    """Holds what every service has, and says what follows from each snapshot.

    ``load_balancer_class`` is that of the services to handle; None is of those that name none (§3.3).
    ``default_family`` is that of services without a cluster IP and without ipFamilies: where there is no Kubernetes
    nobody gives cluster IPs. None leaves such services without an address, as MetalLB does.
    """

    def __init__(self, load_balancer_class: str | None = None, default_family: IPFamily | None = IPFamily.IPV4) -> None:
        self._class = load_balancer_class
        self._default_family = default_family
        self._allocator = Allocator()
        self._pools: tuple[Pool, ...] | None = None
        self._services: tuple[Service, ...] = ()
        self._records: dict[ObjectName, _Record] = {}
        self._waiting: dict[ObjectName, _Request] = {}
        self._unwritten: dict[ObjectName, None] = {}

    def reconcile(self, snapshot: Snapshot) -> Outcome:
        """What is to be written and told now that the cluster wants this.

        Until a snapshot is configured nothing is (§3.8); afterwards one that is not leaves the pools as they are. What
        was given out is given out again with the next change, should the snapshot not show it by then.
        """
        pools = snapshot.config.pools if snapshot.is_configured else self._pools
        if pools is None:
            return Outcome()
        differences = compare(self._services, snapshot.services)
        self._services = snapshot.services
        touched = [service for service in differences.changed if not self._is_as_wanted(service)]
        released = self._allocator.released
        for name in differences.gone:
            self._forget(name)
        if pools != self._pools:
            self._pools = pools
            self._allocator.replace_pools(pools)
            touched = list(snapshot.services)
        if not touched and not differences.gone:
            return Outcome()
        turn = _Turn()
        for service in sorted(touched, key=lambda service: -len(service.ingress)):
            self._settle(service, turn)
        if self._allocator.released != released:
            turn.requests = self._waiting | turn.requests
        self._serve(turn)
        return self._conclude(turn)

    def _is_as_wanted(self, service: Service) -> bool:
        """Whether it has changed in nothing but that its status stands now, of which note is taken."""
        record = self._records.get(service.name)
        standing = (service.ingress, service.allocated_from_pool)
        if record is None or standing != (record.wanted.ingress, record.wanted.pool):
            return False
        if replace(record.service, ingress=service.ingress, allocated_from_pool=service.allocated_from_pool) != service:
            return False
        record.service, record.standing = service, standing
        self._unwritten.pop(service.name, None)
        return True

    def _forget(self, name: ObjectName) -> None:
        self._allocator.release(name)
        for table in (self._records, self._waiting, self._unwritten):
            table.pop(name, None)

    # ---- first, everybody is heard about what they have (§3.7 steps 1 to 8)

    def _settle(self, service: Service, turn: _Turn) -> None:
        """Let it keep what it has, or take it; then it may request another."""
        record = self._records.get(service.name)
        is_balanced = service.type is ServiceType.LOAD_BALANCER
        # The class goes when the type does, so that who was ours still is.
        if service.load_balancer_class != self._class and (is_balanced or record is None):
            self._forget(service.name)
            return
        current = self._look(service)
        self._waiting.pop(service.name, None)
        if not is_balanced:
            self._allocator.release(service.name)
            self._decide(ServiceStatus(service=service.name), turn)
            return
        try:
            request = _Request(service, claim_of(service), family_choices(service, self._default_family))
        except Unservable as reason:
            self._allocator.release(service.name)
            self._decide(_failure(service.name, reason.reason, str(reason)), turn)
            return
        if not self._keep(request, current, turn):
            self._allocator.release(service.name)
            turn.requests[service.name] = request

    def _look(self, service: Service) -> tuple[Address, ...]:
        """Note the service, and tell the addresses it has: those decided, unless its status was changed since."""
        standing = (service.ingress, service.allocated_from_pool)
        record = self._records.get(service.name)
        if record is None:
            stands = ServiceStatus(service=service.name, ingress=service.ingress, pool=service.allocated_from_pool)
            self._records[service.name] = _Record(service, standing, stands, stands)
            return service.ingress
        is_on_its_way = service.name in self._unwritten and not service.ingress  # cleared before it is given another
        current = record.wanted.ingress if record.standing == standing or is_on_its_way else service.ingress
        record.service, record.standing = service, standing
        return current

    def _keep(self, request: _Request, current: tuple[Address, ...], turn: _Turn) -> bool:
        """Whether the service goes on with the addresses it has."""
        service = request.service
        if not current:
            return False
        try:
            if families_of(current) not in request.choices:
                raise Refused(f"{show(current)} is not of the address family of the service")
            allocation = self._allocator.assign(request.claim, current)
        except Refused as refusal:
            turn.lost[service.name] = str(refusal)
            return False
        if service.address_pool not in (None, allocation.pool):
            return False
        if service.requested_addresses and set(service.requested_addresses) != set(current):
            return False
        self._decide(ServiceStatus(service=service.name, ingress=current, pool=allocation.pool), turn)
        return True

    # ---- then those without an address get one (§3.7 step 10)

    def _serve(self, turn: _Turn) -> None:
        refusals: dict[tuple[str | None, tuple[Families, ...]], str] = {}  # nothing becomes free meanwhile
        self._waiting |= turn.requests
        for request in sorted(turn.requests.values(), key=lambda request: request.order):
            name = request.service.name
            wish = None if request.is_special else (request.service.address_pool, request.choices)
            refusal = refusals.get(wish) if wish else None
            try:
                if refusal is not None:
                    raise Refused(refusal)
                allocation = self._allocate(request)
            except Refused as reason:
                if wish:
                    refusals[wish] = str(reason)
                message = f'Failed to allocate IP for "{name}": {reason}'
                self._decide(_failure(name, Reason.ALLOCATION_FAILED, message), turn)
            else:
                del self._waiting[name]
                self._decide(ServiceStatus(service=name, ingress=allocation.addresses, pool=allocation.pool), turn)

    def _allocate(self, request: _Request) -> Allocation:
        service = request.service
        if not service.requested_addresses:
            return self._allocator.allocate(request.claim, request.choices, service.address_pool)
        if families_of(service.requested_addresses) not in request.choices:
            families = ", ".join(request.choices[0])
            raise Refused(f"{show(service.requested_addresses)} is not of the service's address family, {families}")
        return self._allocator.assign(request.claim, service.requested_addresses, service.address_pool)

    def _decide(self, status: ServiceStatus, turn: _Turn) -> None:
        self._records[status.service].wanted = status
        turn.decided[status.service] = None

    # ---- last, what is to be written and told

    def _conclude(self, turn: _Turn) -> Outcome:
        events: list[Event] = []
        written: list[_Record] = []
        for name in self._unwritten | turn.decided:
            record = self._records[name]
            is_due = record.wanted != record.told or not record.is_written
            events += _events(record, turn.lost.get(name), is_due)
            if is_due:
                written.append(record)
        statuses = tuple(_in_order(written))
        for record in written:
            record.told = record.wanted
            record.warned = record.service.deprecated_annotations
        self._unwritten = {record.service.name: None for record in written if not record.is_written}
        return Outcome(statuses=statuses, events=tuple(events))


def _failure(service: ObjectName, reason: Reason, message: str) -> ServiceStatus:
    return ServiceStatus(service=service, reason=reason, message=message)


def _events(record: _Record, lost: str | None, is_due: bool) -> Iterator[Event]:
    """What became true of a service."""
    name, wanted, told = record.service.name, record.wanted, record.told
    if lost is not None and wanted.ingress != told.ingress:
        message = f"{show(told.ingress)} is not allowed any more, another is tried: {lost}"
        yield Event(name, Reason.CLEAR_ASSIGNMENT, message)
    if wanted.ingress and wanted.ingress != told.ingress:
        yield Event(name, Reason.IP_ALLOCATED, f"Assigned IP {show(wanted.ingress)}")
    if wanted.reason and (wanted.reason, wanted.message) != (told.reason, told.message):
        yield Event(name, Reason(wanted.reason), wanted.message or "")
    if is_due and record.service.deprecated_annotations not in ((), record.warned):
        names = ", ".join(record.service.deprecated_annotations)
        yield Event(name, Reason.DEPRECATED_ANNOTATION, f"{names}: the prefix is deprecated, write metallb.io/")


def _in_order(records: Iterable[_Record]) -> Iterator[ServiceStatus]:
    """Statuses so that at no time two services have an address because only some are written.

    Those that lose theirs come first. Who moves is cleared among them if somebody else gets what it leaves.
    """
    records = list(records)
    given = {address for record in records for address in record.wanted.ingress}
    for record in records:
        wanted = record.wanted
        left = [a for a in record.standing[0] + record.told.ingress if a not in wanted.ingress]
        if not wanted.ingress:
            yield wanted
        elif any(address in given for address in left):
            yield ServiceStatus(service=wanted.service)
    yield from (record.wanted for record in records if record.wanted.ingress)
