"""How far a run is: a bar on a terminal, and otherwise lines on stderr, at regular times and where something changes.

The bar shows the share of the file whose rows have their outcome. Its bytes or rows are known from the beginning, so it
never goes back.
"""

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from attrs import define, field, frozen
from cyclopts import Parameter

from mjbulk.cli._output import OUTPUT, counted, is_quiet, note
from mjbulk.cli._words import as_options
from mjbulk.errors import UsageError
from mjbulk.models import JobRef, Progress

if TYPE_CHECKING:
    from mjbulk.run.run import ImportRun

_LOOK = 0.2
"""Seconds between two looks at a run."""
_WORTH_A_LINE = 5.0
"""Seconds after which the end of the file is told: shorter runs end soon."""
_TROUBLE = "requests wait: "
_ENOUGH, _ENOUGH_SHARE = 1_000, 0.05
"""Rows that have their outcome before it is said how long the others take."""
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

ReportEvery = Annotated[
    float,
    Parameter(
        group=OUTPUT,
        show_default=True,
        help="Seconds between two lines on stderr about the progress, where stderr is no terminal; 0 for none.",
    ),
]


def check_every(seconds: float) -> float:
    """Give the seconds of --report-every. Raises UsageError if they cannot be that."""
    if not 0 <= seconds < float("inf"):
        raise UsageError("--report-every is a number of seconds, 0 or more")
    return seconds


def about(seconds: float) -> str:
    """Say a length of time in one unit, or in two where that matters."""
    if seconds < 1:
        return "1 s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 10 * _HOUR:
        hours, minutes = divmod(round(seconds / _MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def unfinished(jobs: Any) -> int:
    """Count the jobs that have not ended."""
    return sum(count for word, count in jobs.items() if word.casefold() != "completed")


@frozen
class Look:
    """A look at a run."""

    now: Progress
    read: float | None = None
    """The share of the file that was read, from 0 to 1; None if that is not known."""

    @property
    def share(self) -> float | None:
        """The share of the file whose rows have their outcome; None if that is not known."""
        if self.read is None:
            return None
        return self.read * self.now.settled / self.now.rows if self.now.rows else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all rows of the file have their outcome; None if nothing can be said."""
        if not self.read or self.now.eta is None or self.now.settled < min(_ENOUGH, self.now.rows * _ENOUGH_SHARE):
            return None
        if self.read >= 1:
            return self.now.eta
        if self.now.rate <= 0:
            return None
        return self.now.eta + self.now.rows * (1 / self.read - 1) / self.now.rate

    def figures(self) -> str:
        """Say the counts in a line: ``accepted 1,250 · rejected 155 · waiting 16,131 (42 jobs) · ~4 min``."""
        now = self.now
        parts = [f"accepted {now.accepted:,}", f"rejected {now.rejected:,}"]
        parts += [f"{name} {n:,}" for name in ("superseded", "unknown") if (n := getattr(now, name))]
        jobs = unfinished(now.jobs)
        parts.append(f"waiting {now.rows - now.settled:,}" + (f" ({counted(jobs, 'job')})" if jobs else ""))
        trouble = (now.waiting_for or "").startswith(_TROUBLE)
        left = None if trouble else self.seconds_left
        if left is not None and now.rows > now.settled:
            parts.append(f"~{about(left)}")
        return " · ".join(parts)


@define
class Watch:
    """What was said of a run so far. Mutable state: all of it. Times are seconds of one clock."""

    every: float
    began: float
    share: float | None = None
    """The greatest share so far: what is shown never goes back."""
    trouble: str | None = None
    since: str = ""
    _said_at: float = field(init=False)
    _still: set[JobRef] = field(init=False, factory=set)
    _whole: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._said_at = self.began

    def see(self, look: Look, clock: float, time_of_day: str) -> list[str]:
        """Take a look, and give the lines that are worth saying now."""
        if look.share is not None:
            self.share = max(self.share or 0.0, look.share)
        lines = [*self._changes(look, clock, time_of_day)]
        if self.every and clock - self._said_at >= self.every:
            self._said_at += self.every * int((clock - self._said_at) / self.every)
            lines.append(self.line(look))
        return lines

    def line(self, look: Look) -> str:
        """Say how far it is, and what it waits for."""
        of = "settled" if look.read is not None and look.read >= 1 else "of the file"
        share = "" if self.share is None else f"{self.share:.0%} {of} · "
        return f"{share}{look.figures()}{self.waits(look)}"

    def waits(self, look: Look) -> str:
        """Say what it waits for, as the end of a line; empty if it goes on."""
        if self.trouble is not None:
            return f" · {self.trouble}, since {self.since}"
        return f" · {as_options(look.now.waiting_for)}" if look.now.waiting_for else ""

    def _changes(self, look: Look, clock: float, time_of_day: str) -> Iterable[str]:
        waiting = look.now.waiting_for or ""
        trouble = as_options(waiting.removeprefix(_TROUBLE)) if waiting.startswith(_TROUBLE) else None
        if _kind(trouble) != _kind(self.trouble):
            self.since = time_of_day
            yield f"waits since {time_of_day}: {trouble}" if trouble else f"goes on at {time_of_day}"
        self.trouble = trouble
        for job in look.now.stalled:
            if job not in self._still:
                self._still.add(job)
                yield f"{job} has not moved for half an hour or longer: mjbulk watch {job}"
        if not self._whole and look.read is not None and look.read >= 1 and clock - self.began >= _WORTH_A_LINE:
            self._whole = True
            yield f"the file is read to its end: {counted(look.now.rows, 'row')} · {look.figures()}"


def _kind(trouble: str | None) -> str | None:
    """Give what is wrong without the numbers in it, which change all the time."""
    return trouble and re.sub(r"\d+", "", trouble)


# Showing


@contextmanager
def shown(run: "ImportRun", every: float) -> Iterator[None]:
    """Show the progress of a run on stderr, unless that is to be quiet."""
    if is_quiet():
        yield
        return
    bar = _Bar() if sys.stderr.isatty() else None
    task = asyncio.create_task(_follow(run, every, bar))
    try:
        yield
    finally:
        task.cancel()
        if bar is not None:
            bar.end()


async def _follow(run: "ImportRun", every: float, bar: "_Bar | None") -> None:
    loop = asyncio.get_running_loop()
    watch = Watch(every=0.0 if bar is not None else every, began=loop.time())
    while True:
        look = Look(run.progress, run.share_read)
        time_of_day = datetime.now().astimezone().strftime("%H:%M:%S")
        for line in watch.see(look, loop.time(), time_of_day):
            note(line)
        if bar is not None:
            bar.show(watch, look)
        await asyncio.sleep(_LOOK)


class _Bar:
    """A bar and the figures below it. Mutable state: what is on the screen."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=5)
        self._live.start()

    def show(self, watch: Watch, look: Look) -> None:
        """Show a look at the run."""
        from rich.console import Group  # noqa: PLC0415
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        first = Table.grid(padding=(0, 1), expand=True)
        first.add_column()
        first.add_column(ratio=1)
        share = watch.share
        bar = ProgressBar(total=None if share is None else 1.0, completed=share or 0.0, pulse=share is None)
        first.add_row("" if share is None else f"{share:4.0%}", bar)
        waits = watch.waits(look).removeprefix(" · ")
        lines = [Text(look.figures(), overflow="ellipsis")]
        self._live.update(Group(first, *lines, *([Text(waits, overflow="fold")] if waits else [])))

    def end(self) -> None:
        """Take it off the screen."""
        self._live.stop()
