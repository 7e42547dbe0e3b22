"""What the types themselves know: which endpoint is usable, what a selector selects."""

import pytest

from cluster.model import Community, Endpoint, LabelSelector, ObjectName, Operator, Pairs, Requirement, Snapshot

LABELS: Pairs = (("rack", "a"), ("zone", "1"))


@pytest.mark.parametrize(
    ("ready", "serving", "usable"),
    [
        (True, None, True),
        (None, None, True),
        (None, False, True),
        (False, True, True),
        (False, False, False),
        (False, None, False),
    ],
)
def test_usable_endpoints(ready: bool | None, serving: bool | None, usable: bool) -> None:
    """metallb-interface.md §3.11: ready or unknown, or serving."""
    assert Endpoint(addresses=(), ready=ready, serving=serving).is_usable is usable


@pytest.mark.parametrize(
    ("operator", "key", "values", "met"),
    [
        (Operator.IN, "rack", ("a", "b"), True),
        (Operator.IN, "rack", ("b",), False),
        (Operator.IN, "disk", ("a",), False),
        (Operator.NOT_IN, "rack", ("b",), True),
        (Operator.NOT_IN, "rack", ("a",), False),
        (Operator.NOT_IN, "disk", ("a",), True),
        (Operator.EXISTS, "rack", (), True),
        (Operator.EXISTS, "disk", (), False),
        (Operator.DOES_NOT_EXIST, "rack", (), False),
        (Operator.DOES_NOT_EXIST, "disk", (), True),
    ],
)
def test_requirements(operator: Operator, key: str, values: tuple[str, ...], met: bool) -> None:
    requirement = Requirement(key=key, operator=operator, values=values)
    assert requirement.is_met_by(LABELS) is met
    always = Requirement(key="zone", operator=Operator.EXISTS)
    assert LabelSelector(requirements=(always, requirement)).selects(LABELS) is met


def test_a_selector_without_requirements_selects_everything() -> None:
    assert LabelSelector().selects(())


def test_values_compare_and_hash() -> None:
    assert hash(Snapshot()) == hash(Snapshot())
    assert str(ObjectName("a", "b")) == "a/b"
    assert min([Community(2, 1), Community(1, 2)]) == Community(1, 2)
    assert str(Community(65535, 65281)) == "65535:65281"
