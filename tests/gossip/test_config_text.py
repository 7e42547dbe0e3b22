"""The ring's timings as a file: what it changes, and what is refused with what there is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import ConfigError, parse_config, profile


def test_an_empty_text_is_the_profile() -> None:
    assert parse_config("", "lan") == profile("lan")


def test_what_is_said_is_changed_and_nothing_else() -> None:
    config = parse_config('profile = "wan"\n[probe]\ninterval = 3\ntimeout = 1.5\n[gossip]\nnodes = 5\n', "lan")
    base = profile("wan")
    assert (config.probe.interval, config.probe.timeout, config.gossip.nodes) == (3.0, 1.5, 5)
    assert config.suspicion == base.suspicion
    assert config.wire == base.wire


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[probe", "no TOML"),
        ("[probes]\ninterval = 1", r"no table \[probes\]; there are \[probe\]"),
        ("probe = 3", r"no table \[probe\]"),
        ("[wire]\nlabel = 'x'", r"no table \[wire\]"),
        ("[probe]\nintervall = 1", "no setting probe.intervall; there are interval"),
        ("[probe]\ninterval = '1s'", "probe.interval is '1s'; it has to be a number"),
        ("[probe]\ninterval = true", "probe.interval is True; it has to be a number"),
        ("[probe]\ninterval = nan", "it has to be a number"),
        ("[probe]\nindirect_checks = 1.5", "it has to be a whole number"),
        ("[probe]\nstream_pings = 1", "it has to be true or false"),
        ("[probe]\ntimeout = 9", r"probe.timeout 9.0 must be in \(0"),
        ("profile = 'fastest'", "there are"),
        ("profile = 3", "there are"),
        ("#" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config(text, "lan")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        parse_config(text, "lan")
