"""A network namespace for a test: nameless, so that it is gone with the thread that made it, however the test ends."""

from __future__ import annotations

import ctypes
import functools
import inspect
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from speaker.fast.netlink import follow_interfaces
from speaker.l2.interfaces import Interface
from tests.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLONE_NEWNET = 0x40000000
DEADLINE = 30.0
"""Seconds for a test; none is meant to come near it."""


def in_namespace(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on trio in a namespace of its own, with the loopback up. Needs root."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        async def body() -> None:
            with trio.fail_after(DEADLINE):
                await test(*args, **kwargs)

        def enter(done: Future[None]) -> None:
            try:
                _leave_network()
                _have_no_addresses_come_by_themselves()
                ip("link set lo up")
                trio.run(body)
            except BaseException as exc:  # it belongs to the test's thread
                done.set_exception(exc)
            else:
                done.set_result(None)

        done: Future[None] = Future()
        thread = threading.Thread(target=enter, args=(done,))
        thread.start()
        thread.join()
        done.result()

    assert not inspect.iscoroutinefunction(run)
    pytest.mark.needs("netns")(run)
    return run


def _leave_network() -> None:
    """Give the calling thread a network namespace of its own; os.unshare is there from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no namespace")


def _have_no_addresses_come_by_themselves() -> None:
    """New interfaces get no link-local address, which would be one more change at some time after they are up."""
    setting = Path("/proc/sys/net/ipv6/conf/default/addr_gen_mode")
    if setting.exists():
        setting.write_text("1")


async def carriers(*names: str) -> None:
    """Wait until these interfaces have a carrier: what is sent a moment before is lost."""

    def look(interfaces: tuple[Interface, ...]) -> None:
        if {interface.name for interface in interfaces if interface.has_carrier}.issuperset(names):
            scope.cancel()

    with trio.CancelScope() as scope:
        await follow_interfaces(look)


def ip(*lines: str) -> None:
    """Run commands of ip(8), in the namespace of the calling thread."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


def mac_of(name: str) -> bytes:
    """An interface's hardware address."""
    shown = subprocess.run(["ip", "-brief", "link", "show", name], text=True, check=True, capture_output=True)
    return bytes.fromhex(shown.stdout.split()[2].replace(":", ""))


def run_python(program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program of ours in the namespace of the calling thread, behind a command that changes its rights."""
    command = [*prefix, sys.executable, "-c", program, *arguments]
    return subprocess.run(command, text=True, check=False, capture_output=True, timeout=DEADLINE, cwd=ROOT)


def start_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    """The same, going on by itself until its standard input ends."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)


def only(*capabilities: str) -> tuple[str, ...]:
    """What starts a command with no other privileges than these."""
    return ("setpriv", f"--bounding-set={','.join(['-all', *(f'+{name}' for name in capabilities)])}")
