"""What the speaker answers on its control socket, beside what every member of the ring answers."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import trio

from gossip import LocalError
from gossip.control import Desk, printable
from speaker.explain import Explainer, Finding, Json, verdict
from speaker.marker import decode_untrusted
from speaker.requests import SPEAKER_REQUESTS, ShowDecision, ShowStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gossip import Member
    from gossip.control import Agent, Replies
    from speaker.core import Speaker
    from speaker.fast.packet_sockets import PacketStatistics

ADDRESSES_PER_ITEM: Final = 100
"""Addresses in one part of an answer, made in one turn."""


def speaker_desk(
    core: Speaker, findings: Callable[[], Iterable[Finding]], packets: Callable[[], PacketStatistics]
) -> Desk:
    """The desk of a speaker; ``findings`` is what is wrong outside of the core, ``packets`` what the packet sockets
    have counted."""

    async def show_decision(agent: Agent, request: ShowDecision, replies: Replies) -> Json:
        try:
            address = ip_address(request.address)
        except ValueError:
            raise LocalError(f"{request.address!r:.60} is no address") from None
        told = _explainer(core).decision(address)
        if told is None:
            raise LocalError(f"{address} is not wanted: no service has it; `starling status` lists what is")
        await trio.lowlevel.checkpoint()
        return told

    async def show_status(agent: Agent, request: ShowStatus, replies: Replies) -> Json:
        explainer = _explainer(core)
        part: list[Json] = []
        for address in explainer.addresses():
            part.append(address)
            if len(part) == ADDRESSES_PER_ITEM:
                await replies.item(part)
                part = []
        if part:
            await replies.item(part)
        return {
            **verdict([*findings(), *explainer.findings()]),
            "node": core.config.node,
            "members": [_describe(member) for member in agent.ring.view.members()],
            "sessions": [],
            "counters": _counters(core, packets()),
        }

    return Desk(SPEAKER_REQUESTS, {ShowDecision: show_decision, ShowStatus: show_status})


def _explainer(core: Speaker) -> Explainer:
    now = trio.current_time()
    return Explainer(core, now, time.time() - now)


def _counters(core: Speaker, packets: PacketStatistics) -> Json:
    """Counts since the start: whether requests arrive, and are answered."""
    announcer = core.announcer.statistics()
    return {
        "frames_received": packets.received,
        "frames_lost": packets.lost,
        "frames_sent": packets.sent,
        "frames_unsent": packets.unsent,
        "requests_received": announcer.requests_received,
        "responses_sent": announcer.responses_sent,
        "gratuitous_sent": announcer.gratuitous_sent,
        "claims": announcer.claims,
    }


def _describe(member: Member) -> Json:
    marker = decode_untrusted(member.meta)
    return {
        "name": printable(member.name),
        "address": member.address[0],
        "port": member.address[1],
        "state": member.state.name.lower(),
        "tier": None if marker is None else marker.tier.name.lower(),
        "macs": [] if marker is None else [mac.hex(":") for mac in marker.macs],
    }
