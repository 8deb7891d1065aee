"""What tests share: a small world of emulator and clients."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import pytest
from attrs import frozen

import mjbulk
from mjbulk.models import COUNT_NAMES
from mjbulk.testing import Emulator, Fault, Knobs


async def settled() -> None:
    """Let everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)


def most_within(seconds: float, times: list[float]) -> int:
    """Count the times that lie within that many seconds of each other, at most."""
    first, most = 0, 0
    for last, when in enumerate(times):
        while times[first] < when - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@frozen
class Database:
    """A database for the journal of one test."""

    url: str
    sql: Callable[[str], object]
    """Runs a statement behind the journal's back."""


class World:
    """An emulator and clients of it, in the test's own loop."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.events: list[mjbulk.Event] = []

    def settings(self, **said: Any) -> mjbulk.Settings:
        return mjbulk.Settings(**{"api_url": self.emulator.url, **said})

    def client(self, **said: Any) -> mjbulk.Client:
        return mjbulk.Client(KEYS, self.settings(**said), hooks=[self.events.append])

    def posts(self, call: str = "contact/managemanycontacts") -> int:
        return self.emulator.count(f"POST {call}")

    def requests(self) -> int:
        """How many requests were made, answered or not."""
        return sum(event.name == "request" for event in self.events)

    def weather(self, happens: Callable[[str, float], Fault | None]) -> None:
        """Let a function say what happens to each request, by its method and route and by the time in seconds; None is
        what was scripted.
        """
        script = self.emulator._faults
        scripted, emulator = script.take, self.emulator

        def take(method: str, route: str) -> Fault | None:
            return happens(f"{method} {route}", emulator.now) or scripted(method, route)

        script.take = take  # type: ignore[method-assign]  # of this emulator alone

    @asynccontextmanager
    async def turned(self, **knobs: Any) -> AsyncIterator["World"]:
        """Another world, whose emulator has other knobs."""
        async with Emulator(Knobs(**knobs)) as emulator:
            yield World(emulator)


KEYS = mjbulk.Credentials("public-key-of-tests", "private-key-of-tests")


def extra(library: str) -> Any:
    """Give a library that ``test`` does not install, for a test that is marked ``extra``; without it skip the test."""
    return pytest.importorskip(library, reason=f"{library} is missing: pip install -e '.[test-all]'")


def _check_outcomes(report: mjbulk.Report, rows: list[int]) -> None:
    """Ask for the outcome of each row, or of some where there are many: the sums agree with the counts."""
    step = len(rows) // 2000 + 1
    found = [report.outcome_of(row) for row in rows[::step]]
    assert [outcome.row for outcome in found] == rows[::step]
    if step == 1:
        states = Counter(outcome.state for outcome in found)
        assert states == Counter({name: getattr(report, name) for name in COUNT_NAMES[1:]})
    for outcome in found:
        assert (outcome.rejection is not None) == (outcome.state == "rejected")
        assert (outcome.cause is not None) == (outcome.state in ("unknown", "not_sent"))
        assert outcome.rejection is None or outcome.rejection.row == outcome.row
    with pytest.raises(mjbulk.UsageError):
        report.outcome_of(max(rows, default=0) + 1)


def balanced(report: mjbulk.Report) -> mjbulk.Report:
    """Give the report, whose books have to add up: each row has one outcome, and is in one list of rows alone."""
    rows = {
        "accepted": list(chain.from_iterable(report.accepted_rows())),
        "superseded": list(chain.from_iterable(report.superseded_rows())),
        "rejected": [rejection.row for rejection in report.rejections if rejection.row is not None],
        "unsettled": [row for why in report.unsettled for some in why.rows for row in some],
    }
    assert {name: len(some) for name, some in rows.items()} == {
        "accepted": report.accepted,
        "superseded": report.superseded,
        "rejected": report.rejected,
        "unsettled": report.unknown + report.not_sent,
    }
    assert len(set(chain.from_iterable(rows.values()))) == report.rows
    assert all(some and some.start > 0 for why in report.unsettled for some in why.rows)
    _check_outcomes(report, [row for some in rows.values() for row in some])
    assert {row for one in report.rejections if one.row is None for row in one.candidates} <= {*rows["unsettled"]}
    return report
