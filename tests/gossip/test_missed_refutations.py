"""A refutation that was lost on its way to one member must not cost the accused its life there (watch.md §4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import MemberFailed, Membership, MemberSuspected, ReconnectConfig, profile
from gossip.codec import decode_message_untrusted, encode, split_compound_untrusted
from gossip.messages import Alive, Dead, PacketMessage, Ping, Suspect
from gossip.suspicion import suspicion_timeout
from tests.gossip.helpers import VSN, events_of, make_member, of_type

ACCUSER = ("127.0.0.9", 7946)
CONFIG = replace(profile("lan"), reconnect=ReconnectConfig(interval=0.0))
SHORTEST = suspicion_timeout(CONFIG.suspicion.mult, 10, CONFIG.probe.interval)
LONGEST = SHORTEST * CONFIG.suspicion.max_timeout_mult


def packed(number: int) -> bytes:
    return bytes((127, 0, 1, number))


def make_observer() -> Membership:
    """One of ten, who has no news left."""
    member = make_member("a", config=CONFIG)
    for number in range(9):
        hear(member, Alive(3, f"n{number}", packed(number), 7946, b"m", VSN))
    forget_news(member)
    return member


def forget_news(member: Membership) -> None:
    """Pinged often enough, it has told all."""
    while member.statistics().queued_broadcasts:
        hear(member, Ping(1, "a"))
    member.datagrams_to_send()
    events_of(member)


def hear(member: Membership, message: PacketMessage, now: float = 10.0) -> None:
    member.receive_datagram(encode(message), ACCUSER, now)


def told(member: Membership) -> list[PacketMessage]:
    """What it has sent to the accuser since the last look."""
    bodies = [data for data, address in member.datagrams_to_send() if address == ACCUSER]
    parts = [part for body in bodies for part in (split_compound_untrusted(body)[0] if body[0] == 7 else [body])]
    return [decode_message_untrusted(part) for part in parts]


@pytest.mark.parametrize("accusation", [Suspect(2, "n1", "x"), Dead(2, "n1", "x")])
def test_who_accuses_at_an_old_incarnation_is_told_of_the_refutation_once_a_second(accusation: Suspect | Dead) -> None:
    member = make_observer()
    refutation = Alive(3, "n1", packed(1), 7946, b"m", VSN)
    for now in (10.0, 10.5, 10.9):
        hear(member, accusation, now)
    assert told(member) == [refutation]
    hear(member, accusation, 11.0)
    assert told(member) == [refutation]
    assert events_of(member) == []


def test_the_accused_itself_answers_too() -> None:
    member = make_observer()
    hear(member, Suspect(1, "a", "x"))
    forget_news(member)
    hear(member, Suspect(1, "a", "x"), 12.0)
    assert told(member) == [Alive(2, "a", bytes((127, 0, 0, 1)), 7946, None, VSN)]


def test_only_who_is_held_alive_is_spoken_for() -> None:
    member = make_observer()
    hear(member, Suspect(3, "n1", "x"))
    hear(member, Dead(3, "n2", "n2"))
    forget_news(member)
    for node in ("n1", "n2", "nobody"):
        hear(member, Suspect(2, node, "y"))
    assert told(member) == []


@pytest.mark.parametrize("refutes", [True, False])
def test_an_accusation_at_a_newer_incarnation_gives_the_accused_its_time_anew(refutes: bool) -> None:
    """It has refuted in between, unheard here. Else the newer accusers would end the old suspicion at once."""
    member = make_observer()
    hear(member, Suspect(3, "n1", "x"), 10.0)
    again = 10.0 + LONGEST - 1.0
    for accuser in ("u", "v", "w"):
        hear(member, Suspect(4, "n1", accuser), again)
    member.handle_timer(again + SHORTEST - 0.01)
    assert [type(event) for event in events_of(member)] == [MemberSuspected]
    if refutes:
        hear(member, Alive(5, "n1", packed(1), 7946, b"m", VSN), again + SHORTEST - 0.01)
    member.handle_timer(again + SHORTEST + 0.01)
    assert [event.member.name for event in of_type(events_of(member), MemberFailed)] == ([] if refutes else ["n1"])
