"""The slow process from inside: what it tells of what a source gives, and what it does with what it is told."""

from __future__ import annotations

import json
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio

from cluster.errors import Place, Problem
from cluster.model import (
    Configuration,
    ObjectName,
    Pool,
    Service,
    ServiceType,
    Snapshot,
)
from cluster.source import SourceReading
from speaker.link import Bye, Hello, LogRecord, Message, Report, SourceHealth, SourceState, Unframer, Wanted, encode
from speaker.slow.keeper import Keeper
from speaker.slow.process import MAX_REASONS, Follower, obey, run, state_of
from telemetry.levels import Level
from telemetry.logs import Log
from tests.speaker.fast.children import WITHIN, address_of, rename_into, services, settings_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from cluster.model import ServiceStatus

POOL = Pool(name="pool", networks=(IPv4Network("10.64.0.0/16"),))
WRONG = Problem(Place("services.yaml", 3, 1), "no kind 'Servce'", "write Service")


def a_snapshot(*numbers: int) -> Snapshot:
    made = tuple(
        Service(name=ObjectName("default", f"s{n}"), type=ServiceType.LOAD_BALANCER, ingress=(address_of(n),))
        for n in numbers
    )
    return Snapshot(config=Configuration(pools=(POOL,)), services=made)


def reading(*numbers: int, problems: tuple[Problem, ...] = ()) -> SourceReading:
    return SourceReading(snapshot=a_snapshot(*numbers), problems=problems)


@dataclass
class Script:
    """A source that gives what it is handed."""

    send: trio.MemorySendChannel[SourceReading]
    receive: trio.MemoryReceiveChannel[SourceReading]

    async def snapshots(self) -> AsyncGenerator[SourceReading]:
        async for given in self.receive:
            yield given

    async def report(self, *statuses: ServiceStatus) -> tuple[Problem, ...]:
        raise NotImplementedError


@dataclass
class FastSide:
    """The other end of the link."""

    stream: trio.SocketStream
    lines: list[str] = field(default_factory=list)
    give: trio.MemorySendChannel[SourceReading] | None = None
    _unframer: Unframer = field(default_factory=Unframer)

    async def next(self) -> Message:
        with trio.fail_after(WITHIN):
            while (message := self._unframer.next_message()) is None:
                data = await self.stream.receive_some()
                assert data
                self._unframer.feed(bytes(data))
        return message

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines]


def to_list(lines: list[str]) -> Log:
    def send(line: str) -> bool:
        lines.append(line)
        return True

    return Log(send, lambda: 0.0)


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[FastSide]:
    """A follower of a scripted source, which has said Hello."""
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    settings = settings_in(folder)
    send, receive = trio.open_memory_channel[SourceReading](10)
    fast = FastSide(ours, give=send)
    log = to_list(fast.lines)
    async with ours, theirs, trio.open_nursery() as nursery:
        source = Script(send, receive)
        nursery.start_soon(Follower(settings, source, theirs, log, Keeper(settings, log)).run)
        assert await fast.next() == Hello(pid=os.getpid())
        yield fast
        nursery.cancel_scope.cancel()


def keys(message: Message) -> set[object]:
    assert isinstance(message, Wanted)
    return {group.key for group in message.change.groups}


async def test_everything_is_told_first_and_then_what_changed(tmp_path: Path) -> None:
    async with following(tmp_path) as fast:
        assert fast.give is not None
        await fast.give.send(reading(1, 2))
        first = await fast.next()
        assert isinstance(first, Wanted)
        assert (keys(first), first.is_reset, first.change.is_complete) == ({address_of(1), address_of(2)}, True, True)
        state = await fast.next()
        assert isinstance(state, SourceState)
        assert (state.health, state.reasons) == (SourceHealth.CURRENT, ())
        await fast.give.send(reading(2, 3))
        second = await fast.next()
        assert isinstance(second, Wanted)
        assert (keys(second), second.change.gone, second.is_reset) == ({address_of(3)}, (address_of(1),), False)


async def test_a_source_of_nothing_is_told_too_so_that_what_was_kept_goes(tmp_path: Path) -> None:
    async with following(tmp_path) as fast:
        assert fast.give is not None
        await fast.give.send(reading())
        told = await fast.next()
    assert isinstance(told, Wanted)
    assert (keys(told), told.is_reset, told.change.is_complete) == (set(), True, True)


async def test_many_are_told_in_parts(tmp_path: Path) -> None:
    async with following(tmp_path) as fast:
        assert fast.give is not None
        await fast.give.send(reading(*range(450)))
        parts = [await fast.next() for _ in range(3)]
    assert [len(keys(part)) for part in parts] == [200, 200, 50]
    assert [isinstance(part, Wanted) and part.is_reset for part in parts] == [True, False, False]
    assert [isinstance(part, Wanted) and part.change.is_complete for part in parts] == [False, False, True]


async def test_what_is_wrong_is_told_and_logged_once_and_takes_nothing_away(tmp_path: Path) -> None:
    async with following(tmp_path) as fast:
        assert fast.give is not None
        good = reading(1)
        await fast.give.send(good)
        await fast.next()
        current = await fast.next()
        assert isinstance(current, SourceState)
        states = []
        for problems in ((WRONG,), (WRONG,), ()):
            await fast.give.send(SourceReading(snapshot=good.snapshot, problems=problems))
            state = await fast.next()
            assert isinstance(state, SourceState)
            states.append(state)
    stale, again, mended = states
    assert (stale.health, stale.reasons) == (
        SourceHealth.STALE,
        ("services.yaml:3:1: no kind 'Servce'; write Service",),
    )
    assert stale.as_of is not None
    assert current.as_of is not None
    assert current.as_of <= stale.as_of
    assert again == stale
    assert mended.health is SourceHealth.CURRENT
    assert fast.events() == ["configLoaded", "configStale", "configLoaded"]
    assert "services.yaml:3:1" in fast.lines[1]


async def test_warnings_keep_nothing_back_and_are_logged_once_and_when_they_are_over(tmp_path: Path) -> None:
    spoilt = [Problem(Place(f"status/default.s{n}.yaml", 1, 1), "is no status", "remove it") for n in (1, 2)]
    async with following(tmp_path) as fast:
        assert fast.give is not None
        states = []
        for warnings in (spoilt[:1], spoilt, spoilt[1:], []):
            await fast.give.send(SourceReading(snapshot=a_snapshot(1), warnings=tuple(warnings)))
            while not isinstance(state := await fast.next(), SourceState):
                pass
            states.append(state)
    first, second = (f"status/default.s{n}.yaml:1:1: is no status; remove it" for n in (1, 2))
    assert [state.warnings for state in states] == [(first,), (first, second), (second,), ()]
    assert {state.health for state in states} == {SourceHealth.CURRENT}
    said = [(line["event"], line.get("error")) for line in map(json.loads, fast.lines)]
    assert said == [
        ("configLoaded", None),
        ("sourceWarning", first),
        ("sourceWarning", second),
        ("sourceWarningOver", first),
        ("sourceWarningOver", second),
    ]


async def test_what_the_link_cannot_take_is_told_to_be_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(tmp_path) as fast:
        assert fast.give is not None
        await fast.give.send(reading(1))
        await fast.next()
        await fast.next()
        monkeypatch.setattr("speaker.link.MAX_MESSAGE_BYTES", 1000)
        for numbers in (range(100), range(1, 3)):
            await fast.give.send(reading(*numbers))
        stale, told, current = [await fast.next() for _ in range(3)]
    assert isinstance(stale, SourceState)
    assert stale.health is SourceHealth.STALE
    assert "on too many nodes: a message of" in stale.reasons[0]
    assert keys(told) == {address_of(2)}
    assert isinstance(current, SourceState)
    assert current.health is SourceHealth.CURRENT


def test_before_anything_was_read_it_is_loading() -> None:
    assert state_of(SourceReading(snapshot=None), None, 5.0) == SourceState(health=SourceHealth.LOADING)


def test_what_was_never_good_was_never_true() -> None:
    assert state_of(SourceReading(snapshot=None, problems=(WRONG,)), None, 5.0).as_of is None


def test_of_many_problems_some_are_told() -> None:
    state = state_of(SourceReading(snapshot=None, problems=(WRONG,) * (MAX_REASONS + 5)), None, 5.0)
    assert len(state.reasons) == MAX_REASONS + 1
    assert state.reasons[-1] == "and 5 more problems"


def test_of_many_warnings_some_are_told() -> None:
    state = state_of(SourceReading(snapshot=a_snapshot(1), warnings=(WRONG,) * (MAX_REASONS + 5)), None, 5.0)
    assert len(state.warnings) == MAX_REASONS + 1
    assert state.warnings[-1] == "and 5 more warnings"


# ---- what it is told


async def obeyed(folder: Path, data: bytes, lines: list[str]) -> bool:
    """What obeying these bytes comes to; the log's lines go into the list."""
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    log = to_list(lines)
    async with ours, theirs:
        await ours.send_all(data)
        await ours.send_eof()
        with trio.fail_after(WITHIN):
            return await obey(theirs, log, Keeper(settings_in(folder), log))


RECORD = LogRecord(at=1.5, level=Level.WARN, event="ownerChanged", fields={"ip": "10.64.0.1", "pools": ("a", "b")})


async def test_records_become_lines(tmp_path: Path) -> None:
    lines: list[str] = []
    assert not await obeyed(tmp_path, encode(RECORD), lines)
    assert [json.loads(line) for line in lines] == [
        {
            "ts": "1970-01-01T00:00:01.500Z",
            "level": "warn",
            "event": "ownerChanged",
            "ip": "10.64.0.1",
            "pools": ["a", "b"],
        }
    ]


@pytest.mark.parametrize(
    ("data", "is_orderly"),
    [
        (encode(Bye()) + encode(RECORD), True),
        (b"", False),
        (b"nonsense", False),
        (encode(Hello(pid=1)), False),
    ],
    ids=["goodbye", "the end", "nonsense", "what is not for it"],
)
async def test_it_ends(tmp_path: Path, data: bytes, is_orderly: bool) -> None:
    lines: list[str] = []
    assert await obeyed(tmp_path, data, lines) is is_orderly
    assert lines == []


# ---- all of it


class Ended(Exception):
    """In place of the end of the process."""


def end() -> NoReturn:
    raise Ended


async def test_it_serves_until_the_link_ends(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    rename_into(tmp_path / "manifests", "services.yaml", services(1))
    ours, theirs = socket.socketpair()
    output, into = os.pipe()

    async def serve() -> None:
        with pytest.raises(ExceptionGroup) as raised:
            await run(settings, theirs, into, end)
        assert raised.group_contains(Ended)

    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        fast = FastSide(stream)
        await stream.send_all(encode(RECORD))
        assert isinstance(await fast.next(), Hello)
        assert keys(await fast.next()) == {address_of(1)}
        assert isinstance(await fast.next(), SourceState)
        await stream.send_all(encode(Report(known=(address_of(1),))) + encode(Bye()))
    os.close(into)
    async with await trio.open_file(output, "rb") as lines:
        events = [json.loads(line)["event"] async for line in lines]
    assert sorted(events) == ["configLoaded", "ownerChanged"]
    assert (tmp_path / "state" / "demand").exists()
