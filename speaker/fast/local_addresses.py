"""Addresses on the loopback interface, for nodes where nothing else takes in the traffic for them (--local-address).

Rules kept here:

* No address is put on an interface that serves the LAN, and while one is on the loopback the kernel answers no ARP for
  it: two settings of the kernel see to that, and are as before when this is over.
* What was put there is marked, and the settings' former values are on disk before they are changed: the process that
  follows a killed one finds both. Addresses without the mark are never touched.
* The addresses have the scope "host": the kernel never picks one as the source of a connection of its own, and answers
  for none even where arp_ignore is 3.

The settings are needed for `all` alone: the kernel goes by the larger of an interface's value and that of `all`. IPv6
needs none, since the kernel answers neighbour solicitations only for addresses of the interface they came in on.

Source: design.md §5 "Two owners"; rtnetlink(7); ip-sysctl (arp_ignore, arp_announce).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import trio

from cluster.model import Address
from speaker.fast.capabilities import Capability, complaint
from speaker.fast.rtnetlink import (
    HEADER,
    IFADDRMSG,
    MAX_DATAGRAM,
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

SYSCTLS: Final = Path("/proc/sys")
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE: Final = Path("/proc/thread-self/ns/net")
STATE_FILE: Final = "local-addresses.json"
MAX_STATE_BYTES: Final = 4096
MAX_CHANGES_PER_TURN: Final = 32
"""Addresses added or removed before others get a turn; one costs some 20 µs."""
MAX_REFUSALS_SHOWN: Final = 5

LOOPBACK: Final = 1
"""The index of `lo` in every network namespace."""
LABEL: Final = b"lo:starling\0"
PROTOCOL: Final = bytes([83])
"""The mark where there are no labels (IPv6); kernels before 5.18 do not keep it."""
SCOPE_HOST: Final = 254

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_PROTO = 1, 2, 3, 11
ATTRIBUTE: Final = struct.Struct("=HH")
"""Length, type."""
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class LocalAddressError(Exception):
    """Addresses, or the settings they need, cannot be put in place here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the kernel that has to have one of some values."""

    name: str
    wanted: str
    accepted: tuple[str, ...]
    """Values that do as well, and are left alone."""

    @property
    def path(self) -> Path:
        """Its file, of the network namespace of who opens it."""
        return SYSCTLS.joinpath(*self.name.split("."))


SETTINGS: Final = (
    # No answer for an address of another interface; 2 and 8 say less still, and 3 nothing for the scope "host".
    Setting("net.ipv4.conf.all.arp_ignore", "1", ("1", "2", "3", "8")),
    # The kernel's own requests never carry such an address as their sender, which would teach it to all who hear them.
    Setting("net.ipv4.conf.all.arp_announce", "2", ("2",)),
)


class LocalAddresses:
    """The addresses that this node takes traffic for. A context: all is undone at its end.

    ``folder`` keeps the settings' former values. What a killed process left behind is taken over: the first ``set``
    removes what is no longer wanted, the end the rest. Entering and leaving at once therefore cleans up.
    Entering raises :class:`LocalAddressError` when the settings cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.warnings: list[str] = []
        """What a user should know of, but is no reason to stop."""
        self._file = folder / STATE_FILE
        self._former: dict[Setting, str] = {}
        self._held: dict[Address, None] = {}
        self._is_sure = True
        """What is held is what is in place."""
        self._turn = trio.Lock()

    @property
    def held(self) -> tuple[Address, ...]:
        """The addresses that are in place and were put there by this process, or by one before it that was killed."""
        return tuple(self._held)

    def __enter__(self) -> Self:
        try:
            self._adjust_settings()
        except LocalAddressError:
            self._restore_settings()
            raise
        self._held = dict.fromkeys(_marked_addresses())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        refused: dict[Address, int] = {}
        with _requests() as sock:
            for batch in _batches(self.held):
                refused |= self._change(sock, RTM_DELADDR, batch)
        if refused:  # the settings keep the kernel from answering for what is left there
            self.warnings.append(_explain(refused))
        else:
            self._restore_settings()

    async def set(self, addresses: Iterable[Address]) -> None:
        """Have these addresses in place and no others of ours. Calls take effect in the order in which they are made.

        An address that is on the loopback already without our mark is somebody else's, and stays so.
        Raises :class:`LocalAddressError` naming what the kernel refused, after everything else is in place, and
        :class:`OSError` when it cannot be asked.
        """
        wanted = dict.fromkeys(addresses)
        async with self._turn:
            if not self._is_sure:
                self._held = dict.fromkeys(_marked_addresses())
                self._is_sure = True
            try:
                refused = await self._make(wanted)
            except OSError:  # the kernel may have done what it could not say
                self._is_sure = False
                raise
        if refused:
            raise LocalAddressError(_explain(refused))

    async def _make(self, wanted: dict[Address, None]) -> dict[Address, int]:
        """Have these addresses, in turns; what was refused, with its error number."""
        refused: dict[Address, int] = {}
        with _requests() as sock:
            for batch in _batches([address for address in self._held if address not in wanted]):
                refused |= self._change(sock, RTM_DELADDR, batch)
                await trio.lowlevel.checkpoint()
            for batch in _batches([address for address in wanted if address not in self._held]):
                refused |= self._change(sock, RTM_NEWADDR, batch)
                await trio.lowlevel.checkpoint()
        return refused

    def _change(self, sock: socket.socket, kind: int, addresses: Sequence[Address]) -> dict[Address, int]:
        """Add or remove at most a turn's worth; what was refused, with its error number."""
        refused = {}
        for address, code in _ask(sock, kind, addresses).items():
            if kind == RTM_NEWADDR:
                if code == 0:
                    self._held[address] = None
                elif code != errno.EEXIST:
                    refused[address] = code
            elif code in (0, errno.EADDRNOTAVAIL):
                del self._held[address]
            else:
                refused[address] = code
        return refused

    def _adjust_settings(self) -> None:
        """Note the former values on disk, then change what has to be changed."""
        remembered = self._recall()
        to_write = []
        for setting in SETTINGS:
            current = _read(setting)
            if current == setting.wanted and setting.name in remembered:
                self._former[setting] = remembered[setting.name]
            elif current not in setting.accepted:
                self._former[setting] = current
                to_write.append(setting)
        if to_write:
            self._remember()
        for setting in to_write:
            _write(setting, setting.wanted)

    def _restore_settings(self) -> None:
        for setting, former in self._former.items():
            if _read(setting) == setting.wanted:  # otherwise somebody else has decided since
                _write(setting, former)
        self._former.clear()
        try:
            self._file.unlink(missing_ok=True)
        except OSError as exc:
            self.warnings.append(f"{self._file} cannot be removed: {exc.strerror}")

    def _remember(self) -> None:
        kept = {
            "schema": 1,
            "origin": _origin(),
            "former": {setting.name: value for setting, value in self._former.items()},
        }
        new = self._file.with_suffix(".new")
        try:
            new.write_text(json.dumps(kept))
            with new.open("rb") as written:
                os.fsync(written.fileno())
            new.replace(self._file)
            _sync_folder(self._file.parent)
        except OSError as exc:
            raise LocalAddressError(
                f"{self._file}: cannot note the kernel's settings before they are changed: {exc.strerror}; "
                "give the speaker a state folder that it can write to"
            ) from exc

    def _recall(self) -> dict[str, str]:
        """The former values by name, if they are of this boot and this network namespace."""
        try:
            with self._file.open("rb") as file:
                kept = json.loads(file.read(MAX_STATE_BYTES))
            former = kept["former"]
            if not all(isinstance(value, str) and value.isdecimal() for value in former.values()):
                raise ValueError("a setting's value is no number")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            self.warnings.append(
                f"{self._file} cannot be read ({exc}); {' and '.join(setting.name for setting in SETTINGS)} "
                "stay as they are when the speaker stops"
            )
            return {}
        return former if kept.get("origin") == _origin() else {}


def _sync_folder(path: Path) -> None:
    """Have the names in it outlive a crash of the machine."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _origin() -> str:
    """This boot and this network namespace: the settings are lost with either of them."""
    return f"{BOOT.read_text().strip()} {NAMESPACE.stat().st_ino}"


def _read(setting: Setting) -> str:
    try:
        return setting.path.read_text().strip()
    except OSError as exc:
        raise LocalAddressError(
            f"cannot read {setting.name}: {exc.strerror}; --local-address needs /proc/sys of the node's network"
        ) from exc


def _write(setting: Setting, value: str) -> None:
    try:
        setting.path.write_text(value)
    except OSError as exc:
        raise LocalAddressError(
            f"cannot set {setting.name} to {value}: {exc.strerror}. Set it on the node before the speaker starts "
            f"(sysctl -w {setting.name}={value}), or give the speaker a writable /proc/sys "
            "(in Kubernetes: securityContext.privileged) and CAP_NET_ADMIN"
        ) from exc


def _explain(refused: dict[Address, int]) -> str:
    if errno.EPERM in refused.values():
        return complaint(Capability.CAP_NET_ADMIN)
    shown = [f"{address}: {os.strerror(code)}" for address, code in list(refused.items())[:MAX_REFUSALS_SHOWN]]
    more = len(refused) - len(shown)
    return f"refused on lo: {', '.join(shown)}" + (f", and {more} more" if more else "")


def _batches(addresses: Sequence[Address]) -> Iterator[Sequence[Address]]:
    for start in range(0, len(addresses), MAX_CHANGES_PER_TURN):
        yield addresses[start : start + MAX_CHANGES_PER_TURN]


def _requests() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
    sock.bind((0, 0))
    return sock


def _ask(sock: socket.socket, kind: int, addresses: Sequence[Address]) -> dict[Address, int]:
    """The kernel's answer to each request: 0, or an error number. It answers before ``send`` returns."""
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if kind == RTM_NEWADDR else 0)
    sock.send(b"".join(_encode(kind, flags, number, address) for number, address in enumerate(addresses)))
    answers: dict[Address, int] = {}
    while len(answers) < len(addresses):
        for kind_of_answer, number, body in _messages(sock.recv(MAX_DATAGRAM)):
            if kind_of_answer == NLMSG_ERROR:
                answers[addresses[number]] = -struct.unpack_from("=i", body)[0]
    return answers


def _encode(kind: int, flags: int, number: int, address: Address) -> bytes:
    attributes = [(IFA_LOCAL, address.packed), (IFA_ADDRESS, address.packed)]
    if kind == RTM_NEWADDR:
        attributes += [(IFA_PROTO, PROTOCOL), *([(IFA_LABEL, LABEL)] if address.version == 4 else [])]
    body = IFADDRMSG.pack(FAMILIES[address.version], address.max_prefixlen, 0, SCOPE_HOST, LOOPBACK) + b"".join(
        ATTRIBUTE.pack(ATTRIBUTE.size + len(value), name) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    return HEADER.pack(HEADER.size + len(body), kind, flags, number, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and body of each message of a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _flags, number, _port = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, number, data[offset + HEADER.size : offset + length]
        offset += length + -length % 4


def _attributes(body: bytes) -> dict[int, bytes]:
    """The attributes behind an ifaddrmsg."""
    found = {}
    offset = IFADDRMSG.size
    while offset + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind] = body[offset + ATTRIBUTE.size : offset + length]
        offset += length + -length % 4
    return found


def _marked_addresses() -> list[Address]:
    """What carries our mark on the loopback."""
    found: list[Address] = []
    with _requests() as sock:
        body = IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        sock.send(HEADER.pack(HEADER.size + len(body), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + body)
        while True:
            for kind, _number, message in _messages(sock.recv(MAX_DATAGRAM)):
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                attributes = _attributes(message)
                is_ours = attributes.get(IFA_LABEL) == LABEL or attributes.get(IFA_PROTO) == PROTOCOL
                index = IFADDRMSG.unpack_from(message)[4]
                packed = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
                if is_ours and index == LOOPBACK and packed is not None:
                    found.append(ip_address(packed))
