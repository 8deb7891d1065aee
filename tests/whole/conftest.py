"""Tests of whole imports."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark them: what is measured of the code is what the tests of its modules cover."""
    item.add_marker("whole")
