"""The layers of packets: what is put on comes off, what is missing or wrong is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import codec
from gossip.envelope import Envelope, WireConfig, split_label_untrusted
from gossip.errors import BadPacket, ConfigError
from gossip.keyring import Keyring
from gossip.lzw import compress
from gossip.messages import Ping, UserMessage
from gossip.packets import read_packet_untrusted
from gossip.turns import run_to_end
from tests.vectors import NONCE

KEY, OTHER_KEY = bytes(range(16)), bytes(32)
BODY = codec.encode(UserMessage(b"hello"))


def envelope(*keys: bytes, **config: object) -> Envelope:
    return Envelope(WireConfig(**config), Keyring(keys), lambda length: NONCE[:length])  # type: ignore[arg-type]  # tests give what the fields take


configs = st.builds(
    WireConfig,
    label=st.binary(max_size=255),
    compression=st.booleans(),
    verify_outgoing=st.just(True),
    protocol_version=st.integers(1, 5),
)


@pytest.mark.rule("4.3f")
@given(configs, st.lists(st.sampled_from([KEY, OTHER_KEY]), max_size=2), st.booleans(), st.binary(max_size=400))
def test_what_is_wrapped_is_unwrapped(config: WireConfig, keys: list[bytes], crc: bool, payload: bytes) -> None:
    message = UserMessage(payload)
    layers = Envelope(config, Keyring(keys), lambda length: NONCE[:length])
    data = layers.wrap_packet(codec.encode(message), crc=crc)
    contents = run_to_end(read_packet_untrusted(layers.unwrap_packet_untrusted(data)))
    assert contents.messages == (message,)
    assert len(data) <= len(codec.encode(message)) + layers.packet_overhead + 5 * crc


@pytest.mark.rule("4.3b")
@given(st.binary(max_size=300))
def test_a_packet_is_compressed_only_if_that_is_shorter(payload: bytes) -> None:
    body = codec.encode(UserMessage(payload))
    data = envelope(compression=True).wrap_packet(body, crc=False)
    assert data == body or len(data) < len(body)


@pytest.mark.rule("4.3b")
def test_what_compression_does_not_shorten_is_sent_as_it_is() -> None:
    bodies = (b"\x08" + bytes(range(varied)) + b"a" * repeated for varied in range(60) for repeated in range(100))
    body = next(body for body in bodies if len(codec.encode_compressed(compress(body))) == len(body))
    assert envelope(compression=True).wrap_packet(body, crc=False) == body


@pytest.mark.rule("6.4a", "6.4b")
@pytest.mark.upstream("TestAddLabelHeaderToPacket")
def test_a_label_precedes_the_packet() -> None:
    assert envelope().wrap_packet(BODY, crc=False) == BODY
    assert envelope(label=b"foo").wrap_packet(BODY, crc=False) == b"\xf4\x03foo" + BODY
    assert envelope(label=b"foo").wrap_packet(b"", crc=False) == b"\xf4\x03foo"
    assert envelope(label=b"x" * 255).wrap_packet(BODY, crc=False) == b"\xf4\xff" + b"x" * 255 + BODY
    with pytest.raises(ConfigError, match=r"wire\.label"):
        WireConfig(label=b"x" * 256)


@pytest.mark.upstream("TestRemoveLabelHeaderFromPacket")
@pytest.mark.parametrize("data", [b"", b"\x00\x82", b"\x0d\x81", b"\x01" + bytes(40)])
def test_a_packet_without_label_passes_untouched(data: bytes) -> None:
    assert split_label_untrusted(data) == (b"", data)


@pytest.mark.rule("4.4a", "6.4b")
@pytest.mark.upstream("TestRemoveLabelHeaderFromPacket")
@pytest.mark.parametrize("data", [b"\xf4", b"\xf4\x00", b"\xf4\x00rest", b"\xf4\x05abcd"])
def test_a_malformed_label_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket, match="malformed label"):
        split_label_untrusted(data)


@pytest.mark.upstream("TestRemoveLabelHeaderFromPacket")
def test_label_and_rest_are_split() -> None:
    assert split_label_untrusted(b"\xf4\x03abcrest") == (b"abc", b"rest")
    assert split_label_untrusted(b"\xf4\x03abc") == (b"abc", b"")


@pytest.mark.rule("4.4a", "6.4c")
@pytest.mark.parametrize(("ours", "theirs"), list(itertools.permutations([b"", b"red", b"re", b"Red"], 2)))
def test_labels_must_agree_exactly(ours: bytes, theirs: bytes) -> None:
    data = envelope(label=theirs).wrap_packet(BODY, crc=False)
    with pytest.raises(BadPacket):
        envelope(label=ours).unwrap_packet_untrusted(data)


@pytest.mark.rule("4.4b", "6.4d")
def test_where_somebody_else_takes_the_label_off_none_may_be_left() -> None:
    behind = envelope(KEY, label=b"red", skip_inbound_label_check=True)
    labelled = envelope(KEY, label=b"red").wrap_packet(BODY, crc=False)
    assert behind.unwrap_packet_untrusted(labelled[5:]) == BODY
    with pytest.raises(BadPacket):
        behind.unwrap_packet_untrusted(labelled)
    assert behind.wrap_packet(BODY, crc=False) == labelled


@pytest.mark.upstream("TestLabelOverhead")
def test_the_overhead_is_what_label_and_encryption_take() -> None:
    assert envelope().packet_overhead == 0
    assert envelope(label=b"abc").packet_overhead == 5
    assert envelope(KEY).packet_overhead == 29
    assert envelope(KEY, verify_outgoing=False).packet_overhead == 0
    assert envelope(KEY, label=b"x" * 255, protocol_version=1).packet_overhead == 257 + 45


@pytest.mark.rule("4.4d", "6.2a")
@pytest.mark.upstream("TestIngestPacket_CRC")
@given(st.integers(1, 7), st.integers(1, 255))
def test_a_damaged_checksum_is_refused(at: int, flip: int) -> None:
    data = bytearray(envelope().wrap_packet(BODY, crc=True))
    assert len(data) == len(BODY) + 5
    assert envelope().unwrap_packet_untrusted(bytes(data)) == BODY
    data[at] ^= flip
    with pytest.raises(BadPacket, match="checksum"):
        envelope().unwrap_packet_untrusted(bytes(data))


@pytest.mark.rule("6.2b")
@pytest.mark.parametrize("data", [b"\x0c", b"\x0c\x00\x00\x00"])
def test_too_short_a_checksum_is_a_message_of_an_unknown_type(data: bytes) -> None:
    assert envelope().unwrap_packet_untrusted(b"\x0c" + bytes(4)) == b""
    body = envelope().unwrap_packet_untrusted(data)
    assert body == data
    with pytest.raises(BadPacket, match="type 12"):
        run_to_end(read_packet_untrusted(body))


@pytest.mark.rule("4.4c", "6.3f")
def test_every_key_decrypts_and_the_first_encrypts() -> None:
    data = envelope(OTHER_KEY, KEY).wrap_packet(BODY, crc=False)
    assert data == envelope(OTHER_KEY).wrap_packet(BODY, crc=False)
    assert envelope(KEY, OTHER_KEY).unwrap_packet_untrusted(data) == BODY
    with pytest.raises(BadPacket, match="no key"):
        envelope(KEY).unwrap_packet_untrusted(data)


@pytest.mark.rule("4.4c", "6.3h")
def test_a_running_ring_can_be_given_its_first_key() -> None:
    steps = [
        envelope(),
        envelope(KEY, verify_incoming=False, verify_outgoing=False),
        envelope(KEY, verify_incoming=False),
        envelope(KEY),
    ]
    for earlier, later in itertools.pairwise(steps):
        for sender, receiver in ((earlier, later), (later, earlier), (earlier, earlier)):
            data = sender.wrap_packet(BODY, crc=True)
            assert receiver.unwrap_packet_untrusted(data) == BODY
    with pytest.raises(BadPacket):
        steps[-1].unwrap_packet_untrusted(BODY)


PING = codec.encode(Ping(7, "node-b", bytes(4), 7946, "a-node-with-a-name-of-its-own"))


def test_bytes_under_a_strange_key_are_no_ping() -> None:
    """The version byte of encryption is the type of a ping, and a nonce may start like an empty map."""
    lenient = envelope(KEY, verify_incoming=False)
    assert lenient.unwrap_packet_untrusted(PING) == PING
    assert len(PING) > 45
    for first in range(256):
        for version in (1, 5):
            nonce = bytes((first,)) + NONCE[1:]
            strange = Envelope(WireConfig(protocol_version=version), Keyring((OTHER_KEY,)), lambda _, n=nonce: n)  # type: ignore[misc]  # the default binds the loop's value
            with pytest.raises(BadPacket):
                lenient.unwrap_packet_untrusted(strange.wrap_packet(BODY, crc=False))


@pytest.mark.rule("7b")
@pytest.mark.parametrize("version", [0, 6, -1])
def test_a_protocol_version_nobody_speaks_is_a_configuration_error(version: int) -> None:
    with pytest.raises(ConfigError, match=r"wire\.protocol_version"):
        WireConfig(protocol_version=version)


@given(st.binary(max_size=100), st.sampled_from([(), (KEY,)]), st.booleans())
def test_any_bytes_are_unwrapped_or_refused(data: bytes, keys: tuple[bytes, ...], verify: bool) -> None:
    try:
        body = envelope(*keys, label=b"", verify_incoming=verify).unwrap_packet_untrusted(data)
    except BadPacket:
        return
    assert not keys or not verify
    assert data.endswith(body)
