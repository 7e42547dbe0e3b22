"""LZW beyond the vectors: round trips, an independent decoder, steps of any size, and streams that lie."""

import contextlib
import io
import struct
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from gossip import lzw
from gossip.errors import BadPacket
from gossip.streams import MAX_INFLATED
from tests.gossip.wire.helpers import decompress_untrusted

# Bytes from a small alphabet fill the table with long strings, bytes from a large one with many.
buffers = st.binary(max_size=3000) | st.lists(st.sampled_from([b"a", b"b", b"abc", bytes(40)]), max_size=400).map(
    b"".join
)
noise = st.integers(0, 20_000).map(
    lambda size: b"".join(struct.pack("<I", i * 2654435761 % 2**32) for i in range(size // 4))
)


@pytest.mark.rule("6.1a")
@given(buffers | noise)
@example(b"")
def test_what_is_compressed_is_inflated(data: bytes) -> None:
    assert decompress_untrusted(lzw.compress(data), len(data)) == data


@given(buffers | noise, st.integers(1, 5000))
def test_steps_of_any_size_give_the_same(data: bytes, budget: int) -> None:
    deflater = lzw.Deflater(data)
    while not deflater.step(budget):
        pass
    assert deflater.step(budget)
    assert deflater.output == lzw.compress(data)
    inflater = lzw.Inflater(deflater.output, len(data))
    while not inflater.step(budget):
        pass
    assert inflater.produced == len(data)
    assert inflater.output == data
    assert bytes(inflater.take()) == data


@given(buffers, st.integers(1, 500))
def test_a_step_does_no_more_than_its_budget(data: bytes, budget: int) -> None:
    inflater = lzw.Inflater(lzw.compress(data), len(data))
    before, finished = 0, False
    while not finished:
        finished = inflater.step(budget)
        assert inflater.produced - before < budget + 4096  # one code may stand for up to 3,839 bytes
        before = inflater.produced


def test_codes_that_yield_nothing_are_work_too() -> None:
    clears = int("100000000" * 8000, 2).to_bytes(9000, "little")
    inflater = lzw.Inflater(clears, 100)
    assert not inflater.step(100)
    assert not inflater.step(100)
    assert inflater.produced == 0


def _as_gif(stream: bytes, width: int) -> bytes:
    blocks = b"".join(bytes((len(stream[i : i + 255]),)) + stream[i : i + 255] for i in range(0, len(stream), 255))
    palette = bytes(value for value in range(256) for _ in range(3))
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, 1, 0xF7, 0, 0)
        + palette
        + b","
        + struct.pack("<HHHHB", 0, 0, width, 1, 0)
        + b"\x08"
        + blocks
        + b"\x00;"
    )


@given((buffers | noise).filter(bool))
def test_an_independent_decoder_reads_what_we_write(data: bytes) -> None:
    with Image.open(io.BytesIO(_as_gif(lzw.compress(data), len(data)))) as image:
        assert image.convert("L").tobytes() == data


@pytest.mark.rule("6.1c")
@given(buffers.filter(bool), st.data())
def test_a_stream_cut_before_its_end_code_is_refused(data: bytes, draw: st.DataObject) -> None:
    stream = lzw.compress(data)
    # The end code has at least nine bits, so without its last two bytes no stream has all of it.
    cut = draw.draw(st.integers(0, len(stream) - 2))
    with pytest.raises(BadPacket):
        decompress_untrusted(stream[:cut], len(data))


@pytest.mark.rule("6.1b")
@given(buffers, st.binary(max_size=9))
def test_bytes_after_the_end_code_are_ignored(data: bytes, rest: bytes) -> None:
    assert decompress_untrusted(lzw.compress(data) + rest, len(data)) == data


def _codes(*codes: int) -> bytes:
    """Nine-bit codes as a stream."""
    return sum(code << (9 * index) for index, code in enumerate(codes)).to_bytes((9 * len(codes) + 7) // 8, "little")


@pytest.mark.rule("6.1b")
def test_a_stream_need_not_start_with_a_clear_code() -> None:
    assert decompress_untrusted(_codes(97, 98, 258, 257), 10) == b"abab"


@pytest.mark.rule("6.1b")
def test_the_newest_entry_may_be_used_at_once() -> None:
    assert decompress_untrusted(_codes(256, 97, 258, 259, 257), 10) == b"aaaaaa"


@pytest.mark.rule("6.1c")
@pytest.mark.parametrize("codes", [(258,), (256, 300), (97, 259, 257), (97, 98, 256, 258, 257), (97, 511, 257)])
def test_a_code_above_the_newest_entry_is_refused(codes: tuple[int, ...]) -> None:
    with pytest.raises(BadPacket, match="not in the table"):
        decompress_untrusted(_codes(*codes) + bytes(8), 1000)


@pytest.mark.rule("6.1b")
def test_a_full_table_is_decoded_on_without_growing() -> None:
    """Our own encoder clears in time; another one may go on with what it has."""
    bits, held = 0, 0
    width, known = 9, 257
    for _ in range(5000):
        bits |= 120 << held
        held += width
        known = min(known + 1, 4095)
        width = max(width, known.bit_length())
    bits |= 4095 << held
    held += 12
    bits |= 257 << held
    held += 12
    stream = bits.to_bytes((held + 7) // 8, "little")
    assert decompress_untrusted(stream, 6000) == b"x" * 5002


def test_a_full_table_takes_no_more_memory() -> None:
    """A hostile stream may go on for ever without a clear code."""
    widths = [9] * 255 + [10] * 512 + [11] * 1024 + [12] * 60_000
    bits = f"{257:012b}" + "".join(f"{120:0{width}b}" for width in reversed(widths))
    stream = int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
    inflater = lzw.Inflater(stream, len(widths))
    tracemalloc.start()
    try:
        assert inflater.step(len(stream))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert inflater.produced == len(widths)
    assert peak < 500_000


@pytest.mark.rule("6.1a")
def test_the_pair_that_was_pending_at_a_reset_is_not_remembered() -> None:
    """A sequence with every pair of 64 letters once: each code is a literal until the table is full."""
    sequence = [x for a in range(64) for x in (a, *(y for b in range(a + 1, 64) for y in (a, b)))]
    full = bytes(sequence[:3839])
    data = full + full[-2:] * 50
    assert decompress_untrusted(lzw.compress(data), len(data)) == data


@pytest.mark.rule("6.1d")
@given(buffers.filter(lambda data: len(data) > 1), st.data())
def test_the_limit_is_exact(data: bytes, draw: st.DataObject) -> None:
    stream = lzw.compress(data)
    limit = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(BadPacket, match=f"more than {limit} bytes"):
        decompress_untrusted(stream, limit)


@pytest.mark.rule("6.1d")
def test_a_bomb_is_stopped_at_its_limit() -> None:
    inflater = lzw.Inflater(lzw.compress(bytes(1_000_000)), 10_000)
    with pytest.raises(BadPacket):
        inflater.step(10**9)
    assert inflater.produced <= 10_000 + 4096


@pytest.mark.rule("5.2g")
@pytest.mark.slow
@pytest.mark.upstream("TestDecompressPayload_Limit")
def test_twenty_mebibytes_inflate_and_more_than_forty_do_not() -> None:
    accepted = bytes(20 * 1024 * 1024 + 1)
    assert decompress_untrusted(lzw.compress(accepted), MAX_INFLATED) == accepted
    with pytest.raises(BadPacket):
        decompress_untrusted(lzw.compress(bytes(MAX_INFLATED + 1)), MAX_INFLATED)


@given(st.binary(max_size=400))
def test_any_bytes_are_inflated_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadPacket):
        assert len(decompress_untrusted(data, 10_000)) <= 10_000
