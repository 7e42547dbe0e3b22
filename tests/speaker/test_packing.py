"""The typed wrapper of msgpack: what is packed comes out, and hostile bytes raise one exception."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.packing import BadPacking, pack, unpack_untrusted

LIMIT = 10_000

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.binary(max_size=3), inner),
    max_leaves=10,
)


@given(plain)
def test_what_is_packed_comes_out(value: object) -> None:
    assert unpack_untrusted(pack(value), 100_000) == value


def test_tuples_come_out_as_lists() -> None:
    assert unpack_untrusted(pack({"k": (1, (b"x", "x"))}), LIMIT) == {"k": [1, [b"x", "x"]]}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_bad_packing(data: bytes) -> None:
    with suppress(BadPacking):
        unpack_untrusted(data, LIMIT)


BAD = {
    "nothing": b"",
    "a byte of no kind": b"\xc1",
    "two values": b"\x01\x01",
    "cut": b"\x92\x01",
    "a long array": b"\xdd\xff\xff\xff\xff",
    "long bytes": b"\xc6\xff\xff\xff\xff",
    "text that is none": b"\xa1\xff",
    "a number as a key": b"\x81\x01\x02",
    "nested too deep": b"\x91" * 5_000 + b"\x01",
    "too long": bytes(LIMIT + 1),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_said(kind: str) -> None:
    with pytest.raises(BadPacking, match=r"not msgpack: .|is the limit"):
        unpack_untrusted(BAD[kind], LIMIT)


@pytest.mark.parametrize(("value", "error"), [(object(), TypeError), ({1, 2}, TypeError), (2**64, OverflowError)])
def test_a_value_of_another_kind_is_our_own_mistake(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        pack(value)
