"""What a fault's verb does to a lab.

Rules kept here:

* One table: a verb and its action. Which keys each needs is said where scenario files are read.
* An action is done when its effect has begun: a cable is out, a signal is sent. It does not wait for what follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from sim.lab.nodes import Lab
from sim.lab.scenario import VERBS, Fault

Action: TypeAlias = Callable[[Lab, Fault, Sequence[str], Sequence[str]], Awaitable[None]]
"""Takes the lab, the fault, and the names of the nodes and of the other side that its references mean now."""


async def _cut(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        await lab.lan.cut(name)


async def _mend(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        await lab.lan.mend(name)


async def _kill(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        lab.nodes[name].speaker.kill()


async def _stop(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        lab.nodes[name].speaker.ask_to_stop()


async def _restart(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        await lab.restart(name)


async def _pause(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        lab.nodes[name].speaker.pause()


async def _resume(lab: Lab, fault: Fault, nodes: Sequence[str], others: Sequence[str]) -> None:
    for name in nodes:
        lab.nodes[name].speaker.resume()


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


ACTIONS: Final[Mapping[str, Action]] = {
    "cut": _cut,
    "mend": _mend,
    "kill": _kill,
    "stop": _stop,
    "restart": _restart,
    "pause": _pause,
    "resume": _resume,
    "partition": _partition,
    "partition-oneway": _partition_oneway,
    "repair": _repair,
    "loss": _loss,
}
assert ACTIONS.keys() == VERBS.keys()
