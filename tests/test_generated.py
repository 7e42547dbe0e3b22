"""The generated pages say what the code says."""

import pytest

from tests.generated import PAGES, render
from tests.tree import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == render(page), f"{page} is out of date: ./run docs"
