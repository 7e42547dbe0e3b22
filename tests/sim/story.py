"""A story with a bit of everything, to be told the same by every interpreter.

`python -m tests.sim.story` prints its digest. What only tests need is not imported, so that an interpreter with the
packages of a daemon can tell it.
"""

import sys

from gossip import Keyring, Membership, profile
from sim.engine import Engine
from sim.network import Link

COUNT = 10
SECONDS = 200.0


def tell(seed: int = 1) -> Engine:
    """An encrypted ring on a bad network, and what befalls it; gives back the engine at the end."""
    engine = Engine(seed, Link(loss=0.05, jitter=0.02, duplicate=0.05))
    config = profile("lan").with_wire(label=b"story", compression=True)
    names = [f"node-{number}" for number in range(COUNT)]
    for number, name in enumerate(names):
        engine.add_member(
            name, config, join=names[: min(number, 2)], keyring=Keyring([bytes(range(16))]), after=number / 8
        )
    at = engine.at
    at(20.0, engine.tell, names[1], lambda member, now: member.set_meta(b"new", now))
    at(25.0, engine.tell, names[2], lambda member, now: member.broadcast(b"hello, all", now))
    at(30.0, engine.crash, names[3])
    at(60.0, engine.restart, names[3])
    at(70.0, engine.pause, names[4])
    at(74.0, engine.resume, names[4])
    at(80.0, engine.network.partition, names[:5], names[5:])
    at(140.0, engine.network.repair)
    at(150.0, engine.kill, names[6])
    at(160.0, engine.tell, names[7], Membership.leave)
    at(170.0, engine.network.partition_oneway, names[8:9], names[9:])
    engine.run(SECONDS)
    return engine


if __name__ == "__main__":
    sys.stdout.write(tell().digest + "\n")
