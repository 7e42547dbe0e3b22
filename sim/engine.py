"""Rings in virtual time: members on a simulated network, what befalls them, and whether they agree.

A scenario in a few lines::

    engine = Engine(seed=1)
    ring = engine.add_ring(50, profile("lan"))
    engine.run_until(engine.is_converged, within=5)
    engine.crash(ring[7])
    engine.run_until(engine.is_converged, within=60)
    print(engine.now, engine.digest)

A failure is reproduced by the seed and the scenario alone: :mod:`sim.stage` keeps the rules that make it so.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

from gossip import Membership, State
from sim.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gossip import GossipConfig, Keyring
    from sim.node import Node

EventT = TypeVar("EventT")


class Engine(Stage):
    """A stage with memberships on it.

    The verbs of faults are those of ``scenario.md``; all act at once. To have one happen later, give it to
    :meth:`at`: ``engine.at(600, engine.network.repair)``.
    """

    # ---- members

    def add_member(
        self,
        name: str,
        config: GossipConfig,
        *,
        join: Sequence[str] = (),
        as_seeds: bool = False,
        keyring: Keyring | None = None,
        after: float = 0.0,
    ) -> Node:
        """A node that runs a :class:`gossip.Membership`; whenever it starts, it joins the nodes named in ``join``.

        Raises :class:`ValueError` for a name there is already, :class:`KeyError` for one to join that there is not.
        """
        targets = [self.nodes[other].address for other in join]

        def boot(node: Node, rng: Random, now: float) -> Membership:
            nonces = Random(rng.getrandbits(64))
            member = Membership(name, node.address, config, rng=rng, nonce=nonces.randbytes, keyring=keyring)
            member.start(now)
            if targets:
                member.join(targets, now, as_seeds=as_seeds)
            return member

        return self.add_node(name, boot, after=after)

    def add_ring(self, count: int, config: GossipConfig, *, prefix: str = "node", every: float = 0.0) -> list[str]:
        """``count`` members, started ``every`` seconds apart, that join the first of them. Gives back their names."""
        names = [f"{prefix}-{number}" for number in range(count)]
        for number, name in enumerate(names):
            self.add_member(name, config, join=names[: min(number, 1)], after=number * every)
        return names

    def member(self, name: str) -> Membership:
        """The membership of that node, to be asked; :meth:`tell` is for telling it something.

        Raises :class:`ValueError` when none runs there.
        """
        core = self.nodes[name].core
        if not isinstance(core, Membership):
            raise ValueError(f"no membership runs on {name!r} at {self.now}")
        return core

    def tell(self, name: str, call: Callable[[Membership, float], object]) -> None:
        """Make a user's call, ``Membership.leave`` for one, to a running member.

        Raises :class:`ValueError` when none runs there, or its process is paused.
        """
        member, node = self.member(name), self.nodes[name]
        if node.paused:
            raise ValueError(f"{name!r} is paused at {self.now}")
        self.give(node, call, member, self.now)

    # ---- faults

    def crash(self, name: str) -> None:
        """The host goes down: no process, and no kernel that would say so."""
        self.nodes[name].host_is_up = False
        self._end_process(self.nodes[name], "crash")

    def kill(self, name: str) -> None:
        """The process ends without a word. Its host lives, breaks its connections and refuses new ones."""
        self._streams.reset(self.nodes[name])
        self._end_process(self.nodes[name], "kill")

    def restart(self, name: str) -> None:
        """A new process boots, on a host that comes up if it was down, after the old process was killed if it ran."""
        node = self.nodes[name]
        if node.core is not None:
            self.kill(name)
        node.host_is_up = True
        self._boot(node)

    def pause(self, name: str) -> None:
        """The process stops; its kernel goes on taking packets and connections for it."""
        self.nodes[name].paused = True
        self.note("pause", self.nodes[name], "")

    def resume(self, name: str) -> None:
        """The process goes on. It hears all that waited, then its timers fire."""
        node = self.nodes[name]
        self.note("resume", node, "")
        node.paused = False
        waiting = list(node.inbox)
        node.inbox.clear()
        for act, arguments in waiting:
            self.give(node, act, *arguments)
        if node.core is not None:
            self._drain(node, node.core)

    # ---- what came of it

    def running(self) -> list[str]:
        """The names of the nodes whose process runs and is not paused."""
        return [name for name, node in self.nodes.items() if node.core is not None and not node.paused]

    def is_converged(self) -> bool:
        """Whether every running member holds all running ones alive, and nobody else live."""
        expected = [(name, State.ALIVE) for name in sorted(self.running())]
        return all(
            [(member.name, member.state) for member in self.member(name).live_members()] == expected
            for name, _ in expected
        )

    def run_until(self, holds: Callable[[], bool], *, within: float, every: float = 0.05) -> float:
        """Run until ``holds()``, looked at ``every`` so many seconds; gives back how long that took.

        Raises :class:`TimeoutError`, with what reproduces it, when it does not hold ``within`` seconds.
        """
        started, looks = self.now, 0
        while not holds():
            looks += 1
            if self.now - started >= within:
                raise TimeoutError(f"seed {self.seed}: {holds.__name__} does not hold {within} s after {started}")
            self.run(min(started + looks * every, started + within))
        return self.now - started

    def events(self, kind: type[EventT], *, since: float = 0.0) -> Iterator[tuple[float, str, EventT]]:
        """The events of one type in order: when, whose, what."""
        for at, node, event in self.told:
            if at >= since and isinstance(event, kind):
                yield at, node, event
