"""The driver: one member on real sockets, and what of it is left when it is gone."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.lowlevel

from gossip import (
    Event,
    Keyring,
    LocalError,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    Membership,
    MemberUpdated,
    PingCompleted,
    RemoteError,
    State,
    UserMessageReceived,
    UserStateReceived,
    profile,
)
from gossip.codec import encode
from gossip.driver import Subscription, open_ring, pump, resolve, sockets, streams, subscription
from gossip.driver.pump import Pump
from gossip.messages import Dead
from tests.interop.peers import fresh_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from gossip import Address
    from gossip.driver import Ring

EventT = TypeVar("EventT")

WITHIN = 10.0
KEY = bytes(range(32))
LOCAL = profile("local")
families = pytest.mark.parametrize("host", ["", pytest.param("::1", marks=pytest.mark.needs("ipv6"))], ids=["v4", "v6"])


@asynccontextmanager
async def member(
    name: str, host: str = "", *, port: int = 0, key: bytes = b"", meta: bytes | None = None
) -> AsyncIterator[Ring]:
    """A member at a free port of ``host``, by default a loopback address of its own."""
    keyring = Keyring([key] if key else [])
    async with open_ring(name, (host or fresh_address(), port), LOCAL, keyring=keyring, meta=meta) as opened:
        yield opened


def target(opened: Ring) -> str:
    """What others join."""
    host, port = opened.view.local.address
    return f"[{host}]:{port}"


async def first(events: Subscription, kind: type[EventT]) -> EventT:
    """The next event of that kind."""
    with trio.fail_after(WITHIN):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("a subscription does not end")


def states(opened: Ring) -> dict[str, State]:
    return {known.name: known.state for known in opened.view.members()}


async def nobody() -> Address:
    """An address where nobody listens."""
    async with member("nobody") as gone:
        return gone.view.local.address


# ---- datagrams and streams, both families


@families
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
async def test_members_meet_talk_and_part(host: str, key: bytes) -> None:
    async with (
        member("ann", host, key=key) as ann,
        member("bea", host, key=key, meta=b"\x01") as bea,
        ann.subscribe() as heard_by_ann,
        bea.subscribe() as heard_by_bea,
    ):
        ann.attach(user_state=b"state", ack_payload=b"pong")
        report = await bea.join([target(ann)])
        assert (report.joined, report.refused) == ((ann.view.local.address,), ())
        joined = await first(heard_by_ann, MemberJoined)
        assert joined.member == replace(bea.view.local, changed_at=joined.member.changed_at)
        assert await first(heard_by_bea, UserStateReceived) == UserStateReceived(b"state", join=True)

        assert 0 < await bea.ping("ann") < WITHIN
        assert (await first(heard_by_bea, PingCompleted)).payload == b"pong"

        await ann.send("bea", b"by datagram")
        await ann.send(bea.view.local.address, b"by stream", reliable=True)
        received = [await first(heard_by_bea, UserMessageReceived) for _ in range(2)]
        assert {(message.payload, message.reliable) for message in received} == {
            (b"by datagram", False),
            (b"by stream", True),
        }
        with trio.fail_after(WITHIN):
            await ann.spread(b"to everybody")
        assert (await first(heard_by_bea, UserMessageReceived)).payload == b"to everybody"

        bea.set_meta(b"\x02")
        assert (await first(heard_by_ann, MemberUpdated)).member.meta == b"\x02"

        with trio.fail_after(WITHIN):
            await bea.leave()
        assert (await first(heard_by_ann, MemberLeft)).member.name == "bea"
        assert states(ann) == {"ann": State.ALIVE, "bea": State.LEFT}
        ann.forget("bea")
        assert states(ann) == {"ann": State.ALIVE}


@pytest.mark.needs("ipv6")
async def test_a_member_on_both_families_talks_to_one_that_has_only_ipv4() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as free:
        free.bind(("::", 0))
        port = free.getsockname()[1]
    async with (
        member("ann", "127.0.0.1") as ann,
        open_ring("bea", ("::", port), LOCAL, advertise=("127.0.0.1", port)) as bea,
    ):
        await bea.join([target(ann)])
        assert states(ann) == states(bea) == {"ann": State.ALIVE, "bea": State.ALIVE}
        assert await bea.ping("ann") > 0
        assert await ann.ping("bea") > 0


@pytest.mark.rule("11.2d")
async def test_a_host_is_joined_by_name() -> None:
    async with member("ann", "127.0.0.1") as ann, member("bea") as bea:
        report = await bea.join([f"localhost:{ann.view.local.address[1]}"])
        assert report.joined == (ann.view.local.address,)
        assert states(bea) == {"ann": State.ALIVE, "bea": State.ALIVE}


@pytest.mark.rule("11.2b", "11.2d")
async def test_without_a_port_a_target_has_ours() -> None:
    addresses, failed = await resolve(["127.0.0.1", "::1", "127.0.0.1", "web/[::1]:9"], 7777)
    assert addresses == [("127.0.0.1", 7777), ("::1", 7777), ("::1", 9)]
    assert failed == []


@pytest.mark.rule("11.2e")
async def test_who_could_not_be_joined_is_told_with_the_reason() -> None:
    host, port = await nobody()
    async with member("ann") as ann, member("bea") as bea:
        report = await bea.join([target(ann), f"{host}:{port}", "no-such-host.invalid"])
        assert report.joined == (ann.view.local.address,)
        assert dict(report.refused)[f"{host}:{port}"] == "Connection refused"
        assert dict(report.refused)["no-such-host.invalid"].startswith("cannot resolve 'no-such-host.invalid': ")
        with pytest.raises(RemoteError, match=f"could not join: {host}:{port}: Connection refused"):
            await bea.join([f"{host}:{port}"])
        with pytest.raises(LocalError, match="port 'x' is not a number"):
            await bea.join(["127.0.0.1:x"])
        assert await bea.ping("ann") > 0


async def test_a_reliable_message_that_nobody_takes_is_an_error() -> None:
    address = await nobody()
    async with member("ann") as ann:
        with pytest.raises(RemoteError, match="could not be sent: Connection refused"):
            await ann.send(address, b"x", reliable=True)
        with pytest.raises(LocalError, match="no member is called 'bea'"):
            await ann.send("bea", b"x")


@pytest.mark.upstream("TestMemberlist_FailedRemote")
async def test_what_the_network_here_refuses_to_send_is_not_the_end() -> None:
    async with member("ann") as ann:
        with pytest.raises(RemoteError, match="no answer to a ping"):
            await ann.ping(("255.255.255.255", 7946))  # no datagram goes there without a socket option
        assert await ann.ping("ann") > 0


async def test_the_counts_are_those_of_what_went_over_the_sockets() -> None:
    async with member("ann") as ann, member("bea") as bea:
        await bea.join([target(ann)])
        before = ann.statistics()
        for _ in range(5):
            await bea.ping("ann")
        after = ann.statistics()
        assert after.datagrams_received - before.datagrams_received >= 5
        assert after.datagrams_sent - before.datagrams_sent >= 5
        assert after.bytes_received > before.bytes_received
        assert (after.members_alive, after.datagram_problems, after.stream_problems) == (2, 0, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\xff junk", ann.view.local.address)
        await bea.ping("ann")
        assert ann.statistics().datagram_problems == 1


async def test_a_network_that_changed_is_looked_at_at_once() -> None:
    """A dead member on a long back-off is pinged when the carrier comes back."""
    async with member("ann") as ann, ann.subscribe() as events:
        async with member("bea") as bea:
            await ann.join([target(bea)])
            await first(events, MemberJoined)
            host, port = bea.view.local.address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as accuser:
            accuser.sendto(encode(Dead(1, "bea", "cleo")), ann.view.local.address)
        assert (await first(events, MemberFailed)).member.name == "bea"
        async with member("bea", host, port=port):
            ann.network_changed()
            assert (await first(events, MemberJoined)).member.name == "bea"


# ---- the pump


class Core:
    """What the pump drives: it writes down what it is given, and is due until its timer has fired."""

    def __init__(self, due_at: float) -> None:
        self.calls: list[str] = []
        self.due_at = due_at
        self.fired = trio.Event()

    def start(self, now: float) -> int:
        return 0

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        self.calls.append(data.decode())

    def handle_timer(self, now: float) -> None:
        self.calls.append("timer")
        self.due_at = float("inf")
        self.fired.set()

    def next_timer(self) -> float:
        return self.due_at

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        return []

    def stream_commands(self) -> list[object]:
        return []

    def next_event(self) -> Event | None:
        return None


async def test_all_waiting_datagrams_are_read_before_a_timer_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they are more than one turn's worth."""
    monkeypatch.setattr(pump, "MAX_DATAGRAMS_PER_TURN", 4)
    datagrams, listener = sockets.bind((fresh_address(), 0))
    said = [str(number) for number in range(10)]
    with datagrams, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        async with trio.SocketListener(listener) as tcp, trio.open_nursery() as nursery:
            core = Core(due_at=trio.current_time() - 1)
            for text in said:
                sender.sendto(text.encode(), datagrams.getsockname())
            Pump(core, datagrams, tcp, nursery).start()  # type: ignore[arg-type]  # it is all of a core that is used here
            with trio.fail_after(WITHIN):
                await core.fired.wait()
            nursery.cancel_scope.cancel()
    assert core.calls == [*said, "timer"]


async def test_a_flood_that_never_ends_does_not_keep_timers_from_firing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MAX_DATAGRAMS_PER_TURN", 4)
    datagrams, listener = sockets.bind((fresh_address(), 0))
    with datagrams, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        class Flooded(Core):
            def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
                sender.sendto(data, datagrams.getsockname())

        async with trio.SocketListener(listener) as tcp, trio.open_nursery() as nursery:
            core = Flooded(due_at=trio.current_time() - 1)
            for _ in range(10):
                sender.sendto(b"again", datagrams.getsockname())
            Pump(core, datagrams, tcp, nursery).start()  # type: ignore[arg-type]  # it is all of a core that is used here
            with trio.fail_after(WITHIN):
                await core.fired.wait()
            nursery.cancel_scope.cancel()


async def test_a_timer_that_moved_forward_is_kept(autojump_clock: MockClock) -> None:
    """The member sleeps for its next probe when the ping, whose deadline is sooner, is asked for."""
    async with member("ann") as ann:
        await trio.lowlevel.checkpoint()
        started_at = trio.current_time()
        with pytest.raises(RemoteError, match=r"no answer to a ping within 0\.2 s"):
            await ann.ping((fresh_address(), 7946))
        assert trio.current_time() - started_at == pytest.approx(LOCAL.probe.timeout)


async def test_a_member_at_rest_wakes_only_for_its_timers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired_at: list[float] = []
    handle_timer = Membership.handle_timer

    def count(core: Membership, now: float) -> None:
        fired_at.append(now)
        handle_timer(core, now)

    monkeypatch.setattr(Membership, "handle_timer", count)
    async with member("ann"):
        await trio.sleep(60)
    probes, push_pulls = 60 / LOCAL.probe.interval, 60 / LOCAL.push_pull.interval
    assert probes - 2 <= len(fired_at) <= probes + push_pulls + 5
    assert len(set(fired_at)) == len(fired_at)


# ---- readers


def test_a_reader_that_is_slow_loses_the_oldest_events_and_is_told_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "MAX_UNREAD_EVENTS", 3)

    async def main() -> list[bytes]:
        reader = Subscription()
        for number in range(5):
            reader.put(UserMessageReceived(bytes((number,)), ("127.0.0.1", 1), reliable=False))
        assert reader.lost == 2
        read = [await anext(reader) for _ in range(3)]
        return [event.payload for event in read if isinstance(event, UserMessageReceived)]

    assert trio.run(main) == [b"\x02", b"\x03", b"\x04"]


async def test_readers_are_independent_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events would be kept for one that is gone, and the oldest of more than one counted as lost."""
    monkeypatch.setattr(subscription, "MAX_UNREAD_EVENTS", 1)
    async with member("ann") as ann, ann.subscribe() as early:
        async with ann.subscribe() as late:
            await ann.send("ann", b"1")
            assert (await first(late, UserMessageReceived)).payload == b"1"
            assert (await first(early, UserMessageReceived)).payload == b"1"
        for payload in (b"2", b"3", b"4"):
            await ann.send("ann", payload)
            assert (await first(early, UserMessageReceived)).payload == payload
        assert late.lost == 0


# ---- the beginning and the end


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.upstream("TestMemberList_CreateShutdown", "TestTransport_TcpListenBackoff")
async def test_leaving_the_context_leaves_no_task_and_no_socket() -> None:
    before, tasks = open_files(), trio.lowlevel.current_statistics().tasks_living
    async with member("ann") as ann:
        address = ann.view.local.address
        async with member("bea") as bea:
            await bea.join([target(ann)])
            with socket.create_connection(address) as silent:
                silent.setblocking(False)
                await ann.ping("bea")
                assert open_files() > before + 4
        with trio.CancelScope() as scope:
            async with member("cleo") as cleo, trio.open_nursery() as nursery:
                nursery.start_soon(cleo.join, [target(ann)])
                await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
    assert open_files() == before
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    async with member("dora", address[0], port=address[1]):
        pass


async def test_a_connection_ends_with_the_member() -> None:
    async with member("ann") as ann:
        stream = await trio.open_tcp_stream(*ann.view.local.address)
        await ann.ping("ann")
    async with stream:
        with trio.fail_after(WITHIN), suppress(trio.BrokenResourceError):  # an end or a reset: it is over
            assert await stream.receive_some() == b""


async def test_what_the_user_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with member("ann"):
            _ = 1 / 0


async def test_a_port_in_use_is_told_with_the_cure_and_nothing_stays_open() -> None:
    async with member("ann") as ann:
        before = open_files()
        with pytest.raises(LocalError, match=r"cannot listen on .*: the port is in use; stop what holds it") as caught:
            async with open_ring("bea", ann.view.local.address, LOCAL):
                pass
        assert isinstance(caught.value.__cause__, OSError)
        assert open_files() == before
        assert await ann.ping("ann") > 0


async def test_a_port_whose_half_is_in_use_is_in_use() -> None:
    host = fresh_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((host, 0))
        with pytest.raises(LocalError, match="the port is in use"):
            async with open_ring("ann", other.getsockname(), LOCAL):
                pass


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        (("192.0.2.1", 0), "the address is not this machine's; bind one of its own addresses"),
        (("localhost", 0), "'localhost' is not an IPv4 or IPv6 address"),
    ],
)
async def test_an_address_that_cannot_be_bound(bind: Address, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        async with open_ring("ann", bind, LOCAL):
            pass


@pytest.mark.parametrize(("name", "meta"), [("", None), ("a" * 256, None), ("ann", bytes(513))])
async def test_what_no_member_can_have_is_refused_and_nothing_stays_open(name: str, meta: bytes | None) -> None:
    before = open_files()
    with pytest.raises(LocalError):
        async with open_ring(name, (fresh_address(), 0), LOCAL, meta=meta):
            pass
    assert open_files() == before


@pytest.mark.rule("11.1c")
async def test_a_free_port_is_free_for_datagrams_and_streams_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that the system gives for streams may be taken for datagrams; then another is tried."""
    host = fresh_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((host, 0))
        taken = other.getsockname()[1]
        bind, tries = socket.socket.bind, [taken]

        def rigged(sock: socket.socket, address: Address) -> None:
            bind(sock, (host, tries.pop()) if address[1] == 0 and tries else address)

        monkeypatch.setattr(socket.socket, "bind", rigged)
        async with open_ring("ann", (host, 0), LOCAL) as ann:
            assert tries == []
            assert ann.view.local.address[1] not in {0, taken}


@pytest.mark.rule("11.1d", "11.1e")
@pytest.mark.upstream("TestAdvertiseAddr")
async def test_row_20_a_wildcard_advertises_what_a_route_leads_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "WILDCARDS", {bytes(4): (("127.0.0.1", socket.AF_INET),)})
    async with member("ann", "0.0.0.0") as ann:
        assert ann.view.local.address[0] == "127.0.0.1"
    monkeypatch.setattr(sockets, "WILDCARDS", {bytes(4): ()})
    with pytest.raises(LocalError, match="say which to advertise"):
        async with member("ann", "0.0.0.0"):
            pass
    async with open_ring("ann", ("0.0.0.0", 0), LOCAL, advertise=("192.0.2.7", 7000)) as ann:
        assert ann.view.local.address == ("192.0.2.7", 7000)


# ---- peers on streams that do not behave


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_CONNECTIONS", 2)
    async with member("ann") as ann:
        async with trio.open_nursery() as nursery:
            opened = [await trio.open_tcp_stream(*ann.view.local.address) for _ in range(3)]
            with trio.fail_after(WITHIN):
                assert await opened[2].receive_some() == b""
            for stream in opened:
                nursery.start_soon(stream.aclose)
        assert await ann.ping("ann") > 0


@pytest.mark.slow
async def test_a_peer_that_says_nothing_is_hung_up_on() -> None:
    async with member("ann") as ann, await trio.open_tcp_stream(*ann.view.local.address) as silent:
        with trio.fail_after(WITHIN):
            assert await silent.receive_some() == b""
        assert ann.statistics().streams_open == 0


async def test_a_peer_that_resets_is_forgotten() -> None:
    async with member("ann") as ann:
        rude = socket.create_connection(ann.view.local.address)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await ann.ping("ann")
        rude.close()
        with trio.fail_after(WITHIN):
            while ann.statistics().streams_open:
                await ann.ping("ann")


@pytest.mark.rule("11.1j")
@pytest.mark.upstream("TestTransport_TcpListenBackoff")
async def test_accepting_goes_on_when_the_system_refuses_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENOTCONN, "not connected")]
    accept = trio.SocketListener.accept

    async def rigged(listener: trio.SocketListener) -> trio.SocketStream:
        refusal = refusals.pop() if refusals else None
        await trio.lowlevel.checkpoint()
        if refusal is not None:
            raise refusal
        return await accept(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", rigged)
    async with member("ann") as ann, member("bea") as bea:
        await bea.join([target(ann)])
        assert refusals == []
        assert states(ann) == states(bea) == {"ann": State.ALIVE, "bea": State.ALIVE}
