"""An agent that is more: its own requests beside the ring's on one control socket, asked with the ring's own client."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

import gossip.control
from gossip import LocalError, profile
from gossip.cli import Refused, Respondent, Unavailable, ask
from gossip.control import (
    REQUESTS,
    RING_DESK,
    Agent,
    AgentSettings,
    Desk,
    Replies,
    Request,
    listen_at,
    serve,
)
from gossip.control.requests import ListMembers
from gossip.driver import open_ring
from tests.gossip.cli.helpers import connect, ring
from tests.interop.peers import fresh_address
from tests.interop.programs import PROJECT, WITHIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Greet(Request):
    whom: str
    politely: bool


@dataclass(frozen=True, slots=True)
class Sing(Request):
    """Nobody here does."""


async def greet(agent: Agent, request: Greet, replies: Replies) -> dict[str, Any]:
    if not request.politely:
        raise LocalError("only politely")
    await replies.item(f"dear {request.whom}")
    return {"from": agent.settings.name}


REQUESTS_HERE = {**REQUESTS, "greet": Greet, "sing": Sing}
BUTLER = Respondent(requests=REQUESTS_HERE, called="butler", started_by="ring the bell")


@asynccontextmanager
async def a_butler(folder: Path) -> AsyncIterator[str]:
    """The control socket of an agent that greets."""
    api = str(folder / "butler.sock")
    settings = AgentSettings(
        name="ann", bind=(fresh_address(), 0), config=profile("local"), profile="local", api=api, complain=print
    )
    async with (
        open_ring("ann", settings.bind, settings.config) as member,
        member.subscribe() as events,
        trio.open_nursery() as nursery,
    ):
        agent = Agent(member, settings, api)
        with listen_at(api) as control:
            nursery.start_soon(agent.run, events)
            nursery.start_soon(serve, agent, control, RING_DESK | Desk({"greet": Greet}, {Greet: greet}))
            yield api
            nursery.cancel_scope.cancel()


async def test_its_own_requests_are_answered(tmp_path: Path) -> None:
    with trio.fail_after(WITHIN):
        async with a_butler(tmp_path) as api:
            answer = await trio.to_thread.run_sync(ask, api, Greet("bea", politely=True), BUTLER)
            assert answer == (["dear bea"], {"from": "ann"})
            with pytest.raises(Refused, match="only politely"):
                await trio.to_thread.run_sync(ask, api, Greet("bea", politely=False), BUTLER)


async def test_the_rings_are_answered_as_by_any_agent(tmp_path: Path) -> None:
    with trio.fail_after(WITHIN):
        async with a_butler(tmp_path) as api:
            done = await ring("members", "--api", api, "--json")
            assert [row["name"] for row in done.json] == ["ann"]
            items, result = await trio.to_thread.run_sync(ask, api, ListMembers(), BUTLER)
            assert [row["name"] for row in items[0]] == ["ann"]
            assert result == {"count": 1}


async def test_what_it_has_no_answer_to_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with trio.fail_after(WITHIN):
        async with a_butler(tmp_path) as api, connect(api) as client:
            reply = await client.ask("sing")
    assert reply["code"] == 2
    assert "no request 'sing'; there are members, info" in reply["error"]
    assert reply["error"].endswith("greet")


async def test_one_that_is_not_there_is_called_by_its_name(tmp_path: Path) -> None:
    api = str(tmp_path / "nobody.sock")
    with pytest.raises(Unavailable, match=f"no butler answers at {api} .*: start one with `ring the bell`"):
        ask(api, Sing(), BUTLER)


@pytest.mark.parametrize("name", gossip.control.__all__)
def test_everything_that_the_front_door_names_is_there(name: str) -> None:
    assert getattr(gossip.control, name) is not None


def test_the_front_door_says_what_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match=r"module 'gossip\.control' has no attribute 'butler'"):
        getattr(gossip.control, "butler")  # noqa: B009  # mypy knows that it is not there


def test_who_only_asks_does_not_load_what_runs_a_ring() -> None:
    program = "import gossip.cli, sys; assert not {'trio', 'gossip.driver', 'gossip.control.server'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, timeout=60)
