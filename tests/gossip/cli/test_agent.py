"""An agent as its operator meets it: what it prints, how it starts and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from gossip import metallb_key
from gossip.codec import encode
from gossip.control.agent import MAX_UNREAD_NOTICES
from gossip.messages import Suspect
from tests.gossip.cli.helpers import (
    FIRST_KEY,
    SECOND_KEY,
    ask,
    connect,
    key_file,
    read_until,
    ring,
    start,
    target,
    wait_for,
)
from tests.interop.peers import fresh_address
from tests.interop.programs import PORT, PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.peers import Peers

pytestmark = pytest.mark.slow  # each starts processes, and all of them together take half a minute

KEYS = {"schema", "at", "event", "member", "address", "port", "evidence"}


# ---- what it prints


async def test_the_first_lines_say_that_it_listens_and_is_a_member(tmp_path: Path) -> None:
    address, api, before = fresh_address(), str(tmp_path / "ring.sock"), time.time()
    async with start("agent", "--name", "ann", "--bind", f"{address}:0", "--api", api) as process:
        said = await read_until(process, lambda received: received.count(b"\n") == 2)
        process.send_signal(signal.SIGINT)
        said += await read_until(process, lambda received: b"\n" in received)
        assert await wait_for(process) == 0
    listening, joined, left = lines = [json.loads(line) for line in said.splitlines()]
    assert all(set(line) == KEYS and line["schema"] == 1 for line in lines)
    assert [line["event"] for line in lines] == ["listening", "joined", "left"]
    assert all((line["member"], line["address"]) == ("ann", address) for line in lines)
    assert len({line["port"] for line in lines}) == 1
    assert before - 0.001 <= listening["at"] <= joined["at"] <= left["at"] <= time.time() + 0.001
    assert listening["evidence"] == {
        "profile": "lan",
        "compat": None,
        "encrypted": False,
        "label": "",
        "api": api,
    }


async def test_members_that_come_change_and_go_are_told(peers: Peers) -> None:
    ann = await peers.ours("ann")
    bea = await peers.ours("bea", "--join", target(ann), "--meta", "c0ffee")
    joined = await ann.notice("joined", "bea")
    assert (joined["address"], joined["port"]) == (bea.address, PORT)
    await bea.notice("joined", "ann")
    bea.signal(signal.SIGTERM)
    await ann.notice("left", "bea")
    assert await bea.wait() == 0


async def test_a_member_that_dies_is_suspected_and_failed_with_the_evidence(peers: Peers) -> None:
    ann = await peers.ours("ann")
    bea = await peers.ours("bea", "--join", target(ann))
    await ann.notice("joined", "bea")
    await bea.kill()
    suspected = await ann.notice("suspected", "bea")
    assert suspected["evidence"]["accuser"] == "ann"
    assert 0 < suspected["evidence"]["expires_in"] <= 3.0
    assert (await ann.notice("failed", "bea"))["evidence"] == {"accuser": "ann"}
    assert {row["name"]: row["state"] for row in (await ask(ann, "members")).json} == {"ann": "alive", "bea": "dead"}


async def test_lines_for_a_person(tmp_path: Path) -> None:
    address, api = fresh_address(), str(tmp_path / "ring.sock")
    async with start("agent", "--name", "ann", "--bind", f"{address}:{PORT}", "--api", api, "--no-json") as process:
        said = await read_until(process, lambda received: received.count(b"\n") == 2)
    listening, joined = said.decode().splitlines()
    assert listening.split()[1:5] == ["listening", "ann", f"{address}:{PORT}", "profile"]
    assert joined.split()[1:] == ["joined", "ann", f"{address}:{PORT}"]


async def test_a_duplicate_name_is_told_with_both_addresses(peers: Peers) -> None:
    ann = await peers.ours("ann")
    first = await peers.ours("bea", "--join", target(ann))
    await ann.notice("joined", "bea")
    address = fresh_address()
    second = ["--name", "bea", "--bind", f"{address}:{PORT}", "--api", f"{first.api}.2", "--join", target(ann)]
    async with start("agent", *second) as process:
        conflict = await ann.notice("conflict", "bea")
        await read_until(process, lambda received: b'"event": "conflict"' in received)
    assert conflict["evidence"] == {
        "held_by": f"{first.address}:{PORT}",
        "claimed_by": f"{address}:{PORT}",
        "hint": "two members have this name: rename one, or stop one",
    }


# ---- its readers


async def test_an_agent_whose_output_nobody_reads_goes_on_and_tells_how_much_was_lost(tmp_path: Path) -> None:
    address, api = fresh_address(), str(tmp_path / "ring.sock")
    async with start("agent", "--name", "ann", "--bind", f"{address}:{PORT}", "--api", api) as process:
        await read_until(process, lambda received: received.count(b"\n") == 2)
        async with connect(api) as client:
            for _ in range(MAX_UNREAD_NOTICES + 500):  # half a kilobyte each: far more than a pipe holds
                assert "result" in await client.ask("send", to="ann", payload="ab" * 200, reliable=False)
            assert (await client.ask("ping", to="ann"))["result"]["rtt"] is not None
            await read_until(process, lambda received: received.count(b"\n") > MAX_UNREAD_NOTICES)
            assert "result" in await client.ask("send", to="ann", payload="", reliable=False)
        said = await read_until(process, lambda received: b'"length": 0' in received)
    lost, message = [json.loads(line) for line in said.splitlines()[-2:]]
    assert (lost["event"], message["event"]) == ("lost", "message")
    assert lost["evidence"]["notices"] > 0


async def test_an_agent_whose_output_is_closed_goes_on(tmp_path: Path) -> None:
    address, api = fresh_address(), str(tmp_path / "ring.sock")
    async with start("agent", "--name", "ann", "--bind", f"{address}:{PORT}", "--api", api) as process:
        await read_until(process, lambda received: received.count(b"\n") == 2)
        assert process.stdout is not None
        await process.stdout.aclose()
        async with connect(api) as client:
            for _ in range(3):
                assert "result" in await client.ask("send", to="ann", payload="00", reliable=False)
                assert (await client.ask("ping", to="ann"))["result"]["rtt"] is not None
        process.send_signal(signal.SIGINT)
        assert await wait_for(process) == 0


# ---- joining


async def test_a_seed_that_is_not_there_yet_is_tried_again(peers: Peers) -> None:
    address = fresh_address()
    bea = await peers.ours("bea", "--join", f"{address}:{PORT}")
    await bea.logged(f"could not join: {address}:{PORT}: Connection refused; trying again")
    await peers.ours("ann", address=address)
    await bea.notice("joined", "ann")


async def test_a_seed_that_cannot_be_resolved_is_told_and_the_agent_runs(peers: Peers) -> None:
    bea = await peers.ours("bea", "--join", "no-such-host.invalid")
    await bea.logged("cannot resolve 'no-such-host.invalid'")
    assert [row["name"] for row in (await ask(bea, "members")).json] == ["bea"]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (FIRST_KEY, SECOND_KEY, "no key decrypts it"),
        (FIRST_KEY, None, "the stream is not encrypted, and encryption is demanded here"),
        (None, FIRST_KEY, "the stream is encrypted, and there is no key here"),
    ],
    ids=["another key", "no key there", "no key here"],
)
async def test_a_wrong_key_is_the_reason_of_the_failed_join_and_a_warning_where_it_was_heard(
    peers: Peers, tmp_path: Path, ours: bytes | None, theirs: bytes | None, reason: str
) -> None:
    ann = await peers.ours("ann", *(["--key-file", key_file(tmp_path, theirs)] if theirs else []))
    bea = await peers.ours("bea", *(["--key-file", key_file(tmp_path, ours)] if ours else []))
    done = await ask(bea, "join", target(ann))
    assert (done.code, done.out) == (3, "")
    assert done.err == f"Error: could not join: {target(ann)}: {reason}\n"
    warning = await ann.notice("warning")
    assert warning["evidence"]["reason"].startswith("cannot be read: ")
    assert warning["evidence"]["streams"] > 0
    assert warning["member"] is None
    assert [row["name"] for row in (await ask(ann, "members")).json] == ["ann"]


async def test_a_wrong_label_is_the_reason_of_the_failed_join_and_a_warning_where_it_was_heard(peers: Peers) -> None:
    ann = await peers.ours("ann", "--label", "flock")
    bea = await peers.ours("bea")
    done = await ask(bea, "join", target(ann))
    assert (done.code, done.out) == (3, "")
    assert "closed the connection without an answer: wrong label or key?" in done.err
    assert "label none where 'flock' is expected" in (await ann.notice("warning"))["evidence"]["reason"]


async def test_packets_that_no_key_decrypts_are_warned_of_once_in_a_while(peers: Peers, tmp_path: Path) -> None:
    ann = await peers.ours("ann", "--key-file", key_file(tmp_path, FIRST_KEY))
    stranger = await peers.ours("stranger", "--key-file", key_file(tmp_path, SECOND_KEY))
    for _ in range(5):
        assert (await ask(stranger, "send", target(ann), "x")).code == 0
    warning = await ann.notice("warning")
    assert warning["evidence"]["reason"] == f"cannot be read: {stranger.address} port {PORT}: no key decrypts it"
    assert [item["event"] for item in ann.notices.items] == ["joined"]


async def test_an_accusation_that_was_refuted_is_told(peers: Peers) -> None:
    ann = await peers.ours("ann")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as accuser:
        accuser.sendto(encode(Suspect(1, "ann", "bea")), (ann.address, PORT))
    refuted = await ann.notice("refuted", "ann")
    assert refuted["evidence"] == {"accusations": 1, "incarnation": 2}


async def test_a_ring_is_given_its_first_key_while_it_runs(peers: Peers, tmp_path: Path) -> None:
    ann = await peers.ours("ann")
    lenient = ["--key-file", key_file(tmp_path, FIRST_KEY), "--no-verify-incoming"]
    bea = await peers.ours("bea", *lenient, "--no-verify-outgoing", "--join", target(ann))
    await ann.notice("joined", "bea")
    cleo = await peers.ours("cleo", *lenient, "--join", target(bea))
    await bea.notice("joined", "cleo")
    dora = await peers.ours("dora", "--key-file", key_file(tmp_path, FIRST_KEY), "--join", target(cleo))
    await cleo.notice("joined", "dora")
    assert (await ask(dora, "ping", "cleo")).code == 0
    assert (await ask(bea, "info")).json["encrypted"] is True
    assert (await ask(ann, "info")).json["encrypted"] is False


async def test_who_is_in_no_allowed_network_is_no_member(peers: Peers) -> None:
    bea = await peers.ours("bea", "--allow", "127.0.0.0/8")
    cleo = await peers.ours("cleo", "--join", target(bea), "--allow", "127.0.0.0/8", "--allow", "::1/128")
    await bea.notice("joined", "cleo")
    assert cleo.process.returncode is None


async def test_a_metallb_ring_is_joined_with_its_raw_secret(peers: Peers, tmp_path: Path) -> None:
    secret = b"c2VjcmV0LW9mLXRoZS1yaW5n\n"[:22]
    (tmp_path / "secretkey").write_bytes(secret)
    (tmp_path / "secretkey").chmod(0o600)
    speaker = await peers.ours("speaker", "--compat", "metallb", "--key-file", str(tmp_path / "secretkey"))
    other = await peers.ours("other", "--key-file", key_file(tmp_path, metallb_key(secret)), "--join", target(speaker))
    await speaker.notice("joined", "other")
    await other.notice("joined", "speaker")
    assert (await ask(speaker, "info")).json["compat"] == "metallb"


async def test_an_agent_with_serfs_habits_announces_its_tags(peers: Peers) -> None:
    ann = await peers.ours("ann", "--compat", "serf", "--tag", "role=web", "--tag", "zone=east")
    bea = await peers.ours("bea", "--compat", "serf", "--join", target(ann))
    await ann.notice("joined", "bea")
    await bea.notice("joined", "ann")
    assert {row["name"]: (row["tags"], row["meta"]) for row in (await ask(bea, "members")).json} == {
        "ann": ({"role": "web", "zone": "east"}, "ff82a4726f6c65a3776562a47a6f6e65a465617374"),
        "bea": ({}, "ff80"),
    }


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_says_goodbye(peers: Peers, number: signal.Signals) -> None:
    ann = await peers.ours("ann")
    bea = await peers.ours("bea", "--join", target(ann))
    await ann.notice("joined", "bea")
    bea.signal(number)
    await ann.notice("left", "bea")
    assert await bea.wait() == 0
    assert not await trio.Path(bea.api).exists()


async def test_a_second_signal_does_not_wait_for_the_goodbye(peers: Peers) -> None:
    ann = await peers.ours("ann")
    bea = await peers.ours("bea", "--join", target(ann), profile="wan")  # its goodbye takes two seconds to spread
    await ann.notice("joined", "bea")
    bea.signal(signal.SIGINT)
    await bea.notice("left", "bea")
    bea.signal(signal.SIGTERM)
    assert await bea.wait() == 1
    assert not await trio.Path(bea.api).exists()


async def test_an_agent_alone_ends_at_once_when_told_to(peers: Peers) -> None:
    ann = await peers.ours("ann", "--compat", "serf")
    ann.signal(signal.SIGINT)
    assert await ann.wait() == 0


# ---- what keeps it from starting


async def test_a_port_in_use(peers: Peers, tmp_path: Path) -> None:
    ann = await peers.ours("ann")
    done = await ring("agent", "--name", "bea", "--bind", target(ann), "--api", str(tmp_path / "b.sock"))
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"Error: cannot listen on {target(ann)}: the port is in use; stop what holds it, or bind another port\n"
    )
    assert list(await trio.Path(tmp_path).iterdir()) == []
    assert (await ask(ann, "ping", "ann")).code == 0


async def test_an_allow_list_that_leaves_ourselves_out(tmp_path: Path) -> None:
    bind = f"{fresh_address()}:{PORT}"
    done = await ring("agent", "--bind", bind, "--allow", "10.0.0.0/8", "--api", str(tmp_path / "b.sock"))
    assert (done.code, done.out) == (3, "")
    assert "leave out our own address" in done.err
    assert "Traceback" not in done.err


async def test_an_agent_whose_standard_output_is_closed_runs_all_the_same(peers: Peers, tmp_path: Path) -> None:
    ann = await peers.ours("ann")
    words = ["--name", "bea", "--bind", f"{fresh_address()}:{PORT}", "--api", str(tmp_path / "b.sock")]
    command = [
        "sh",
        "-c",
        'exec "$@" >&-',
        "sh",
        sys.executable,
        "-m",
        "gossip",
        "agent",
        *words,
        "--join",
        target(ann),
    ]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, check=False, cwd=PROJECT))
        await ann.notice("joined", "bea")
        process.send_signal(signal.SIGTERM)
        await ann.notice("left", "bea")
    assert process.returncode == 0


async def test_an_address_of_another_machine(tmp_path: Path) -> None:
    done = await ring("agent", "--bind", "192.0.2.1:7946", "--api", str(tmp_path / "b.sock"))
    assert (done.code, done.out) == (3, "")
    assert "the address is not this machine's" in done.err


async def test_a_key_file_that_others_may_read_is_warned_of(peers: Peers, tmp_path: Path) -> None:
    path = key_file(tmp_path, FIRST_KEY, mode=0o640)
    ann = await peers.ours("ann", "--key-file", path)
    await ann.logged(f"{path} may be read by others than its owner: chmod 600 {path}")
    bea = await peers.ours("bea", "--key-file", key_file(tmp_path, FIRST_KEY))
    assert bea.log.items == []
