"""A running member, and those who listen to it.

Rules kept here:

* No reader can hold up the ring: each has a bounded queue, and is told how much it lost.
* What to make of an event is for :mod:`gossip.control.reporter` to say; here it is told and spread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from gossip.control.notices import Notice, notice_of_user_event, printable
from gossip.control.reporter import Reporter
from gossip.errors import LocalError, RemoteError
from gossip.serf import SerfSide, UserEvent, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gossip.addresses import Address
    from gossip.config import GossipConfig
    from gossip.control.handlers import Replies
    from gossip.control.reporter import Report
    from gossip.driver import JoinReport, Ring, Subscription

SETTLE_WITHIN: Final = 1.0
"""Seconds that a goodbye waits for a join under way: whoever is told of us just now must hear it too."""
LEAVE_WITHIN: Final = 5.0
"""Seconds that the intent to leave, and then the goodbye, may take to spread."""
FLUSH_WITHIN: Final = 1.0
"""Seconds in which readers may take what was told last."""
SEED_RETRY_MIN: Final = 1.0
SEED_RETRY_MAX: Final = 30.0
CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks at the counts: of accusations refuted, of what could not be read."""
MAX_UNREAD_NOTICES: Final = 1024
"""Notices kept for a reader that is behind; what is lost beyond that is counted, and the count is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is started with, all of it checked."""

    name: str
    bind: Address
    config: GossipConfig
    profile: str
    advertise: Address | None = None
    keys: tuple[bytes, ...] = ()
    meta: bytes | None = None
    seeds: tuple[str, ...] = ()
    compat: str | None = None
    """``serf``, ``metallb`` or ``None``."""
    api: str
    """The path of the control socket."""
    api_required: bool = True
    """Whether the agent must not run without its control socket."""
    as_json: bool = True
    complain: Callable[[str], None]
    """Tells the operator what is no event of the ring. May block."""


class Feed:
    """Notices on their way to one reader."""

    def __init__(self) -> None:
        self._send, self.notices = trio.open_memory_channel[Notice](MAX_UNREAD_NOTICES)
        self._lost = 0

    def put(self, notice: Notice) -> None:
        """Add one if there is room, and the feed is open."""
        try:
            if self._lost:
                self._send.send_nowait(Notice(notice.at, "lost", evidence={"notices": self._lost}))
                self._lost = 0
            self._send.send_nowait(notice)
        except trio.WouldBlock:
            self._lost += 1
        except trio.ClosedResourceError:
            return

    def close(self) -> None:
        """Nothing more will come; what is left can still be read."""
        self._send.close()


class Agent:
    """A running member and those who listen to it. ``ended`` is set when it is to stop."""

    def __init__(self, ring: Ring, settings: AgentSettings, api: str | None) -> None:
        self.ring = ring
        self.settings = settings
        self.api = api
        self.serf = SerfSide(settings.name) if settings.compat == "serf" else None
        self.ended = trio.Event()
        self._reporter = Reporter(settings.name, self.serf)
        self._feeds: list[Feed] = []
        self._all_read = trio.Event()
        self._left: trio.Event | None = None
        self._joins = 0
        self._settled = trio.Event()
        self._patience = trio.CancelScope()
        """What is waited for under it ends when nobody is left to be told."""

    # ---- telling

    def add_reader(self) -> Feed:
        """The notices from now on, until :meth:`drop_reader`."""
        feed = Feed()
        self._feeds.append(feed)
        return feed

    def drop_reader(self, feed: Feed) -> None:
        """A reader has read all, or does not want to."""
        self._feeds.remove(feed)
        if not self._feeds:
            self._all_read.set()

    async def pass_notices(self, replies: Replies) -> None:
        """Give a client the notices from now on, until it hangs up or the agent ends."""
        feed = self.add_reader()
        try:
            async with trio.open_nursery() as nursery:

                async def wait_for_hangup() -> None:
                    await replies.hung_up()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(wait_for_hangup)
                async for notice in feed.notices:
                    await replies.item(notice.as_json())
                nursery.cancel_scope.cancel()
        finally:
            self.drop_reader(feed)

    async def let_readers_finish(self) -> None:
        """Close the feeds, and wait a moment until they have been read."""
        for feed in self._feeds:
            feed.close()
        with trio.move_on_after(FLUSH_WITHIN if self._feeds else 0):
            await self._all_read.wait()

    def tell(self, *notices: Notice) -> None:
        """Give notices to every reader."""
        for notice in notices:
            for feed in self._feeds:
                feed.put(notice)

    def introduce(self) -> None:
        """What is told first: that the agent listens, and who is a member already."""
        at, local = time.time(), self.ring.view.local
        self.tell(Notice(at, "listening", local.name, local.address, self.describe()))
        self.tell(*(Notice(at, "joined", member.name, member.address) for member in self.ring.view.members()))

    def describe(self) -> dict[str, Any]:
        """How it runs, for ``listening`` and ``ring info``."""
        return {
            "profile": self.settings.profile,
            "compat": self.settings.compat,
            "encrypted": self.ring.keyring.encrypts,
            "label": printable(self.settings.config.wire.label.decode("utf-8", "surrogateescape")),
            "api": self.api,
        }

    # ---- listening

    async def run(self, events: Subscription) -> None:
        """Be a member of the ring whose events these are, seeds and all, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hear, events)
            nursery.start_soon(self.watch_counts)
            nursery.start_soon(self.find_seeds)

    async def hear(self, events: Subscription) -> None:
        """Act upon the ring's events, for ever."""
        async for event in events:
            self._carry_out(self._reporter.hear(event, time.time(), trio.current_time()))
            if self._reporter.leaving and not self._has_company():
                self._patience.cancel()

    async def watch_counts(self) -> None:
        """Tell what only the counts show, for ever."""
        while True:
            await trio.sleep(CHECK_INTERVAL)
            self._carry_out(self._reporter.check(self.ring.statistics(), time.time(), trio.current_time()))

    def _carry_out(self, report: Report) -> None:
        self.tell(*report.notices)
        for payload in report.spread:
            try:
                self.ring.broadcast(payload)
            except LocalError:
                continue  # it came by stream and is too long for a packet: passing it on is the sender's business

    def fire_event(self, name: str, payload: bytes, *, coalesce: bool) -> int:
        """Spread a user event and give back its Lamport time. Raises :class:`LocalError` without serf's habits."""
        if self.serf is None:
            raise LocalError(
                "only an agent started with --compat serf fires events; others have `ring send --broadcast`"
            )
        encoded = self.serf.user_event(name, payload, coalesce=coalesce)
        self.ring.broadcast(encoded)
        event = decode_untrusted(encoded)
        assert isinstance(event, UserEvent)
        self.tell(notice_of_user_event(event, time.time()))
        return event.ltime

    # ---- coming and going

    async def join(self, targets: Sequence[str], *, as_seeds: bool = False) -> JoinReport:
        """As :meth:`gossip.driver.Ring.join`."""
        self._joins += 1
        try:
            return await self.ring.join(targets, as_seeds=as_seeds)
        finally:
            self._joins -= 1
            self._settled.set()

    async def find_seeds(self) -> None:
        """Join the seeds. As long as none answers, try all of them again; after that only those whose names stand for
        no address yet, since the ring itself tries the addresses that it was told."""
        said, delay, seeds = "", SEED_RETRY_MIN, self.settings.seeds
        while seeds:
            try:
                report = await self.join(seeds, as_seeds=True)
            except RemoteError as reason:
                trouble = str(reason)
            else:
                refused = "; ".join(f"{target}: {reason}" for target, reason in report.refused)
                seeds = report.unresolved
                trouble = f"could not join: {refused}" if refused else ""
            if trouble and trouble != said:
                complaint = f"{trouble}; trying again" if seeds else trouble
                await trio.to_thread.run_sync(self.settings.complain, complaint, abandon_on_cancel=True)
            said = trouble
            if seeds:
                await trio.sleep(delay)
            delay = min(delay * 2, SEED_RETRY_MAX)

    async def leave(self) -> None:
        """Say goodbye, and wait until it has spread or takes too long. Called twice it is said once."""
        if self._left is not None:
            await self._left.wait()
            return
        self._left = trio.Event()
        with trio.move_on_after(SETTLE_WITHIN):
            while self._joins:
                self._settled = trio.Event()
                await self._settled.wait()
        self._reporter.leaving = True
        if self.serf is not None and self._has_company():
            with trio.move_on_after(LEAVE_WITHIN) as self._patience:
                await self.ring.spread(self.serf.leave_intent())
        with trio.move_on_after(LEAVE_WITHIN) as self._patience:
            await self.ring.leave()
        self._left.set()

    def _has_company(self) -> bool:
        return any(member.name != self.settings.name for member in self.ring.view.live_members())

    async def leave_and_end(self) -> None:
        """Say goodbye, and stop."""
        await self.leave()
        self.ended.set()
