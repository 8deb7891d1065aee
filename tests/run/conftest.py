"""What each test of a run leaves is closed."""

from collections.abc import Iterator

import fake_run
import pytest


@pytest.fixture(autouse=True)
def _spills_are_closed() -> Iterator[None]:
    yield
    while fake_run.SPILLS:
        fake_run.SPILLS.pop().close()
