"""A run that this worker has: its snapshots, and the file of its rejected rows."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from mjbulk.fastapi.folders import REJECTIONS, Folder, Terms
from mjbulk.fastapi.problems import Problem
from mjbulk.fastapi.rejected import write_rejections
from mjbulk.journal.info import RunInfo
from mjbulk.models import COUNT_NAMES, Progress
from mjbulk.run.run import ImportRun

_AT_ONCE = 1000
"""Rejected rows that are written together."""


class LiveRun:
    """A run that this worker has. Mutable state: whether it was accepted, and how much of it is written down."""

    def __init__(self, folder: Folder, terms: Terms, run: ImportRun) -> None:
        """Hold a run that has just begun."""
        self.folder = folder
        self.terms = terms
        self.run = run
        loop = asyncio.get_running_loop()
        self.decided: asyncio.Future[None] = loop.create_future()
        """Done when its upload was judged, or cannot be; has the problem that refused it."""
        self.gone = asyncio.Event()
        """Set when its end is written down, and this worker does not have it any more."""
        self._began = loop.time()
        self._written = 0  # rejected rows that are in the file,
        self._until = 0  # the byte at which they end,
        self._by_code: Counter[str] = Counter()  # and how many of them have which code
        self._turn = asyncio.Lock()
        self._is_new = True

    def decide(self, refused: Problem | None = None) -> None:
        """Tell what became of its upload; the first word counts."""
        if self.decided.done():
            return
        if refused is None:
            self.decided.set_result(None)
        else:
            self.decided.set_exception(refused)
            self.decided.exception()  # there may be nobody who waits for it

    @property
    def accepted(self) -> bool:
        """Whether its upload was not refused."""
        return self.decided.done() and self.decided.exception() is None

    def snapshot(self, info: RunInfo | None = None) -> dict[str, Any]:
        """Give what is known of the run now; ``info`` is what the journal says at its end."""
        progress, report = self.run.progress, self.run.report
        seconds = report.seconds if report is not None else asyncio.get_running_loop().time() - self._began
        return {
            "run_id": self.terms.run_id,
            "list": self.terms.list,
            "action": self.terms.action,
            "name": self.terms.name,
            "created": self.terms.created,
            **progress.as_dict(),
            **_pace(progress),
            **self._state(progress, info),
            "seconds": round(seconds, 3),
            "by_code": dict(self._by_code),
            "rejected_until": self._until,
        }

    def _state(self, progress: Progress, info: RunInfo | None) -> dict[str, Any]:
        report = self.run.report
        if info is not None:
            counts = {name: getattr(info, name) for name in COUNT_NAMES}
            return {**counts, "state": info.state, "complete": info.complete, "cause": info.cause}
        if report is not None:
            cause = None if report.halted is None else str(report.halted)
            return {"state": "settled" if report.complete else "resumable", "complete": report.complete, "cause": cause}
        going = progress.jobs or progress.settled
        return {"state": "running" if going else "queued", "complete": False, "cause": None}

    async def write_rejected(self) -> None:
        """Write rejected rows that became known since."""
        path = self.folder.path / REJECTIONS
        async with self._turn:
            await self._write(path)

    async def _write(self, path: Path) -> None:
        report = self.run.report
        if report is not None and report.stored and await asyncio.to_thread(path.exists):  # with addresses
            self._by_code = Counter(one.code for one in report.rejections)
            self._until = (await asyncio.to_thread(path.stat)).st_size
            return
        if self._is_new:
            await asyncio.to_thread(path.unlink, missing_ok=True)  # of an earlier process
            self._is_new = False
        while some := self.run.rejections.page(after=self._written, limit=_AT_ONCE):
            self._until = await asyncio.to_thread(write_rejections, path, self._until, some)
            self._written += len(some)
            self._by_code.update(one.code for one in some)


def _pace(progress: Progress) -> dict[str, Any]:
    return {
        "held": progress.held,
        "jobs": dict(progress.jobs),
        "rate": round(progress.rate, 1),
        "eta": None if progress.eta is None else round(progress.eta, 1),
        "waiting_for": progress.waiting_for,
    }
