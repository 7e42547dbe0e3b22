"""What a fault's verb does to a lab.

Rules kept here:

* Two tables: verbs that are done to one node after the other, and verbs that are done to the LAN. Which keys each needs
  is said where scenario files are read.
* An action is done when its effect has begun: a cable is out, a signal is sent. It does not wait for what follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import trio

from sim.lab.nodes import Lab
from sim.lab.scenario import Fault

NodeAction: TypeAlias = Callable[[Lab, str], Awaitable[None]]
LanAction: TypeAlias = Callable[[Lab, Fault, Sequence[str], Sequence[str]], Awaitable[None]]
"""Takes the names of the nodes, and of those on the other side."""


async def _cut(lab: Lab, node: str) -> None:
    await lab.lan.cut(node)


async def _mend(lab: Lab, node: str) -> None:
    await lab.lan.mend(node)


async def _kill(lab: Lab, node: str) -> None:
    lab.nodes[node].speaker.kill()
    await trio.lowlevel.checkpoint()


async def _stop(lab: Lab, node: str) -> None:
    lab.nodes[node].speaker.ask_to_stop()
    await trio.lowlevel.checkpoint()


async def _restart(lab: Lab, node: str) -> None:
    await lab.restart(node)


async def _pause(lab: Lab, node: str) -> None:
    lab.nodes[node].speaker.pause()
    await trio.lowlevel.checkpoint()


async def _resume(lab: Lab, node: str) -> None:
    lab.nodes[node].speaker.resume()
    await trio.lowlevel.checkpoint()


async def _partition(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    rest = [name for name in lab.lan.hosts if name not in nodes]
    await lab.lan.block(nodes, rest)
    await lab.lan.block(rest, nodes)


async def _partition_oneway(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    await lab.lan.block(nodes, others)


async def _repair(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    await lab.lan.repair()


async def _loss(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes or lab.nodes:
        await lab.lan.lose(name, fault.per_mille)


NODE_ACTIONS: Final[Mapping[str, NodeAction]] = {
    "cut": _cut,
    "mend": _mend,
    "kill": _kill,
    "stop": _stop,
    "restart": _restart,
    "pause": _pause,
    "resume": _resume,
}
LAN_ACTIONS: Final[Mapping[str, LanAction]] = {
    "partition": _partition,
    "partition-oneway": _partition_oneway,
    "repair": _repair,
    "loss": _loss,
}


async def do(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    """Do a fault to the nodes, and those on the other side, that its references mean now."""
    if fault.verb in LAN_ACTIONS:
        await LAN_ACTIONS[fault.verb](lab, fault, nodes, others)
        return
    for node in nodes:
        await NODE_ACTIONS[fault.verb](lab, node)
