"""From snapshots to statuses: which service is to have which address."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.model import IPFamily, ServiceStatus, Snapshot
from controller.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What follows from a snapshot. Empty when nothing does."""

    statuses: tuple[ServiceStatus, ...] = ()
    """To be written in this order: an address is taken from one service before another has it."""
    events: tuple[Event, ...] = ()
    """To be told, in order."""


class Reconciler:
    """Holds what every service has, and says what follows from each snapshot."""

    def __init__(self, load_balancer_class: str | None = None, default_family: IPFamily | None = IPFamily.IPV4) -> None:
        self._class = load_balancer_class
        self._default_family = default_family

    def reconcile(self, snapshot: Snapshot) -> Outcome:
        """What is to be written and told now that the cluster wants this."""
        return Outcome()
