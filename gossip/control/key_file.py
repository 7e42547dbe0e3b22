"""The file that holds a ring's keys."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from gossip.errors import LocalError
from gossip.keyring import metallb_key, parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEY_FILE_BYTES: Final = 64 * 1024
OTHERS_MAY_READ: Final = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: str, complain: Callable[[str], None], *, is_secret: bool = False) -> tuple[bytes, ...]:
    """The keys in a file, the primary first; with ``is_secret`` it is the raw secret that MetalLB's speakers share.

    A file that others may read is complained of, a credential of systemd excepted: an access list that names the user
    alone shows as a group's right, and nobody but systemd can change it.

    Raises :class:`LocalError` with what is wrong with the file.
    """
    try:
        with open(path, "rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as exc:
        raise LocalError(f"{path}: {exc.strerror}") from None
    if mode & OTHERS_MAY_READ and not _is_credential(path):
        complain(f"{path} may be read by others than its owner: chmod 600 {path}")
    try:
        if len(content) > MAX_KEY_FILE_BYTES:
            raise LocalError(f"more than {MAX_KEY_FILE_BYTES} bytes; is this a file of keys?")
        return (metallb_key(content),) if is_secret else parse_keys(content)
    except LocalError as reason:
        raise LocalError(f"{path}: {reason}") from None


def _is_credential(path: str) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")  # systemd.exec(5)
    return folder is not None and os.path.dirname(os.path.abspath(path)) == folder
