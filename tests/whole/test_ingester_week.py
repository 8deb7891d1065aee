"""A service through outages and with keys that stop working. ``python tests/ingester_week.py`` does it for a week."""

import logging
from contextlib import aclosing
from itertools import pairwise

import pytest
from ingester_week import live

pytestmark = pytest.mark.long

EVERY = 600.0
ROWS_A_DAY = 24 * 3600 / EVERY


async def test_nothing_grows_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """On three days: each row has its true outcome, and of the last two one leaves almost nothing behind.

    What happens for the first time may import a module, or fill a cache; what grows does so on each day.
    """
    caplog.set_level(logging.CRITICAL, "mjbulk")  # pytest keeps what is logged
    async with aclosing(live(3, EVERY)) as lived:
        days = [day async for day in lived]
    blocks = [memory.blocks for memory, _ in days]
    steps = [after - before for before, after in pairwise(blocks)]
    assert min(steps) < ROWS_A_DAY
    states = days[-1][1]
    assert set(states) == {"accepted", "rejected", "withdrawn"}
    assert states["accepted"] > 2 * ROWS_A_DAY
