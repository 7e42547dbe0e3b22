"""Keys: the rules of the ring, round trips, and payloads that lie."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import BadPacket, LocalError
from gossip.keyring import DECRYPT_TURN, Keyring, metallb_key, sealed_length
from tests.gossip.wire.helpers import with_pauses
from tests.vectors import NONCE

A, B, C = bytes(16), bytes(range(24)), bytes(range(32))
keys = st.sampled_from([A, B, C])


@pytest.mark.rule("6.3f")
def test_the_first_key_encrypts_until_another_is_used() -> None:
    assert not Keyring().encrypts
    assert Keyring().primary is None
    ring = Keyring()
    ring.add(A)
    ring.add(B)
    ring.add(A)
    assert list(ring.keys) == [A, B]
    assert ring.primary == A
    ring.use(B)
    assert list(ring.keys) == [B, A]
    ring.remove(A)
    ring.remove(A)
    assert list(ring.keys) == [B]
    assert ring.encrypts


@pytest.mark.rule("6.3f", "6.3g")
def test_mistakes_with_keys_change_nothing() -> None:
    ring = Keyring((A, B))
    with pytest.raises(LocalError, match="16, 24 or 32"):
        ring.add(bytes(17))
    with pytest.raises(LocalError, match="add it first"):
        ring.use(C)
    with pytest.raises(LocalError, match="primary"):
        ring.remove(A)
    assert list(ring.keys) == [A, B]
    with pytest.raises(LocalError, match="0 keys"):
        Keyring().seal(b"", b"", NONCE, 1)
    with pytest.raises(LocalError, match="version 2"):
        ring.seal(b"", b"", NONCE, 2)


@pytest.mark.rule("6.3a", "6.3b", "6.3f")
@pytest.mark.upstream("TestEncryptDecrypt_V0", "TestEncryptDecrypt_V1")
@given(st.binary(max_size=300), st.binary(max_size=20), keys, st.sampled_from([0, 1]))
def test_any_ring_with_the_key_opens_what_was_sealed(plain: bytes, aad: bytes, key: bytes, version: int) -> None:
    payload = Keyring((key,)).seal(plain, aad, NONCE, version)
    assert len(payload) == sealed_length(len(plain), version)
    assert Keyring((A, B, C)).open_untrusted(payload, aad) == plain
    with pytest.raises(BadPacket):
        Keyring((bytes(range(1, 17)),)).open_untrusted(payload, aad)
    with pytest.raises(BadPacket):
        Keyring((key,)).open_untrusted(payload, aad + b"x")


@given(st.binary(max_size=60), st.data())
def test_a_changed_payload_is_refused(plain: bytes, data: st.DataObject) -> None:
    payload = bytearray(Keyring((A,)).seal(plain, b"", NONCE, 1))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadPacket):
        Keyring((A,)).open_untrusted(bytes(payload), b"")


@pytest.mark.rule("6.3a")
@pytest.mark.upstream("TestPKCS7")
def test_padding_comes_and_goes_for_every_length() -> None:
    ring = Keyring((A,))
    for length in range(256):
        payload = ring.seal(bytes(length), b"", NONCE, 0)
        padded = AESGCM(A).decrypt(NONCE, payload[13:], b"")
        padding = 16 - length % 16
        assert padded == bytes(length) + bytes((padding,)) * padding
        assert ring.open_untrusted(payload, b"") == bytes(length)


@pytest.mark.rule("6.3d")
@pytest.mark.parametrize("padded", [bytes(16), b"\x11" * 16, bytes(15) + b"\xff", bytes(31) + b"\x00"])
def test_a_key_holders_bad_padding_is_a_failed_decryption(padded: bytes) -> None:
    payload = b"\x00" + NONCE + AESGCM(A).encrypt(NONCE, padded, b"")
    with pytest.raises(BadPacket, match="padding"):
        Keyring((A,)).open_untrusted(payload, b"")


@pytest.mark.rule("6.3c")
@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x01", b"\x01" + bytes(27), b"\x00" + bytes(43), b"\x02" + bytes(60), b"\xff" * 60]
)
def test_short_payloads_and_unknown_versions_are_refused(payload: bytes) -> None:
    with pytest.raises(BadPacket):
        Keyring((A,)).open_untrusted(payload, b"")


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("key", [A, C])
def test_a_large_payload_is_opened_in_turns(version: int, key: bytes) -> None:
    plain = bytes(2 * DECRYPT_TURN + 5)
    payload = Keyring((key,)).seal(plain, b"aad", NONCE, version)
    opening = Keyring((A, C)).open_in_turns_untrusted(payload, b"aad")
    assert with_pauses(opening) == (plain, 3 * (1 if key == A else 2))
    with pytest.raises(BadPacket, match="no key"):
        for _ in Keyring((A, C)).open_in_turns_untrusted(payload, b"other"):
            pass


def test_a_small_payload_is_opened_in_one_turn() -> None:
    payload = Keyring((A,)).seal(b"plain", b"", NONCE, 1)
    assert with_pauses(Keyring((A,)).open_in_turns_untrusted(payload, b"")) == (b"plain", 0)


@given(st.binary(min_size=1, max_size=80))
def test_metallbs_key_is_its_secret_padded_with_the_hash_of_nothing(secret: bytes) -> None:
    key = metallb_key(secret)
    assert len(key) == 32
    assert key == secret[:32] + hashlib.sha256(b"").digest()[: 32 - min(len(secret), 32)]


def test_an_empty_secret_is_no_key() -> None:
    with pytest.raises(LocalError):
        metallb_key(b"")
