"""A speaker and a controller for tests of the lab itself: whoever has a lock answers, on eth0, with its own kernel.

`speaker LOCK ADDRESS…` announces the addresses while it holds the lock and has a carrier; the kernel gives the lock to
the next when it dies. `controller FOLDER NAMESPACE/NAME=ADDRESS…` writes statuses.
"""

from __future__ import annotations

import fcntl
import signal
import socket
import struct
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from cluster.model import ObjectName, ServiceStatus
from cluster.statuses import file_name, render_status

SIOCGIFFLAGS = 0x8913
IFF_RUNNING = 0x40
LOOK_EVERY = 0.01


def has_carrier() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH14x", b"eth0", 0))
    return bool(struct.unpack_from("16sH", answer)[1] & IFF_RUNNING)


def tell_everybody(address: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        mac, ip = sock.getsockname()[4], socket.inet_aton(address)
        sock.send(b"\xff" * 6 + mac + struct.pack("!HHHBBH6s4s6s4s", 0x806, 1, 0x800, 6, 4, 1, mac, ip, bytes(6), ip))


def configure(verb: str, addresses: list[str]) -> None:
    """Add or delete; what is there already, or not there, is as well."""
    for address in addresses:
        subprocess.run(["ip", "address", verb, f"{address}/32", "dev", "eth0"], check=False, capture_output=True)


def speaker(lock: str, addresses: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    configure("del", addresses)  # what a killed predecessor left
    while True:
        with open(lock, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if has_carrier():
                    configure("add", addresses)
                    for address in addresses:
                        tell_everybody(address)
                while has_carrier():
                    time.sleep(LOOK_EVERY)
            finally:
                configure("del", addresses)
        time.sleep(2 * LOOK_EVERY)  # the next one's turn


def controller(folder: str, words: list[str]) -> None:
    target = Path(folder, "status")
    target.mkdir()
    for word in words:
        name, address = word.split("=")
        status = ServiceStatus(service=ObjectName(*name.split("/")), ingress=(ip_address(address),))
        (target / file_name(status.service)).write_text(render_status(status))
    signal.pause()


if __name__ == "__main__":
    {"speaker": speaker, "controller": controller}[sys.argv[1]](sys.argv[2], sys.argv[3:])
