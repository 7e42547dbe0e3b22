"""What goes over the control socket: every request comes back as it was, and nothing else passes for one."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import LocalError
from gossip.control.handlers import HANDLERS
from gossip.control.requests import (
    MAX_LINE,
    REQUESTS,
    FireEvent,
    Join,
    Request,
    SendMessage,
    SpreadMessage,
    decode_request,
    encode_request,
)

texts = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
requests = st.one_of(
    st.builds(Join, st.lists(texts, max_size=3).map(tuple)),
    st.builds(SendMessage, texts, st.binary(max_size=20), st.booleans()),
    st.builds(FireEvent, texts, st.binary(max_size=20), st.booleans()),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
fields = st.sampled_from(["targets", "name", "to", "payload", "reliable", "coalesce", "action", "key"])


@given(requests)
def test_requests_come_back(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


def test_every_request_has_a_handler() -> None:
    assert list(HANDLERS) == list(REQUESTS.values())


@given(st.binary(max_size=60))
def test_any_line_is_a_request_or_told_to_be_none(line: bytes) -> None:
    with pytest.raises(LocalError):
        decode_request(line)


@given(st.sampled_from(list(REQUESTS)), st.dictionaries(fields, anything, max_size=4))
def test_any_object_is_a_request_or_told_to_be_none(do: str, values: dict[str, object]) -> None:
    with suppress(LocalError):
        decode_request(json.dumps({**values, "do": do}).encode())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "one JSON object a line"),
        (b"[" * 100_000, "one JSON object a line"),
        (b"\xff", "one JSON object a line"),
        (b"[]", 'says what to "do"'),
        (b'{"do": 1}', 'says what to "do"'),
        (b'{"do": "dance"}', "no request 'dance'; there are members, info, events"),
        (b'{"do": "join"}', "join: the field 'targets' is missing"),
        (b'{"do": "join", "targets": "a"}', "join: targets must be an array of strings"),
        (b'{"do": "join", "targets": [1]}', "join: targets must be a string"),
        (b'{"do": "ping", "to": "\\ud800"}', "ping: to must be text that bytes can stand for"),
        (b'{"do": "broadcast", "payload": "0"}', "broadcast: payload must be hexadecimal digits"),
        (b'{"do": "send", "to": "a", "payload": "", "reliable": 1}', "send: reliable must be true or false"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(line: bytes, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        decode_request(line)


def test_a_request_that_the_agent_would_not_read_is_not_sent() -> None:
    with pytest.raises(LocalError, match="is too long; the agent reads 1048576"):
        encode_request(SpreadMessage(bytes(MAX_LINE)))
