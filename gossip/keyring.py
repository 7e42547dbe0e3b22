"""The keys of a ring, and AES-GCM with them (memberlist-protocol.md §6.3).

Rules kept here:

* The first key, the primary, encrypts; every key may decrypt. Rotation is add, use, remove, in any order that keeps a
  primary.
* Nonces are arguments: this module draws no randomness.
* Large payloads are decrypted in turns, because a peer without any key can make us try.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from gossip.errors import BadPacket, LocalError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

KEY_BYTES: Final = (16, 24, 32)
"""AES-128, 192 and 256."""
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
DECRYPT_TURN: Final = 1024 * 1024
"""Bytes decrypted between two pauses: about a millisecond."""
_BLOCK: Final = 16
_HEAD: Final = 1 + NONCE_BYTES
_VERSIONS: Final = {0: _HEAD + _BLOCK + TAG_BYTES, 1: _HEAD + TAG_BYTES}
"""Least length of a payload by its version."""
_EMPTY_SHA256: Final = hashlib.sha256(b"").digest()


class Keyring:
    """An ordered list of AES keys, the primary first. Without keys nothing is encrypted."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.add(key)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return tuple(self._ciphers)

    @property
    def primary(self) -> bytes | None:
        """The key that encrypts; ``None`` without keys."""
        return next(iter(self._ciphers), None)

    @property
    def encrypts(self) -> bool:
        """Whether there is a key."""
        return bool(self._ciphers)

    def add(self, key: bytes) -> None:
        """Append a key; the first one becomes the primary, a known one stays where it is.

        Raises :class:`LocalError` unless it has 16, 24 or 32 bytes.
        """
        if len(key) not in KEY_BYTES:
            raise LocalError(f"a key has 16, 24 or 32 bytes, not {len(key)}")
        self._ciphers.setdefault(bytes(key), AESGCM(key))

    def use(self, key: bytes) -> None:
        """Make a key the primary. Raises :class:`LocalError` when it is not in the ring: add it everywhere first."""
        if key not in self._ciphers:
            raise LocalError("the key is not in the keyring; add it first")
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key; an unknown one is forgotten already. Raises :class:`LocalError` for the primary."""
        if key == self.primary:
            raise LocalError("the primary key cannot be removed; make another one the primary first")
        self._ciphers.pop(key, None)

    def seal(self, plaintext: bytes, aad: bytes, nonce: bytes, version: int) -> bytes:
        """Encrypt with the primary key: version, nonce, ciphertext, tag. Version 0 pads, version 1 does not.

        Raises :class:`LocalError` without keys or for another version.
        """
        if not self._ciphers or version not in _VERSIONS:
            raise LocalError(f"cannot encrypt: {len(self._ciphers)} keys, version {version}")
        if version == 0:
            padding = _BLOCK - len(plaintext) % _BLOCK
            plaintext += bytes((padding,)) * padding
        cipher = next(iter(self._ciphers.values()))
        return bytes((version,)) + nonce + cipher.encrypt(nonce, plaintext, aad)

    def open_untrusted(self, payload: bytes, aad: bytes) -> bytes:
        """Decrypt with the first key that fits, whatever our own version.

        Raises :class:`BadPacket` for an unknown version, a payload too short, no fitting key, or bad padding.
        """
        version = _check_payload_untrusted(payload)
        nonce, sealed = payload[1:_HEAD], payload[_HEAD:]
        for cipher in self._ciphers.values():
            try:
                plaintext = cipher.decrypt(nonce, sealed, aad)
            except InvalidTag:
                continue
            return _strip_untrusted(plaintext) if version == 0 else plaintext
        raise BadPacket("no key decrypts it")

    def open_in_turns_untrusted(self, payload: bytes, aad: bytes) -> Generator[None, None, bytes]:
        """As :meth:`open_untrusted`, pausing after every :data:`DECRYPT_TURN` bytes."""
        if len(payload) <= DECRYPT_TURN:
            return self.open_untrusted(payload, aad)
        version = _check_payload_untrusted(payload)
        view = memoryview(payload)
        sealed, tag = view[_HEAD:-TAG_BYTES], payload[-TAG_BYTES:]
        for key in self.keys:
            decryptor = Cipher(AES(key), GCM(payload[1:_HEAD], tag)).decryptor()
            decryptor.authenticate_additional_data(aad)
            chunks = []
            for start in range(0, len(sealed), DECRYPT_TURN):
                chunks.append(decryptor.update(sealed[start : start + DECRYPT_TURN]))
                yield
            try:
                decryptor.finalize()
            except InvalidTag:
                continue
            plaintext = b"".join(chunks)
            return _strip_untrusted(plaintext) if version == 0 else plaintext
        raise BadPacket("no key decrypts it")


def is_sealed_untrusted(payload: bytes) -> bool:
    """Whether it has the version and the length of an encrypted payload; whether it is one, only a key can tell."""
    return bool(payload) and payload[0] in _VERSIONS and len(payload) >= _VERSIONS[payload[0]]


def _check_payload_untrusted(payload: bytes) -> int:
    """The version of a payload that is long enough for it. Raises :class:`BadPacket`."""
    if not is_sealed_untrusted(payload):
        raise BadPacket("not encrypted: of no known encryption version, or too short for it")
    return payload[0]


def _strip_untrusted(padded: bytes) -> bytes:
    """Without its padding; there is a block at least. A holder of the key may send nonsense too: that opens nothing."""
    padding = padded[-1]
    if not 1 <= padding <= _BLOCK:
        raise BadPacket("bad padding")
    return padded[:-padding]


def sealed_length(length: int, version: int) -> int:
    """Bytes that :meth:`Keyring.seal` makes of ``length`` bytes (§6.3)."""
    padding = _BLOCK - length % _BLOCK if version == 0 else 0
    return _HEAD + length + padding + TAG_BYTES


def metallb_key(secret: bytes) -> bytes:
    """The AES-256 key that MetalLB's speakers make of their shared secret (§12.3).

    They mean to hash it but append the hash of nothing and cut: a secret of 32 bytes or more is used as it is, a
    shorter one is padded. Raises :class:`LocalError` for an empty secret, which there means no encryption.
    """
    if not secret:
        raise LocalError("an empty secret is no key: leave encryption off instead")
    return (secret + _EMPTY_SHA256)[:32]


def parse_key(text: str) -> bytes:
    """A key in base64. Raises :class:`LocalError`."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise LocalError("a key is written in base64; `starling ring keygen` makes one") from None
    if len(key) not in KEY_BYTES:
        raise LocalError(f"a key has 16, 24 or 32 bytes, not {len(key)}; `starling ring keygen` makes one")
    return key


def parse_keys(content: bytes) -> tuple[bytes, ...]:
    """Keys in base64, one a line, the primary first; empty lines and what follows a ``#`` do not matter.

    Raises :class:`LocalError` with the line that is no key.
    """
    keys = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        try:
            keys += [parse_key(text)] if text else []
        except LocalError as reason:
            raise LocalError(f"line {number}: {reason}") from None
    if not keys:
        raise LocalError("no key in it; `starling ring keygen` makes one")
    return tuple(keys)
