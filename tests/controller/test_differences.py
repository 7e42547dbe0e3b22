"""What is different between two lists, beside the plain way to say it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.model import Service
from controller.differences import compare
from tests.controller.helpers import name, service

LETTERS = "abcdefgh"
LISTS = st.lists(st.sampled_from("-01"), min_size=len(LETTERS), max_size=len(LETTERS)).map("".join)
"""For each letter: no service, or one with this port."""
OLD = {(letter, port): service(letter, port=port) for letter in LETTERS for port in "01"}


@given(before=LISTS, after=LISTS, same=st.sets(st.sampled_from(LETTERS)))
def test_changed_and_gone(before: str, after: str, same: set[str]) -> None:
    """Whether an object is the same one or merely equal makes no difference."""
    old = [OLD[key] for key in zip(LETTERS, before, strict=True) if key in OLD]
    new: list[Service] = [
        OLD[letter, port] if letter in same else service(letter, port=port)
        for letter, port in zip(LETTERS, after, strict=True)
        if port != "-"
    ]
    differences = compare(tuple(old), tuple(new))
    assert list(differences.changed) == [each for each in new if each not in old]
    assert list(differences.gone) == [
        name(letter) for letter, had, has in zip(LETTERS, before, after, strict=True) if had != "-" and has == "-"
    ]
