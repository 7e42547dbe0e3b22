"""The demand as it is told: what is only half told costs no more than the groups that it names."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from speaker.demand import DemandChange
from speaker.register import Register
from tests.speaker.ownership_helpers import group

HALF = DemandChange(groups=(group("192.0.2.1"), group("192.0.2.2")), is_complete=False)


def test_a_group_that_is_touched_many_times_is_decided_once() -> None:
    """A ring that changes while the demand is half told has every group looked at again, each time."""
    register = Register()
    register.take(HALF, is_reset=True)
    standings = list(register)
    for _ in range(50):
        assert [register.adopt(standing) for standing in standings] == [(), ()]
    assert register.complete() == standings
    assert register.complete() == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_group_that_comes_and_goes_before_the_demand_is_complete_is_touched_once(times: int) -> None:
    register = Register()
    for _ in range(times):
        register.take(HALF, is_reset=False)
        register.take(DemandChange(gone=(ip_address("192.0.2.1"),), is_complete=False), is_reset=False)
    assert sorted(str(standing.key) for standing in register.complete()) == ["192.0.2.1", "192.0.2.2"]
