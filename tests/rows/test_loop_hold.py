"""How long a source holds the loop: measured by the loop's clock, from a beginning until the loop runs again."""

import asyncio

import pytest

from mjbulk.rows.loop_hold import LoopHold


def pass_time(seconds: float) -> None:
    """Let time pass in which nothing else can run."""
    asyncio.get_running_loop()._clock.now += seconds  # type: ignore[attr-defined]  # the virtual one


@pytest.mark.parametrize(("seconds", "breaths", "named"), [(0.0, 0, 0), (0.03, 3, 0), (0.1, 3, 1), (9.0, 3, 1)])
async def test_a_hold_is_measured(seconds: float, breaths: int, named: int, caplog: pytest.LogCaptureFixture) -> None:
    """A short one asks for a pause each time, a long one is named once."""
    hold, found = LoopHold([], "read it elsewhere"), 0
    for _ in range(3):
        hold.begin()
        pass_time(seconds)
        found += hold.check()
    assert (found, len(caplog.records)) == (breaths, named)


async def test_time_before_the_beginning_and_after_a_pause_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    """Nor what others did meanwhile."""
    hold = LoopHold([], "")
    pass_time(1)
    assert not hold.check()
    hold.begin()
    await asyncio.sleep(1)
    pass_time(1)
    assert not hold.check()
    hold.begin()
    pass_time(1)
    hold.begin()
    assert not hold.check()
    assert caplog.records == []


async def test_the_warning_has_the_type_and_no_data(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the source is."""
    hold = LoopHold(["somebody@example.org"], "read it elsewhere")
    hold.begin()
    pass_time(0.25)
    hold.check()
    assert caplog.messages == ["the source (list) held the event loop for 0.25 s: read it elsewhere"]
