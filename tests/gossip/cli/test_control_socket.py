"""The control socket: whose it is, and that no client can do the ring harm."""

from __future__ import annotations

import signal
import socket
import stat
from typing import TYPE_CHECKING

import pytest
import trio

from gossip.control.agent import MAX_UNREAD_NOTICES
from gossip.control.requests import MAX_LINE
from gossip.control.server import MAX_CLIENTS
from tests.gossip.cli.helpers import ask, connect, read_until, ring, start, wait_for
from tests.interop.peers import fresh_address
from tests.interop.programs import PORT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.peers import Peers


async def test_it_is_its_users_alone_and_goes_with_the_agent(peers: Peers) -> None:
    ann = await peers.ours("ann")
    mode = (await trio.Path(ann.api).stat()).st_mode
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
    ann.signal(signal.SIGINT)
    assert await ann.wait() == 0
    assert not await trio.Path(ann.api).exists()


@pytest.mark.slow
async def test_a_dead_agents_is_replaced(peers: Peers) -> None:
    ann = await peers.ours("ann")
    await ann.kill()
    assert await trio.Path(ann.api).is_socket()
    again = await peers.ours("ann")
    assert again.api == ann.api
    assert (await ask(again, "info")).json["address"] == again.address


@pytest.mark.slow
async def test_a_live_agents_is_not(peers: Peers) -> None:
    ann = await peers.ours("ann")
    done = await ring("agent", "--name", "bea", "--bind", f"{fresh_address()}:{PORT}", "--api", ann.api)
    assert (done.code, done.out) == (3, "")
    assert f"another agent answers at {ann.api}" in done.err
    assert (await ask(ann, "info")).json["name"] == "ann"


async def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = trio.Path(tmp_path) / "notes"
    await path.write_text("keep")
    done = await ring("agent", "--name", "bea", "--bind", f"{fresh_address()}:{PORT}", "--api", str(path))
    assert (done.code, done.out) == (3, "")
    assert f"{path} is there and is no socket" in done.err
    assert await path.read_text() == "keep"


async def test_there_is_no_folder_for_it(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "ring.sock")
    done = await ring("agent", "--name", "bea", "--bind", f"{fresh_address()}:{PORT}", "--api", path)
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"Error: no control socket at {path}: No such file or directory; choose another path with --api\n"
    )


async def test_one_that_another_agent_has_taken_since_stays(tmp_path: Path) -> None:
    path = trio.Path(tmp_path) / "ring.sock"
    async with start("agent", "--name", "ann", "--bind", f"{fresh_address()}:{PORT}", "--api", str(path)) as process:
        await read_until(process, lambda said: said.count(b"\n") == 2)
        await path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            process.send_signal(signal.SIGINT)
            assert await wait_for(process) == 0
            assert await path.is_socket()


@pytest.mark.slow
async def test_by_default_it_is_in_the_users_runtime_folder_and_not_needed(tmp_path: Path) -> None:
    """Two agents on one machine need not say which of them has the socket."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "STARLING_API": ""}
    api = tmp_path / "starling" / "ring.sock"
    async with (
        start("agent", "--name", "ann", "--bind", f"{fresh_address()}:{PORT}", env=env) as ann,
        start("agent", "--name", "bea", "--bind", f"{fresh_address()}:{PORT}", env=env) as bea,
    ):
        for process in (ann, bea):
            await read_until(process, lambda said: said.count(b"\n") == 2)
        done = await ring("info", "--json", env=env)
        assert done.json["name"] in {"ann", "bea"}
        assert done.json["api"] == str(api)
        assert stat.S_IMODE((await trio.Path(api.parent).stat()).st_mode) == 0o700
        for process in (ann, bea):
            process.send_signal(signal.SIGINT)
            assert await wait_for(process) == 0


async def test_the_environment_names_it(peers: Peers) -> None:
    ann = await peers.ours("ann")
    assert (await ring("members", "--json", env={"STARLING_API": ann.api})).json[0]["name"] == "ann"


async def test_what_is_no_request_is_told_and_the_connection_goes_on(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with connect(ann.api) as client:
        for line in (b"\n", b"junk\n", b'{"do": "dance"}\n', b'{"do": "join"}\n', b"[" * 50_000 + b"\n"):
            await client.say(line)
            reply = await client.reply()
            assert (reply["schema"], reply["code"]) == (1, 2)
            assert reply["error"]
        assert (await client.ask("info"))["result"]["name"] == "ann"
        assert (await client.ask("change-keys", action="paint", key=""))["code"] == 1


async def test_requests_may_be_sent_ahead_and_in_pieces(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with connect(ann.api) as client:
        await client.say(b'{"do": "ping", "to": "ann"}\n{"do": "i')
        assert (await client.reply())["result"]["member"] == "ann"
        await client.say(b'nfo"}\n')
        assert (await client.reply())["result"]["name"] == "ann"


async def test_a_line_without_end_is_cut_off(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with connect(ann.api) as client:
        await client.say(b"x" * (MAX_LINE + 1))
        assert (await client.reply())["error"] == f"a request of more than {MAX_LINE} bytes"
        assert await client.reply() is None
    assert (await ask(ann, "ping", "ann")).code == 0


@pytest.mark.slow
async def test_there_are_only_so_many_clients_and_places_become_free(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with trio.open_nursery() as nursery:
        hang_up = trio.Event()

        async def follow(task_status: trio.TaskStatus[None]) -> None:
            async with connect(ann.api) as client:
                await client.say(b'{"do": "info"}\n{"do": "events"}\n')
                assert (await client.reply())["result"]["name"] == "ann"
                task_status.started()
                await hang_up.wait()

        for _ in range(MAX_CLIENTS):
            await nursery.start(follow)
        full = await ask(ann, "info")
        assert (full.code, full.err) == (3, f"Error: the agent has {MAX_CLIENTS} clients already\n")
        hang_up.set()
    with trio.fail_after(10):
        while (await ask(ann, "info")).code != 0:
            pass


@pytest.mark.slow
async def test_clients_that_do_not_read_do_not_hold_up_the_ring(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with (
        connect(ann.api) as follower,
        connect(ann.api) as asker,
        connect(ann.api) as client,
        trio.open_nursery() as nursery,
    ):
        await follower.say(b'{"do": "events"}\n')
        nursery.start_soon(asker.say, b'{"do": "info"}\n' * 20_000)
        for _ in range(MAX_UNREAD_NOTICES + 500):
            assert "result" in await client.ask("send", to="ann", payload="ab" * 200, reliable=False)
        assert (await client.ask("ping", to="ann"))["result"]["rtt"] is not None
        nursery.cancel_scope.cancel()


async def test_a_client_that_hangs_up_early_leaves_nothing_behind(peers: Peers) -> None:
    ann = await peers.ours("ann")
    for line in (b"", b'{"do": "members"}\n', b'{"do": "events"}\n', b'{"do": "join", "targets": ["192.0.2.1"]}\n'):
        async with connect(ann.api) as client:
            await client.say(line)
    assert (await ask(ann, "ping", "ann")).code == 0


async def test_leave_is_done_though_the_client_does_not_wait(peers: Peers) -> None:
    ann = await peers.ours("ann")
    async with connect(ann.api) as client:
        await client.say(b'{"do": "leave"}\n')
    assert await ann.wait() == 0
