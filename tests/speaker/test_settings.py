"""The settings: they come out of an argument list as they went in, and nothing else passes for some."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.ownership import Election
from speaker.settings import Settings, SettingsError

texts = st.text(max_size=6)
paths = st.none() | texts
places = st.tuples(texts, st.integers(0, 65535))
some_settings = st.builds(
    Settings,
    node=texts,
    source=texts,
    bind=places,
    api=texts,
    state=texts,
    advertise=st.none() | places,
    joins=st.lists(texts, max_size=3).map(tuple),
    interfaces=st.none() | st.lists(texts, max_size=3).map(tuple),
    local_address=st.booleans(),
    election=st.sampled_from(Election),
    key_file=paths,
    profile=texts,
    config=paths,
    load_balancer_class=paths,
    ignore_exclude_label=st.booleans(),
)
PLAIN = Settings(node="ann", source="/manifests", bind=("10.0.0.1", 7946), api="/run/s.sock", state="/var/lib/s")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts, lambda inner: st.lists(inner, max_size=3)
)


@given(some_settings)
def test_they_come_back(settings: Settings) -> None:
    text = settings.to_text()
    assert Settings.from_text(text) == settings
    assert text.isascii()
    assert text.isprintable()


@given(st.text(max_size=40))
def test_any_text_is_settings_or_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        Settings.from_text(text)


@given(st.sampled_from(list(json.loads(PLAIN.to_text()))), anything)
def test_any_value_is_taken_or_refused(name: str, value: object) -> None:
    with suppress(SettingsError):
        Settings.from_text(json.dumps({**json.loads(PLAIN.to_text()), name: value}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": None}, "node must be a string"),
        ({"bind": ["10.0.0.1", 65536]}, "bind must be an array of a host and a port"),
        ({"bind": ["10.0.0.1", True]}, "bind must be an array of a host and a port"),
        ({"joins": "ann"}, "joins must be an array of strings"),
        ({"local_address": 1}, "local_address must be true or false"),
        ({"election": "monarchy"}, "election must be one of starling, metallb"),
        ({"password": "x"}, "no setting 'password'; there are node, source"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_text(json.dumps({**json.loads(PLAIN.to_text()), **change}))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="the setting 'node' is missing"):
        Settings.from_text("{}")


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "1"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="one JSON object"):
        Settings.from_text(text)
