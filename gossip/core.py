"""The front of the core: one member's view of the ring, driven by its user, the network and one timer.

Rules kept here:

* No I/O, no clock, no randomness of its own: ``now`` (float seconds, any origin) is an argument, the generator and
  the nonces come by the constructor.
* Inputs return at once and change the state; what follows from them is drained. After every input, drain until empty.
* This module wires the parts and hands each input to the one that answers for it; what is decided, is decided there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gossip.addresses import pack_host
from gossip.broadcasts import COMPOUND_ENTRY_BYTES
from gossip.codec import encode
from gossip.errors import LocalError
from gossip.events import BroadcastSpread, JoinCompleted, StreamMessageSent
from gossip.keyring import Keyring
from gossip.members import Record
from gossip.messages import MAX_META_BYTES, MAX_NAME_BYTES, UserMessage
from gossip.parts import Parts
from gossip.policy import ACCEPT_ALL, Policy
from gossip.streams import MAX_USER_STATE
from gossip.versions import own_versions
from gossip.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gossip.addresses import Address
    from gossip.config import GossipConfig
    from gossip.events import Event
    from gossip.outbox import StreamCommand, StreamId

MAX_DATAGRAM_PAYLOAD: Final = 60_000
"""Largest user message sent as one datagram; longer ones need a stream."""
MAX_ATTACHED_BYTES: Final = 8 * 1024 * 1024
"""Largest user state: peers take 20 MiB of everything together, and the largest view needs its part."""


class Membership(View):
    """One member of a ring. Three families of methods:

    * inputs take ``now``: the user's (``start``, ``join``, ``leave``, ``set_meta``, ``attach``, ``broadcast``,
      ``send``, ``ping``, ``forget``), the network's (``receive_datagram``, ``sending_failed``, ``accept_stream``,
      ``receive_stream``, ``stream_failed``, ``network_changed``), the clock's (``handle_timer``);
    * drains return what to do: ``datagrams_to_send``, ``stream_commands``, ``next_event``;
    * queries change nothing; they are those of :class:`~gossip.view.View`.

    ``address`` is what others are told. ``keyring`` may be changed while running. Raises :class:`LocalError` for a
    name, address or metadata that no member can have.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        config: GossipConfig,
        *,
        rng: Random,
        nonce: Callable[[int], bytes],
        keyring: Keyring | None = None,
        meta: bytes | None = None,
        policy: Policy = ACCEPT_ALL,
    ) -> None:
        _check_name(name)
        _check_meta(meta)
        self.config: Final = config
        self.keyring: Final = keyring if keyring is not None else Keyring()
        own = Record(name, pack_host(address[0]), address[1], 0.0)
        own.vsn = own_versions(config.wire.protocol_version, config.identity.delegate_versions)
        super().__init__(Parts(config, own, self.keyring, policy, rng, nonce))
        self._meta = meta
        self._started = False

    # ---- inputs: the user

    def start(self, now: float) -> int:
        """Announce ourselves and begin to probe, gossip and exchange. Called again after :meth:`leave`, it rejoins.

        Gives back a token for :class:`~gossip.events.BroadcastSpread`, as do ``leave``, ``set_meta`` and
        ``broadcast``.
        """
        parts = self._parts
        parts.claims.leaving = False
        token = parts.outbox.next_token()
        parts.claims.announce(self._meta, now, parts.outbox.spread_event(token))
        if not self._started:
            self._started = True
            parts.prober.start(now)
            parts.push_pulls.start(now)
        return token

    def join(self, addresses: Sequence[Address], now: float, *, as_seeds: bool = False) -> int:
        """Exchange views with every address; :class:`~gossip.events.JoinCompleted` with the token given back says
        how it went.

        Seeds are remembered, and tried again whenever nobody live has their address.
        """
        parts = self._parts
        token = parts.outbox.next_token()
        joined: list[Address] = []
        refused: list[tuple[Address, str]] = []

        def finished(address: Address, reason: str | None, now: float) -> None:
            if reason is None:
                joined.append(address)
            else:
                refused.append((address, reason))
            if len(joined) + len(refused) == len(addresses):
                parts.outbox.emit(JoinCompleted(token, tuple(joined), tuple(refused)))

        if as_seeds:
            parts.reconnector.remember_seeds(addresses, now)
        for address in addresses:
            parts.conversations.push_pull(address, True, now, partial(finished, address))
        if not addresses:
            parts.outbox.emit(JoinCompleted(token, (), ()))
        return token

    def leave(self, now: float) -> int:
        """Say goodbye. We go on answering pings until the driver stops; only :meth:`start` brings us back."""
        parts = self._parts
        token = parts.outbox.next_token()
        if parts.claims.leaving or not self._started:
            parts.outbox.emit(BroadcastSpread(token))
        else:
            parts.claims.depart(now, parts.outbox.spread_event(token))
        return token

    def set_meta(self, meta: bytes | None, now: float) -> int:
        """Change our metadata and tell everybody. Raises :class:`LocalError` when it is longer than 512 bytes."""
        _check_meta(meta)
        self._meta = meta
        parts = self._parts
        token = parts.outbox.next_token()
        if self._started and not parts.claims.leaving:
            parts.claims.announce(meta, now, parts.outbox.spread_event(token))
        else:
            parts.outbox.emit(BroadcastSpread(token))
        return token

    def attach(self, *, user_state: bytes = b"", ack_payload: bytes | None = None) -> None:
        """What the application sends along from now on: its state with every push/pull, a payload with every ack of
        a datagram ping.

        Raises :class:`LocalError` when either is longer than peers take.
        """
        if len(user_state) > MAX_ATTACHED_BYTES or len(ack_payload or b"") > MAX_META_BYTES:
            raise LocalError(f"user state may have {MAX_ATTACHED_BYTES} bytes, an ack payload {MAX_META_BYTES}")
        self._parts.conversations.user_state = user_state
        self._parts.receiver.ack_payload = ack_payload

    def broadcast(self, payload: bytes, now: float) -> int:
        """Spread a user message, best effort. Raises :class:`LocalError` when it does not fit into a packet."""
        message = encode(UserMessage(payload))
        outbox = self._parts.outbox
        room = outbox.room - COMPOUND_ENTRY_BYTES
        if len(message) > room:
            raise LocalError(
                f"a user message of {len(payload)} bytes does not fit into a packet; at most {room - 1} do"
            )
        token = outbox.next_token()
        self._parts.gossiper.spread_user(message, now, outbox.spread_event(token))
        return token

    def send(self, to: str | Address, payload: bytes, now: float, *, reliable: bool = False) -> int:
        """Send a user message to a member (by name) or an address: one datagram, or a stream if ``reliable``.

        For a stream, :class:`~gossip.events.StreamMessageSent` tells the outcome, also that the message was too long
        once compressed and encrypted. Raises :class:`LocalError` for an unknown name or too long a message.
        """
        outbox = self._parts.outbox
        record, address = self._parts.roster.locate(to)
        limit = MAX_USER_STATE if reliable else MAX_DATAGRAM_PAYLOAD
        if len(payload) > limit:
            raise LocalError(f"a user message of {len(payload)} bytes is too long; at most {limit} are sent this way")
        token = outbox.next_token()
        if reliable:
            self._parts.conversations.send_user_message(
                address, payload, now, lambda reason, _: outbox.emit(StreamMessageSent(token, reason))
            )
        else:
            outbox.send_alone([encode(UserMessage(payload))], address, record)
        return token

    def ping(self, to: str | Address, now: float) -> int:
        """Ping once; :class:`~gossip.events.PingCompleted` or ``PingTimedOut`` with the token follows. No state
        changes."""
        record, address = self._parts.roster.locate(to)
        token = self._parts.outbox.next_token()
        self._parts.prober.ping(record.name if record is not None else "", address, now, token)
        return token

    def forget(self, name: str) -> None:
        """Stop pinging and listing a member that is dead or left and will not come back."""
        self._parts.reconnector.forget(name)

    # ---- inputs: the network

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """A datagram as it came. Nothing is raised, whatever it holds."""
        self._parts.receiver.receive(data, source, now)

    def sending_failed(self, address: Address, now: float) -> None:
        """The network here (not the peer) refused a datagram to ``address``."""
        self._parts.prober.sending_failed(address, now)

    def network_changed(self, now: float) -> None:
        """The carrier came back, or a conflict was heard on the LAN: look for the lost at once."""
        self._parts.reconnector.network_changed(now)

    def accept_stream(self, source: Address, now: float) -> StreamId:
        """A peer connected; the number names the stream from here on."""
        return self._parts.conversations.accept(source, now)

    def receive_stream(self, stream: StreamId, data: bytes, now: float) -> None:
        """Bytes of a stream, ``b""`` at its end. Nothing is raised, whatever they hold."""
        self._parts.conversations.receive(stream, data, now)

    def stream_failed(self, stream: StreamId, reason: str, now: float) -> None:
        """The connection could not be made, or broke; ``reason`` is for a person."""
        self._parts.streams.fail(stream, reason, now)

    # ---- inputs: the clock

    def handle_timer(self, now: float) -> None:
        """Do what is due by ``now``, and one turn of what takes longer."""
        for timer in self._parts.timers.due(now):
            if timer.live:
                self._parts.on_timer[timer.kind](timer, now)

    # ---- drains

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Datagrams in the order in which they became due."""
        return self._parts.outbox.take_datagrams()

    def stream_commands(self) -> list[StreamCommand]:
        """What to do with streams, in order."""
        return self._parts.outbox.take_commands()

    def next_event(self) -> Event | None:
        """The next thing the user wants to know; ``None`` when there is no more."""
        return self._parts.outbox.take_event()


def _check_name(name: str) -> None:
    length = len(name.encode(errors="surrogateescape"))
    if not 0 < length <= MAX_NAME_BYTES:
        raise LocalError(f"a member's name must be 1 to {MAX_NAME_BYTES} bytes long, not {length}")


def _check_meta(meta: bytes | None) -> None:
    if meta is not None and len(meta) > MAX_META_BYTES:
        raise LocalError(f"metadata must be at most {MAX_META_BYTES} bytes long, not {len(meta)}")
