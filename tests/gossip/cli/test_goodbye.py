"""An agent inside this process: how it leaves, and what it passes on."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gossip import MemberJoined, MemberLeft, profile
from gossip.control.agent import Agent, AgentSettings, Feed
from gossip.driver import JoinReport, Ring, Subscription, open_ring
from gossip.serf import UserEvent, encode
from tests.interop.peers import fresh_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gossip import Address
    from gossip.control.notices import Notice

WITHIN = 10.0
LOCAL = profile("local")


@asynccontextmanager
async def an_agent(name: str, *, compat: str | None = None, seeds: tuple[str, ...] = ()) -> AsyncIterator[Agent]:
    settings = AgentSettings(
        name=name,
        bind=(fresh_address(), 0),
        config=LOCAL,
        profile="local",
        seeds=seeds,
        compat=compat,
        api="",
        complain=complaints.append,
    )
    async with (
        open_ring(name, settings.bind, LOCAL) as ring,
        ring.subscribe() as events,
        trio.open_nursery() as nursery,
    ):
        agent = Agent(ring, settings, None)
        nursery.start_soon(agent.hear, events)
        yield agent
        nursery.cancel_scope.cancel()


complaints: list[str] = []


def target(ring: Ring) -> str:
    host, port = ring.view.local.address
    return f"{host}:{port}"


async def told(feed: Feed, event: str) -> Notice:
    """The next notice of that event."""
    with trio.fail_after(WITHIN):
        async for notice in feed.notices:
            if notice.event == event:
                return notice
    raise AssertionError(f"no {event}")


async def seen(events: Subscription, kind: type[MemberJoined | MemberLeft]) -> str:
    """Whom the next event of that kind is about."""
    with trio.fail_after(WITHIN):
        async for event in events:
            if isinstance(event, kind):
                return event.member.name
    raise AssertionError(f"no {kind.__name__}")


@pytest.fixture
def under_way(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Is set as soon as a join has begun."""
    begun, join = trio.Event(), Ring.join

    async def join_and_say_so(ring: Ring, targets: Sequence[str], *, as_seeds: bool = False) -> JoinReport:
        begun.set()
        return await join(ring, targets, as_seeds=as_seeds)

    monkeypatch.setattr(Ring, "join", join_and_say_so)
    return begun


async def test_who_is_just_being_joined_hears_the_goodbye(under_way: trio.Event) -> None:
    async with (
        open_ring("ann", (fresh_address(), 0), LOCAL) as ann,
        ann.subscribe() as events,
        an_agent("bea") as bea,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(bea.join, [target(ann)])
        await under_way.wait()
        with trio.fail_after(WITHIN):
            await bea.leave()
        assert await seen(events, MemberJoined) == "bea"
        assert await seen(events, MemberLeft) == "bea"


@pytest.mark.slow
async def test_a_seed_that_says_nothing_does_not_keep_an_agent_from_leaving(under_way: trio.Event) -> None:
    with trio.socket.socket() as silent:
        await silent.bind((fresh_address(), 0))
        silent.listen()
        host, port = silent.getsockname()
        async with an_agent("bea", seeds=(f"{host}:{port}",)) as bea, trio.open_nursery() as nursery:
            nursery.start_soon(bea.find_seeds)
            await under_way.wait()
            with trio.fail_after(WITHIN):
                await bea.leave()
            nursery.cancel_scope.cancel()


async def test_a_goodbye_is_said_once_and_waited_for_by_all() -> None:
    async with (
        open_ring("ann", (fresh_address(), 0), LOCAL) as ann,
        ann.subscribe() as events,
        an_agent("bea", compat="serf") as bea,
        trio.open_nursery() as nursery,
    ):
        await bea.join([target(ann)])
        assert await seen(events, MemberJoined) == "bea"
        with trio.fail_after(WITHIN):
            async with trio.open_nursery() as leaving:
                for _ in range(3):
                    leaving.start_soon(bea.leave)
        assert await seen(events, MemberLeft) == "bea"
        nursery.cancel_scope.cancel()


async def test_when_the_last_other_one_leaves_nobody_is_waited_for() -> None:
    """Both leave at once: neither has anybody left to spread its goodbye to."""
    async with an_agent("ann", compat="serf") as ann, an_agent("bea", compat="serf") as bea:
        await bea.join([target(ann.ring)])
        with trio.fail_after(4):  # less than a goodbye may take to spread
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ann.leave)
                nursery.start_soon(bea.leave)


async def test_a_message_too_long_for_a_packet_is_told_and_not_passed_on() -> None:
    event = encode(UserEvent(1, "deploy", bytes(2000)))
    async with an_agent("ann", compat="serf") as ann:
        feed = ann.add_reader()
        await ann.ring.send("ann", event, reliable=True)
        assert (await told(feed, "user-event")).evidence == {
            "name": "deploy",
            "ltime": 1,
            "length": 2000,
            "payload": "00" * 2000,
        }
        await ann.ring.send("ann", encode(UserEvent(2, "rollback")))
        assert (await told(feed, "user-event")).evidence is not None
        assert ann.ring.statistics().queued_user_messages == 1


async def test_seeds_that_cannot_all_be_joined_are_complained_of_once() -> None:
    complaints.clear()
    async with open_ring("ann", (fresh_address(), 0), LOCAL) as ann:
        gone = f"{fresh_address()}:1"
        async with an_agent("bea", seeds=(target(ann), gone)) as bea:
            with trio.fail_after(WITHIN):
                await bea.find_seeds()
    assert complaints == [f"could not join: {gone}: Connection refused"]


class Names(trio.abc.HostnameResolver):
    """Names that stand for nothing when they are first asked for, and then for this address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._asked: list[str] = []

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  # as the class above calls it
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        await trio.lowlevel.checkpoint()
        assert host is not None
        name = host.decode()
        if name in self._asked:
            return [(socket.AF_INET, type, proto, "", self._address)]
        self._asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "not yet")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_that_stands_for_nobody_yet_is_tried_again_although_another_seed_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints.clear()
    monkeypatch.setattr("gossip.control.agent.SEED_RETRY_MIN", 0.01)
    async with (
        open_ring("ann", (fresh_address(), 0), LOCAL) as ann,
        open_ring("cid", (fresh_address(), 0), LOCAL) as cid,
    ):
        trio.socket.set_custom_hostname_resolver(Names(cid.view.local.address))
        async with an_agent("bea", seeds=(target(ann), "cid.example")) as bea:
            with trio.fail_after(WITHIN):
                await bea.find_seeds()
            assert {member.name for member in bea.ring.view.members()} == {"ann", "bea", "cid"}
    assert complaints == ["could not join: cid.example: cannot resolve 'cid.example': not yet; trying again"]
