"""The slow process as a child: it is heard, told, replaced when it dies, and never waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from speaker.fast import child as child_module
from speaker.fast.child import Child, Outbox
from speaker.link import Hello, LogRecord, Report, SourceHealth, SourceState, Unframer, Wanted
from telemetry.levels import Level
from tests.speaker.fast.children import (
    WITHIN,
    Told,
    address_of,
    is_running,
    rename_into,
    running,
    scripted,
    services,
    settings_in,
)
from tests.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from speaker.link import Message

pytestmark = pytest.mark.slow


def a_record(number: int = 0) -> LogRecord:
    return LogRecord(at=float(number), level=Level.INFO, event="counted", fields={"number": number})


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_what_is_wanted_arrives_and_changes(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    manifests = tmp_path / "manifests"
    rename_into(manifests, "services.yaml", services(1, 2))
    async with running(Child(settings.to_text())) as told:
        await told.until(lambda told: set(told.groups) == {address_of(1), address_of(2)})
        assert isinstance(told.messages[0], Hello)
        rename_into(manifests, "services.yaml", services(2, 3))
        await told.until(lambda told: set(told.groups) == {address_of(2), address_of(3)})
    assert [message.is_reset for message in told.of(Wanted) if isinstance(message, Wanted)] == [True, False]


async def test_one_that_is_killed_is_replaced_and_tells_everything_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path)
    rename_into(tmp_path / "manifests", "services.yaml", services(1, 2))
    child = Child(settings.to_text())
    async with running(child) as told:
        first = await told.next(SourceState)
        assert child.pid is not None
        rename_into(tmp_path / "manifests", "services.yaml", services(2))
        os.kill(child.pid, signal.SIGKILL)
        assert await told.next(SourceState, 2) == SourceState(
            health=SourceHealth.STALE,
            reasons=("the slow process was ended by SIGKILL; started again in 0.1 s",),
            as_of=first.as_of,  # type: ignore[union-attr]  # it is a SourceState
        )
        assert set(told.groups) == {address_of(1), address_of(2)}
        await told.until(lambda told: set(told.groups) == {address_of(2)})
        assert [type(message) for message in told.messages[-3:]] in (
            [Hello, Wanted, SourceState],
            [SourceState, Hello, Wanted],
        )
        await child.say_bye(WITHIN)
    ended = [line for line in lines_of(capfd.readouterr().out) if line["event"] == "slowProcessEnded"]
    assert [(line["level"], "SIGKILL" in line["error"]) for line in ended] == [("error", True)]


async def test_signals_for_the_speaker_are_not_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    child = Child(settings_in(tmp_path).to_text())
    async with running(child) as told:
        with trio.fail_after(WITHIN):
            while child.pid is None:
                await trio.lowlevel.checkpoint()
        pid = child.pid
        os.kill(pid, signal.SIGTERM)  # before its first instruction
        os.kill(pid, signal.SIGINT)
        assert await told.next(Hello) == Hello(pid=pid)
        os.kill(pid, signal.SIGTERM)  # in the middle of its life
        os.kill(pid, signal.SIGINT)
        child.send(a_record(7))
        await child.say_bye(WITHIN)
        assert not is_running(pid)
    assert [line["number"] for line in lines_of(capfd.readouterr().out) if line["event"] == "counted"] == [7]


async def test_a_goodbye_lets_it_write_everything_and_ends_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = Child(settings_in(tmp_path).to_text())
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run, told.take)
        await told.next(Hello)
        for number in range(1000):
            child.send(a_record(number))
        await child.say_bye(WITHIN)
        # The nursery ends only when `run` does.
    lines = lines_of(capfd.readouterr().out)
    assert [line["number"] for line in lines if line["event"] == "counted"] == list(range(1000))
    assert child.pid is None


async def test_one_that_was_started_again_is_waited_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "RESTART_MIN", 0.001)
    wrote = tmp_path / "wrote"
    child = scripted(
        "tell(Hello(pid=os.getpid()))\n"
        "while not link.recv(65536).endswith(encode(Bye())): pass\n"
        f"time.sleep(0.2); open({str(wrote)!r}, 'w').close()"
    )
    async with running(child) as told:
        await told.next(Hello)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await told.next(Hello, 2)
        await child.say_bye(WITHIN)
        assert wrote.exists()
        assert child.pid is None


async def test_one_that_takes_nothing_is_not_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    child = Child(settings_in(tmp_path).to_text())
    async with running(child) as told:
        await told.next(Hello)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        for number in range(100_000):
            child.send(a_record(number))
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        os.kill(child.pid, signal.SIGCONT)
        await child.say_bye(WITHIN)
    lines = lines_of(capfd.readouterr().out)
    counted = [line["number"] for line in lines if line["event"] == "counted"]
    assert counted[-1] == 99_999
    assert len(counted) + sum(line["count"] for line in lines if line["event"] == "linesLost") == 100_000


async def test_one_that_is_hung_is_replaced_and_said_to_have_been(tmp_path: Path) -> None:
    child = Child(settings_in(tmp_path).to_text(), silent_for=3.0)
    async with running(child) as told:
        await told.next(Hello)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        stale = await told.next(SourceState, len(told.of(SourceState)) + 1)
        while isinstance(stale, SourceState) and stale.health is not SourceHealth.STALE:
            stale = await told.next(SourceState, len(told.of(SourceState)) + 1)
        assert isinstance(stale, SourceState)
        assert "nothing was heard of it for 3 s" in stale.reasons[0]
        await told.next(Hello, 2)


async def test_one_that_takes_no_reports_is_replaced(tmp_path: Path) -> None:
    child = Child(settings_in(tmp_path).to_text())
    report = Report(known=tuple(address_of(number) for number in range(200)))
    async with running(child) as told:
        await told.next(Hello)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        for _ in range(child_module.MAX_UNSENT_REPORTS + 1):
            child.send(report)
        await told.until(
            lambda told: any(
                isinstance(message, SourceState) and "SIGKILL" in "".join(message.reasons) for message in told.messages
            )
        )
        await told.next(Hello, 2)


async def test_nothing_is_left_of_those_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "RESTART_MIN", 0.001)
    monkeypatch.setattr(child_module, "RESTART_MAX", 0.001)
    child = scripted("tell(Hello(pid=os.getpid()))\ntime.sleep(1000)")
    pids = []
    async with running(child) as told:
        await told.next(Hello)
        before = os.listdir("/proc/self/fd")
        for count in range(2, 8):
            assert child.pid is not None
            pids.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)
            await told.next(Hello, count)
        assert len(os.listdir("/proc/self/fd")) <= len(before)
        assert child.pid is not None
        pids.append(child.pid)
    assert len(set(pids)) == 7
    assert [pid for pid in pids if is_running(pid)] == []


# ---- children that misbehave


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("sys.exit(7)", "ended with code 7"),
        ("link.sendall(b'nonsense')", "was ended: a message of 1852796531 bytes; the limit is 8388608"),
        ("link.sendall(bytes([0, 0, 0, 1, 1]))", "was ended: no kind of message that version 1 has"),
        ("tell(Bye())", "was ended: a Bye came from it"),
        ("tell(Hello(pid=1, version=2))", "was ended: it speaks version 2 and this process 1: restart the speaker"),
        ("link.close(); time.sleep(1000)", "was ended by SIGKILL"),
        ("link.shutdown(socket.SHUT_RD); tell(Hello(pid=1)); link.close(); sys.exit(3)", "ended with code 3"),
    ],
)
async def test_how_one_ended_is_said(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    monkeypatch.setattr(child_module, "END_WITHIN", 0.5)
    async with running(scripted(program)) as told:
        state = await told.next(SourceState)
    assert state == SourceState(
        health=SourceHealth.STALE, reasons=(f"the slow process {said}; started again in 0.1 s",)
    )


async def test_one_with_settings_that_make_no_sense_says_so_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    async with running(Child("{}")) as told:
        state = await told.next(SourceState)
    assert isinstance(state, SourceState)
    assert state.reasons == ("the slow process ended with code 1; started again in 0.1 s",)
    said = capfd.readouterr()
    line = lines_of(said.out)[0]
    assert (line["level"], line["event"]) == ("error", "slowProcessFailed")
    assert "the setting 'node' is missing" in line["error"]
    assert said.err == ""


async def test_one_that_cannot_be_started_is_tried_again() -> None:
    async with running(Child("{}", command=("/nonexistent/python",))) as told:
        await told.next(SourceState, 2)
    assert [state.reasons for state in told.of(SourceState) if isinstance(state, SourceState)] == [
        (f"the slow process cannot be started (No such file or directory); started again in {delay} s",)
        for delay in ("0.1", "0.2")
    ]


async def test_it_is_started_less_and_less_often() -> None:
    clock = trio.testing.MockClock(rate=200)
    delays: list[str] = []

    async def take(message: object) -> None:
        assert isinstance(message, SourceState)
        delays.append(message.reasons[0].rpartition(" in ")[2])
        if len(delays) == 10:
            raise KeyboardInterrupt
        await trio.lowlevel.checkpoint()

    async def live() -> None:
        with pytest.raises(KeyboardInterrupt):
            await Child("{}", command=("/nonexistent/python",)).run(take)

    await trio.to_thread.run_sync(lambda: trio.run(live, clock=clock))
    assert delays == ["0.1 s", "0.2 s", "0.4 s", "0.8 s", "1.6 s", "3.2 s", "6.4 s", "10 s", "10 s", "10 s"]


async def test_a_goodbye_between_two_children_is_the_end_at_once() -> None:
    child = Child("{}", command=("/nonexistent/python",))
    told = Told()
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.run, told.take)
            await told.next(SourceState)
            await child.say_bye()


# ---- what waits to be told


def taken(outbox: Outbox) -> list[Message]:
    unframer = Unframer()
    while data := outbox.take(100):
        unframer.feed(data)
    messages = []
    while (message := unframer.next_message()) is not None:
        messages.append(message)
    return messages


def test_of_too_many_records_the_oldest_make_room_and_are_counted() -> None:
    outbox = Outbox()
    for number in range(child_module.MAX_UNSENT_RECORDS + 3):
        outbox.put(a_record(number))
    lost, first, *_, last = taken(outbox)
    assert isinstance(lost, LogRecord)
    assert (lost.event, lost.fields["count"]) == ("linesLost", 3)
    assert (first, last) == (a_record(3), a_record(child_module.MAX_UNSENT_RECORDS + 2))
    assert taken(outbox) == []


def test_reports_are_for_whom_was_told_those_before() -> None:
    outbox = Outbox()
    first, second = Report(known=(address_of(1),)), Report(known=(address_of(2),))
    outbox.put(first)
    outbox.put(a_record(1))
    outbox.is_heard = True
    outbox.put(first)
    outbox.begin()
    outbox.is_heard = True
    outbox.put(second)
    assert taken(outbox) == [second, a_record(1)]


# ---- the end of the fast process

PARENT = """
import os, sys, trio
from speaker.fast.child import Child
from speaker.link import *

async def main():
    child = Child(sys.argv[1])
    async def take(message):
        if isinstance(message, Hello):
            print(message.pid, file=sys.stderr)
    {before}
    await child.run(take)

trio.run(main)
"""


async def start_parent(settings_text: str, before: str = "pass") -> tuple[trio.Process, int]:
    """A fast process that only has a child, and that child's number."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PARENT.format(before=before), settings_text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stderr is not None
    with trio.fail_after(WITHIN):
        said = b""
        while not said.endswith(b"\n"):
            said += await process.stderr.receive_some()
    return process, int(said)


@pytest.mark.parametrize("count", [0, pytest.param(2000, marks=pytest.mark.slow)], ids=["idle", "while it parses"])
async def test_it_is_gone_when_the_fast_process_is_killed(tmp_path: Path, count: int) -> None:
    settings = settings_in(tmp_path)
    rename_into(tmp_path / "manifests", "services.yaml", services(*range(count)))
    process, pid = await start_parent(settings.to_text())
    watched = os.pidfd_open(pid)
    try:
        process.kill()
        with trio.fail_after(WITHIN):
            await trio.lowlevel.wait_readable(watched)
    finally:
        os.close(watched)
        await process.wait()


async def test_a_standard_output_that_nobody_reads_holds_up_nothing_but_lines(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    flood = """
    for number in range(20_000):
        child.send(LogRecord(at=0.0, level=Level.INFO, event="flood", fields={{"text": "x" * 200}}))
    async def take(message):
        if isinstance(message, Hello):
            print(message.pid, file=sys.stderr)
        if isinstance(message, Wanted) and message.change.groups:
            os._exit(5)
    """.format()
    process, _ = await start_parent(settings.to_text(), flood)
    rename_into(tmp_path / "manifests", "services.yaml", services(1))
    with trio.fail_after(WITHIN):
        assert await process.wait() == 5
