"""The walker against the parser it guards: same ends, same verdicts, at any pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import BadPacket
from gossip.packing import Walker, pack, unpack_untrusted, walk_untrusted

tokens = st.sampled_from(
    [
        b"\x00",
        b"\xff",
        b"\xc0",
        b"\xc2",
        b"\xc3",
        b"\xa0",
        b"\xa3abc",
        b"\xbf" + b"x" * 31,
        b"\xc4\x01a",
        b"\xc5\x00\x02ab",
        b"\xc6\x00\x00\x00\x01a",
        b"\xc7\x01\x05a",
        b"\xc8\x00\x01\x05a",
        b"\xc9\x00\x00\x00\x01\x05a",
        b"\xca" + bytes(4),
        b"\xcb" + bytes(8),
        b"\xcc\x01",
        b"\xcd" + bytes(2),
        b"\xce" + bytes(4),
        b"\xcf" + bytes(8),
        b"\xd0\x01",
        b"\xd1" + bytes(2),
        b"\xd2" + bytes(4),
        b"\xd3" + bytes(8),
        b"\xd4\x05a",
        b"\xd5\x05ab",
        b"\xd6\x05abcd",
        b"\xd7\x05" + bytes(8),
        b"\xd8\x05" + bytes(16),
        b"\xd9\x01a",
        b"\xda\x00\x01a",
        b"\xdb\x00\x00\x00\x01a",
    ]
)


def _array(items: list[bytes]) -> bytes:
    return b"\xdc" + len(items).to_bytes(2, "big") + b"".join(items)


def _map(items: list[bytes]) -> bytes:
    items = items[: len(items) // 2 * 2]
    return b"\xdf" + (len(items) // 2).to_bytes(4, "big") + b"".join(items)


values = st.recursive(
    tokens,
    lambda inner: (
        st.lists(inner, max_size=6).map(_array)
        | st.lists(inner, max_size=6).map(_map)
        | st.lists(inner, max_size=6).map(lambda items: bytes((0x90 | len(items),)) + b"".join(items))
        | st.lists(inner, max_size=3).map(lambda items: bytes((0x80 | len(items),)) + b"".join(items * 2))
    ),
    max_leaves=20,
)


@given(values, st.binary(max_size=5))
def test_a_value_ends_where_the_parser_says(value: bytes, rest: bytes) -> None:
    assert walk_untrusted(value + rest) == len(value)
    assert unpack_untrusted(value + rest)[1] == len(rest)


@given(values)
def test_a_value_may_come_byte_by_byte(value: bytes) -> None:
    walker = Walker(3, len(value))
    buffer = bytearray(3)
    for byte in value[:-1]:
        buffer.append(byte)
        assert not walker.advance(buffer)
    buffer.append(value[-1])
    assert walker.advance(buffer)
    assert walker.position == 3 + len(value)


@given(values, st.data())
def test_a_value_cut_short_is_refused_by_both(value: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(BadPacket):
        walk_untrusted(value[:cut])
    with pytest.raises(BadPacket):
        unpack_untrusted(value[:cut])


@given(st.binary(max_size=60))
def test_the_walker_takes_what_the_parser_takes(data: bytes) -> None:
    """Extension type -1 apart: the library checks that the timestamps it holds are times."""
    try:
        _, rest = unpack_untrusted(data)
    except BadPacket as reason:
        if "imestamp" in str(reason) or "nanoseconds" in str(reason):
            return
        with pytest.raises(BadPacket):
            walk_untrusted(data)
    else:
        assert walk_untrusted(data) == len(data) - rest


def test_a_declared_length_is_refused_before_it_is_waited_for() -> None:
    walker = Walker(0, 1000)
    with pytest.raises(BadPacket):
        walker.advance(b"\xc6\x00\x00\x10\x00")


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.binary())
def test_text_and_bytes_share_one_form(value: str | bytes) -> None:
    raw = value.encode() if isinstance(value, str) else value
    assert pack(value) == pack(raw)
    assert unpack_untrusted(pack(value)) == (raw, 0)
    assert pack(value)[0] not in range(0xC4, 0xC7)
    assert pack(value)[0] != 0xD9
