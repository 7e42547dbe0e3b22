"""The commands that ask a running agent: what they print, and what they exit with."""

from __future__ import annotations

import base64
import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.gossip.cli.helpers import (
    FIRST_KEY,
    SECOND_KEY,
    ask,
    key_file,
    key_text,
    read_until,
    ring,
    start,
    target,
    wait_for,
)
from tests.interop.peers import fresh_address
from tests.interop.programs import PORT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.peers import Peers
    from tests.interop.programs import OurAgent


pytestmark = pytest.mark.slow  # each starts processes, and all of them together take half a minute


async def a_pair(peers: Peers, *options: str) -> tuple[OurAgent, OurAgent]:
    ann = await peers.ours("ann", *options)
    bea = await peers.ours("bea", *options, "--join", target(ann))
    await ann.notice("joined", "bea")
    await bea.notice("joined", "ann")
    return ann, bea


async def test_members(peers: Peers) -> None:
    ann, bea = await a_pair(peers)
    done = await ask(ann, "members")
    assert (done.code, done.err) == (0, "")
    assert done.json == [
        {
            "name": agent.name,
            "address": agent.address,
            "port": PORT,
            "state": "alive",
            "incarnation": 1,
            "tags": {},
            "meta": "",
        }
        for agent in (ann, bea)
    ]
    shown = await ring("members", "--api", ann.api)
    assert [line.split() for line in shown.out.splitlines()] == [
        [agent.name, target(agent), "alive", "1"] for agent in (ann, bea)
    ]


async def test_info(peers: Peers) -> None:
    ann = await peers.ours("ann", "--label", "flock")
    info = (await ask(ann, "info")).json
    assert (info["schema"], info["name"], info["address"], info["port"]) == (1, "ann", ann.address, PORT)
    assert (info["profile"], info["label"], info["encrypted"], info["api"]) == ("local", "flock", False, ann.api)
    assert info["statistics"]["members_alive"] == 1
    shown = (await ring("info", "--api", ann.api)).out.splitlines()
    assert "label: flock" in shown
    assert "members alive: 1" in shown


async def test_join_tells_who_answered_and_who_did_not(peers: Peers) -> None:
    ann, bea = await peers.ours("ann"), await peers.ours("bea")
    nobody = f"{fresh_address()}:{PORT}"
    done = await ask(bea, "join", ann.address, nobody, "no-such-host.invalid")
    assert done.code == 0
    assert done.json["joined"] == [target(ann)]
    refused = {entry["target"]: entry["reason"] for entry in done.json["refused"]}
    assert refused[nobody] == "Connection refused"
    assert "cannot resolve" in refused["no-such-host.invalid"]
    await ann.notice("joined", "bea")


async def test_a_join_that_fails_leaves_the_ring_as_it_was(peers: Peers) -> None:
    ann, _ = await a_pair(peers)
    done = await ask(ann, "join", "nonsense.invalid")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: could not join: nonsense.invalid: cannot resolve 'nonsense.invalid'")
    assert (await ask(ann, "ping", "bea")).code == 0
    assert [row["state"] for row in (await ask(ann, "members")).json] == ["alive", "alive"]


async def test_leave_ends_the_agent_once_the_others_know(peers: Peers) -> None:
    ann, bea = await a_pair(peers)
    done = await ask(bea, "leave")
    assert (done.code, done.json) == (0, {"schema": 1, "left": "bea"})
    await ann.notice("left", "bea")
    assert await bea.wait() == 0
    assert {row["name"]: row["state"] for row in (await ask(ann, "members")).json}["bea"] == "left"
    gone = await ask(bea, "members")
    assert (gone.code, gone.out) == (3, "")
    assert gone.err == (
        f"Error: no agent answers at {bea.api} (No such file or directory): "
        "start one with `ring agent`, or say which with --api\n"
    )


async def test_force_leave_forgets_the_gone_and_nobody_else(peers: Peers) -> None:
    ann, bea = await a_pair(peers)
    alive = await ask(ann, "force-leave", "bea")
    assert (alive.code, alive.err) == (1, "Error: 'bea' is alive: only who is dead or left is forgotten\n")
    bea.signal(signal.SIGINT)
    await ann.notice("left", "bea")
    assert (await ask(ann, "force-leave", "bea")).json == {"schema": 1, "forgotten": "bea"}
    assert [row["name"] for row in (await ask(ann, "members")).json] == ["ann"]
    unknown = await ask(ann, "force-leave", "bea")
    assert (unknown.code, unknown.err) == (1, "Error: no member is called 'bea'\n")


async def test_ping(peers: Peers) -> None:
    ann, bea = await a_pair(peers)
    done = await ask(ann, "ping", "bea")
    assert (done.code, done.json["member"]) == (0, "bea")
    assert 0 < done.json["rtt"] < 1
    assert (await ring("ping", target(bea), "--api", ann.api)).out.startswith(f"{target(bea)}: ")
    nobody = await ask(ann, "ping", f"{fresh_address()}:{PORT}")
    assert nobody.code == 1
    assert nobody.json["rtt"] is None
    assert "no answer to a ping within 0.2 s" in nobody.json["reason"]
    unknown = await ask(ann, "ping", "cleo")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err == "Error: 'cleo' is neither a member's name nor ADDRESS[:PORT]\n"


@pytest.mark.parametrize("options", [(), ("--reliable",)], ids=["datagram", "stream"])
@pytest.mark.parametrize("by_name", [True, False], ids=["name", "address"])
async def test_send(peers: Peers, options: tuple[str, ...], by_name: bool) -> None:
    ann, bea = await a_pair(peers)
    done = await ask(ann, "send", "bea" if by_name else target(bea), "hello", *options)
    assert (done.code, done.json["sent"]) == (0, 5)
    evidence = (await bea.notice("message"))["evidence"]
    assert (evidence["payload"], evidence["reliable"]) == (b"hello".hex(), bool(options))


async def test_send_to_everybody_and_in_hex(peers: Peers) -> None:
    ann, bea = await a_pair(peers)
    assert (await ask(ann, "send", "--broadcast", "--hex", "00:ff")).json["sent"] == 2
    assert (await bea.notice("message"))["evidence"]["payload"] == "00ff"
    too_long = await ask(ann, "send", "--broadcast", "x" * 1400)
    assert (too_long.code, too_long.out) == (1, "")
    assert "does not fit into a packet" in too_long.err


async def test_a_reliable_message_that_cannot_be_handed_over(peers: Peers) -> None:
    ann = await peers.ours("ann")
    done = await ask(ann, "send", f"{fresh_address()}:{PORT}", "hello", "--reliable")
    assert (done.code, done.out) == (3, "")
    assert "Connection refused" in done.err


async def test_events_are_fired_among_agents_with_serfs_habits_and_there_only(peers: Peers) -> None:
    ann, bea = await a_pair(peers, "--compat", "serf")
    assert (await ask(ann, "event", "deploy", "v7")).json == {"schema": 1, "fired": "deploy", "ltime": 1}
    for agent in (ann, bea):
        assert (await agent.notice("user-event"))["evidence"] == {
            "name": "deploy",
            "ltime": 1,
            "length": 2,
            "payload": b"v7".hex(),
        }
    assert (await ask(bea, "event", "deploy")).json["ltime"] == 2
    cleo = await peers.ours("cleo")
    refused = await ask(cleo, "event", "deploy")
    assert refused.code == 1
    assert "only an agent started with --compat serf fires events" in refused.err


async def test_events_are_followed_until_the_agent_ends(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with start("events", "--api", ann.api) as process:
        bea = None
        while bea is None or b"joined" not in (said := await read_until(process, lambda got: b"\n" in got)):
            bea = bea or await peers.ours("bea", "--join", target(ann))
        joined = json.loads(said.splitlines()[0])
        assert (joined["schema"], joined["event"], joined["member"]) == (1, "joined", "bea")
        ann.signal(signal.SIGINT)
        assert b'"left", "member": "ann"' in await read_until(process, lambda got: b'"ann"' in got)
        assert await wait_for(process) == 0


async def test_a_key_is_changed_on_every_agent_in_turn(peers: Peers, tmp_path: Path) -> None:
    ann, bea = await a_pair(peers, "--key-file", key_file(tmp_path, FIRST_KEY))
    old, new = key_text(FIRST_KEY), key_text(SECOND_KEY)
    assert (await ask(ann, "keys list")).json == {"schema": 1, "keys": [old], "primary": old}

    early = await ask(ann, "keys use", new)
    assert (early.code, early.err) == (1, "Error: the key is not in the keyring; add it first\n")
    for action in ("install", "use", "remove"):
        for agent in (ann, bea):
            assert (await ask(agent, f"keys {action}", old if action == "remove" else new)).code == 0
            assert (await ask(ann, "ping", "bea")).code == 0
            assert (await ask(bea, "ping", "ann")).code == 0
    assert (await ask(ann, "keys list")).json == {"schema": 1, "keys": [new], "primary": new}
    last = await ask(ann, "keys remove", new)
    assert last.code == 1
    assert "make another one the primary first" in last.err

    cleo = await peers.ours("cleo", "--key-file", key_file(tmp_path, FIRST_KEY))
    assert (await ask(cleo, "join", target(ann))).code == 3


async def test_a_key_is_read_from_the_standard_input(peers: Peers, tmp_path: Path) -> None:
    ann = await peers.ours("ann", "--key-file", key_file(tmp_path, FIRST_KEY))
    done = await ring("keys", "install", "-", "--api", ann.api, stdin=f"{key_text(SECOND_KEY)}\n".encode())
    assert (done.code, done.out) == (0, "keys: 2\n")
    shown = await ring("keys", "list", "--api", ann.api)
    assert shown.out == f"{key_text(FIRST_KEY)}\n{key_text(SECOND_KEY)}\n"


async def test_an_agent_without_keys_takes_none(peers: Peers) -> None:
    """It would begin to encrypt at once, and nobody would understand it."""
    ann = await peers.ours("ann")
    done = await ask(ann, "keys install", key_text(FIRST_KEY))
    assert (done.code, done.err) == (1, "Error: this agent does not encrypt; start it with --key-file\n")
    assert (await ask(ann, "keys list")).json == {"schema": 1, "keys": [], "primary": None}


async def test_keygen_makes_a_new_key_each_time() -> None:
    keys = [(await ring("keygen")).out.strip(), (await ring("keygen", "--json")).json["key"]]
    assert [len(base64.b64decode(key, validate=True)) for key in keys] == [32, 32]
    assert keys[0] != keys[1]
