"""Which of the kernel's privileges this process has, and what to do about one that it lacks.

Source: capabilities(7).
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUS: Final = Path("/proc/thread-self/status")


class Capability(IntEnum):
    """A privilege by its number in the kernel's masks."""

    CAP_NET_ADMIN = 12
    CAP_NET_RAW = 13
    CAP_SYS_NICE = 23


PURPOSES: Final = {
    Capability.CAP_NET_ADMIN: "--local-address puts addresses on the loopback interface",
    Capability.CAP_NET_RAW: "the speaker reads and answers ARP on packet sockets",
    Capability.CAP_SYS_NICE: "real-time scheduling keeps the speaker prompt on a busy node",
}


def effective() -> tuple[Capability, ...]:
    """Those of the capabilities above that the calling thread can use, by number.

    In a user namespace they hold for what that namespace owns: a socket may still be refused.
    """
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    mask = int(fields["CapEff"], 16)
    return tuple(capability for capability in Capability if mask >> capability & 1)


def missing(needed: Iterable[Capability]) -> tuple[str, ...]:
    """One message for each capability that is needed and not there: its name, what it is for and the cure."""
    held = effective()
    return tuple(complaint(capability) for capability in needed if capability not in held)


def complaint(capability: Capability) -> str:
    """What to tell a user about a capability that is missing."""
    name = capability.name
    return (
        f"{name} is missing: {PURPOSES[capability]}. "
        f"In Kubernetes add {name.removeprefix('CAP_')} to securityContext.capabilities.add; "
        f"with systemd set AmbientCapabilities={name}; "
        f"by hand start it as root, or under: setpriv --inh-caps +{name.removeprefix('CAP_').lower()} "
        f"--ambient-caps +{name.removeprefix('CAP_').lower()}"
    )
