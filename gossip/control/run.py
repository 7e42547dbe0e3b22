"""An agent's life: sockets, tasks, signals, standard output."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from gossip.control.agent import Agent
from gossip.control.notices import render_json, render_line
from gossip.control.requests import EXIT_NO
from gossip.control.server import listen_at, serve
from gossip.driver import open_ring
from gossip.errors import LocalError
from gossip.keyring import Keyring

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from gossip.control.agent import AgentSettings, Feed
    from gossip.driver import Ring


async def run_agent(settings: AgentSettings, output: int) -> int:
    """Run an agent until it is told to leave, and give back the exit code. Notices go to the descriptor ``output``.

    Raises :class:`LocalError` when it cannot start: the port is in use, another agent has the socket.
    """
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        _control_socket(settings) as control,
    ):
        async with (
            open_ring(
                settings.name,
                settings.bind,
                settings.config,
                advertise=settings.advertise,
                keyring=Keyring(settings.keys),
                meta=settings.meta,
            ) as ring,
            ring.subscribe() as events,
        ):
            _check_listed(ring, settings.name)
            async with trio.open_nursery() as nursery:
                agent = Agent(ring, settings, None if control is None else settings.api)
                feed = agent.add_reader()
                agent.introduce()
                nursery.start_soon(_print_notices, agent, feed, output)
                nursery.start_soon(agent.run, events)
                if control is not None:
                    nursery.start_soon(serve, agent, control)
                await _wait_for_end(agent, signals)
                if agent.ended.is_set():
                    await agent.let_readers_finish()
                nursery.cancel_scope.cancel()
    return 0 if agent.ended.is_set() else EXIT_NO


def _check_listed(ring: Ring, name: str) -> None:
    """An allow-list that leaves ourselves out keeps us off every list, our own included: that is nobody's wish."""
    if ring.view.member(name) is None:
        host = ring.view.local.address[0]
        raise LocalError(f"the allowed networks leave out our own address {host}; allow a network that it is in")


async def _wait_for_end(agent: Agent, signals: AsyncIterator[int]) -> None:
    """Until the agent has said goodbye, because a signal or a client wanted it, or until a second signal."""
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            await anext(signals)
            nursery.start_soon(agent.leave_and_end)
            await anext(signals)
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        await agent.ended.wait()
        nursery.cancel_scope.cancel()


async def _print_notices(agent: Agent, feed: Feed, output: int) -> None:
    """Write notices to a file descriptor, a line each, in a thread: it may block for as long as it likes."""
    render = render_json if agent.settings.as_json else render_line
    is_read = True
    async for notice in feed.notices:
        lines = [render(notice)]
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                lines.append(render(feed.notices.receive_nowait()))
        if is_read:
            data = "".join(lines).encode()
            is_read = await trio.to_thread.run_sync(_write_all, output, data, abandon_on_cancel=True)
    agent.drop_reader(feed)


def _write_all(output: int, data: bytes) -> bool:
    """Whether there is still somebody who reads it."""
    try:
        while data:
            data = data[os.write(output, data) :]
    except OSError:
        return False
    return True


@contextmanager
def _control_socket(settings: AgentSettings) -> Iterator[socket.socket | None]:
    """The control socket, or ``None`` where there can be none and there need not be one."""
    with ExitStack() as stack:
        control = None
        try:
            control = stack.enter_context(listen_at(settings.api))
        except LocalError as reason:
            if settings.api_required:
                raise
            settings.complain(f"running without a control socket: {reason}")
        yield control
