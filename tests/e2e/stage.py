"""A lab for several tests: it runs in a thread of its own, and what a test did to it is undone before the next.

Rules kept here:

* Speakers and the controller are the commands that users run; what is asked of them is asked by commands too.
* What a test looks at is what a user sees: frames, an answer over HTTP, a line of the log, `why` and `status`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from sim.lab.lan import Host
from sim.lab.nodes import MANIFESTS, Commands, Lab, open_lab, write_manifests
from sim.lab.plan import CLIENT, OBSERVER
from tests.e2e.manifests import ManifestFiles
from tests.e2e.recorder import Recorder, socket_in
from tests.e2e.speakers import Speakers
from tests.speaker.hashing import by_hash

SETTLE_WITHIN = 60.0
"""Seconds in which every address has one owner again, a death that has to be found included."""
AGREEING = 3
"""Looks in a row that show the same before it counts."""
HTTP_WITHIN = 5.0
MAX_ANSWER = 4096


class Stage:
    """A lab that runs: whose an address is to be and is, what is done to its nodes, and order again after that."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.manifests = ManifestFiles(lab.folder / MANIFESTS)
        self.speakers = Speakers(lab)
        self._fallen: dict[str, None] = {}

    @property
    def nodes(self) -> list[str]:
        return list(self.lab.nodes)

    @property
    def addresses(self) -> list[str]:
        return list(self.lab.addresses.values())

    @property
    def observer(self) -> Host:
        return self.lab.lan.hosts[OBSERVER]

    @property
    def client(self) -> Host:
        return self.lab.lan.hosts[CLIENT]

    def host(self, name: str) -> Host:
        return self.lab.lan.hosts[name]

    def mac(self, node: str) -> str:
        return self.host(node).mac

    def node(self, mac: str) -> str:
        """The host behind a hardware address."""
        return next(host.name for host in self.lab.lan.hosts.values() if host.mac == mac)

    def winner(self, address: str, nodes: Collection[str] = ()) -> str:
        """Who is to own an address among these nodes (all)."""
        return by_hash(address, nodes or self.nodes)[0]

    def owned_by(self, node: str) -> list[str]:
        """The addresses that are a node's while all are there."""
        return [address for address in self.addresses if self.winner(address) == node]

    async def fetch(self, address: str, port: int = 80) -> str:
        """GET from the client host through an address: the node whose workload answered."""
        sock = trio.socket.from_stdlib_socket(socket_in(self.client.namespace, socket.AF_INET, socket.SOCK_STREAM))
        with sock, trio.fail_after(HTTP_WITHIN):
            await sock.connect((address, port))
            await sock.send(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < MAX_ANSWER and (chunk := await sock.recv(MAX_ANSWER)):
                answer += chunk
        return answer.decode().rpartition("\r\n\r\n")[2].strip()

    async def settled(
        self, recorder: Recorder, wanted: Mapping[str, str | None] | None = None, within: float = SETTLE_WITHIN
    ) -> dict[str, str]:
        """Wait until each of these addresses (all) is answered by one node, AGREEING times in a row: address -> node.

        Where a node is told it has to be that one.
        """
        asked = dict.fromkeys(self.addresses) if wanted is None else dict(wanted)
        looks: list[dict[str, list[str]]] = []
        with trio.move_on_after(within):
            while True:
                macs = await recorder.owners(asked)
                looks.append({address: [self.node(mac) for mac in found] for address, found in macs.items()})
                latest = looks[-1]
                is_met = all(len(found) == 1 and asked[address] in (None, *found) for address, found in latest.items())
                if is_met and looks[-AGREEING:] == [latest] * AGREEING:
                    return {address: found[0] for address, found in latest.items()}
        raise AssertionError(f"wanted {asked}, got {looks[-1:]} after {within:g} s; {self.lab.last_words()}")

    def stop(self, node: str) -> None:
        """Ask a speaker to end."""
        self._fallen[node] = None
        self.lab.nodes[node].speaker.ask_to_stop()

    def kill(self, node: str) -> None:
        """End a speaker, slow process and all, as when the memory has run out."""
        self._fallen[node] = None
        self.lab.nodes[node].speaker.kill()

    async def tidy(self) -> None:
        """Undo what a test did: manifests as at first, cables in, nothing blocked, every speaker running."""
        self.manifests.restore_all()
        await self.lab.lan.repair()
        for name, node in self.lab.nodes.items():
            await self.lab.lan.mend(name)
            node.speaker.resume()
        for name in self._fallen:
            await self.lab.restart(name)
        self._fallen.clear()
        self.speakers.mark()


@contextmanager
def open_stage(folder: Path, texts: Mapping[str, str], commands: Commands) -> Iterator[Stage]:
    """A lab of these manifests in a thread of its own; every service has its address, but need not be announced."""
    write_manifests({name: text.encode() for name, text in texts.items()}, folder)
    opened: Future[tuple[Lab, Callable[[], None]]] = Future()

    async def stay() -> None:
        over = trio.Event()
        token = trio.lowlevel.current_trio_token()
        async with open_lab(folder, commands) as lab:
            await lab.while_all_run(lab.wait_assigned)
            opened.set_result((lab, partial(token.run_sync_soon, over.set)))
            await over.wait()

    def play() -> None:
        try:
            trio.run(stay)
        except BaseException as exc:  # whoever waits is to know
            if opened.done():
                raise
            opened.set_exception(exc)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        lab, end = opened.result()
        try:
            yield Stage(lab)
        finally:
            end()
    finally:
        thread.join()
