"""A supervisor is told, and none that is missing, dead or deaf can disturb."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from speaker.fast import notify


@pytest.fixture(params=["path", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A socket that is named in NOTIFY_SOCKET."""
    path = str(tmp_path / "notify")
    name = path if request.param == "path" else f"@{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def test_what_is_told(supervisor: socket.socket) -> None:
    notify.tell_ready()
    notify.tell_status("3 of 5 members,\n12 addresses")
    notify.tell_alive()
    notify.tell_stopping()
    told = [supervisor.recv(1000) for _ in range(4)]
    assert told == [b"READY=1", b"STATUS=3 of 5 members, 12 addresses", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_status_is_one_short_line(supervisor: socket.socket) -> None:
    notify.tell_status("x" * 10_000 + "\nWATCHDOG=1")
    assert supervisor.recv(20_000) == b"STATUS=" + b"x" * notify.MAX_STATUS


def test_a_supervisor_that_does_not_read_stops_nothing(supervisor: socket.socket) -> None:
    for _ in range(10_000):
        notify.tell_alive()
    assert supervisor.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "name", [None, "", "relative/path", "/nowhere/notify", "@starling-nobody-listens", "vsock:2:1"]
)
def test_without_a_supervisor_nothing_happens(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify.tell_ready()


@pytest.mark.parametrize(
    ("asked", "process", "interval"),
    [
        (None, None, None),
        ("3000000", None, 1.5),
        ("3000000", "this", 1.5),
        ("3000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_how_often_to_be_alive(
    asked: str | None, process: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", asked), ("WATCHDOG_PID", str(os.getpid()) if process == "this" else process)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == interval
