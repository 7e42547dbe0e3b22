"""`ring decode`: what a captured packet says, a line of JSON each."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gossip.cli import ring
from tests.interop.programs import PROJECT
from tests.vectors import Vector, name_of, nilable, vectors

PACKETS = vectors("packet")
STREAMS = vectors("stream")
ACK = "0282a75061796c6f6164c0a55365714e6f01"
PING = "0082a44e6f6465a162a55365714e6f01"
COMPOUND = f"0702{len(PING) // 2:04x}{len(ACK) // 2:04x}{PING}{ACK}"


def decode(*arguments: str) -> tuple[Result, list[dict[str, Any]]]:
    result = CliRunner().invoke(ring, ["decode", *arguments])
    assert result.stderr == ""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["schema"] == 1 and ("messages" in line) != ("error" in line) for line in lines)
    return result, lines


def options_for(vector: Vector) -> list[str]:
    key, label = nilable(vector.fields["key"]), vector.fields["label"]
    options = ["--key", base64.b64encode(key).decode()] if key else []
    return [*options, "--label", label] if label else options


def test_a_packet_is_a_line_with_its_layers_and_messages() -> None:
    result, lines = decode(ACK, COMPOUND)
    assert result.exit_code == 0
    assert lines == [
        {"schema": 1, "layers": [], "messages": [{"type": "ackResp", "Payload": None, "SeqNo": 1}]},
        {
            "schema": 1,
            "layers": ["compound"],
            "messages": [
                {"type": "ping", "Node": "b", "SeqNo": 1, "SourceAddr": "", "SourceNode": "", "SourcePort": 0},
                {"type": "ackResp", "Payload": None, "SeqNo": 1},
            ],
        },
    ]


@pytest.mark.parametrize("vector", PACKETS, ids=name_of)
def test_every_recorded_packet_is_taken_apart(vector: Vector) -> None:
    result, (line,) = decode(*options_for(vector), vector.data.hex())
    assert result.exit_code == 0
    assert line["messages"]
    assert ("label" in line["layers"]) == bool(vector.fields["label"])
    assert any(layer.startswith("encrypt") for layer in line["layers"]) == (
        nilable(vector.fields["key"]) is not None and vector.fields["gossipVerifyOutgoing"]
    )


@pytest.mark.parametrize("vector", STREAMS, ids=name_of)
def test_every_recorded_stream_is_taken_apart(vector: Vector) -> None:
    result, (line,) = decode(*options_for(vector), "--stream", vector.data.hex())
    assert result.exit_code == 0
    assert line["messages"]


def test_what_cannot_be_read_is_a_line_too_and_a_no() -> None:
    result, (wrong, right) = decode("ff", ACK)
    assert result.exit_code == 1
    assert wrong["error"] == "a message of type 255 has no place here"
    assert right["messages"]


def test_a_packet_as_tools_print_it() -> None:
    spaced = " ".join(ACK[start : start + 4] for start in range(0, len(ACK), 4))
    colons = ":".join(ACK[start : start + 2] for start in range(0, len(ACK), 2))
    _, lines = decode(spaced, colons)
    assert [line["messages"][0]["type"] for line in lines] == ["ackResp", "ackResp"]


def test_an_encrypted_packet_needs_its_key_and_its_label() -> None:
    vector = next(v for v in PACKETS if nilable(v.fields["key"]) and v.fields["label"])
    key = options_for(vector)[:2]
    other = ["--key", base64.b64encode(bytes(32)).decode()]
    for options in ([], other, [*key, "--label", "other"]):
        result, (line,) = decode(*options, vector.data.hex())
        assert (result.exit_code, "error" in line) == (1, True)
    for options in (key, [*other, *key]):
        assert decode(*options, vector.data.hex())[0].exit_code == 0


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3), st.booleans())
def test_whatever_was_captured_is_a_line_each(captured: list[bytes], stream: bool) -> None:
    _, lines = decode(*(["--stream"] if stream else []), *(data.hex() for data in captured))
    assert len(lines) == len(captured)


def test_it_is_quick_to_start() -> None:
    """Nothing of what runs a ring is imported to take a packet apart."""
    script = "import sys; from gossip.cli import ring; ring(['decode', '00'], standalone_mode=False)"
    check = "assert not {'trio', 'gossip.control.agent', 'gossip.driver'} & set(sys.modules)"
    code = f"{script.partition(';')[0]}\ntry:\n    {script.partition('; ')[2]}\nexcept SystemExit:\n    pass\n{check}\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"error"' in done.stdout
