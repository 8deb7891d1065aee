"""Everything that the emulator knows: accounts, uploads, jobs.

Nothing happens by itself. Before the state is read, `World.settle` ends the jobs that are due, in the order of their
ends.
"""

import heapq
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal

import attrs

from mjbulk.testing._import_csv import CsvImport
from mjbulk.testing._import_json import JsonImport
from mjbulk.testing._jobs import EmulatedError, EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._rules import person, stamp
from mjbulk.testing._stages import schedule
from mjbulk.testing._state import EmulatedAccount

_SHARED = "shared"
_UNCLAIMED = ""


@attrs.define(eq=False)
class Upload:
    """An uploaded CSV file, for a later csvimport."""

    key: str
    list_id: int
    body: bytes = attrs.field(repr=False)


class World:
    """The state behind the answers; ``elapsed`` gives the seconds since the start, by the loop's clock."""

    def __init__(self, knobs: Knobs, *, seed: int = 0) -> None:
        self.knobs = knobs
        self.url = ""
        self.elapsed: Callable[[], float] = lambda: 0.0
        self.began = datetime.now(UTC).replace(microsecond=0)
        self.accounts: dict[str, EmulatedAccount] = {}
        self.jobs: dict[int, EmulatedJob] = {}
        self.uploads: dict[int, Upload] = {}
        self.rejects: dict[str, EmulatedError] = {}
        self.poisons: dict[bytes, int] = {}
        self._seed = seed
        self._random = Random(seed)  # noqa: S311 - identifiers of errors, no secret
        self._job_ids = itertools.count(knobs.first_job_id)
        self._data_ids = itertools.count(knobs.first_data_id)
        self._due: list[tuple[float, int]] = []
        self._slots: dict[str, list[float]] = {}

    def account(self, key: str) -> EmulatedAccount:
        """Give the account of an API key, and create it at the first call. The first key gets the account that a test
        has set up before.
        """
        name = _SHARED if self.knobs.one_account else key
        if name not in self.accounts:
            account = self.accounts.pop(_UNCLAIMED, None) or EmulatedAccount(
                seed=self._seed + len(self.accounts), now=self.stamp()
            )
            account.key = name
            self.accounts[name] = account
        return self.accounts[name]

    def first_account(self) -> EmulatedAccount:
        """Give the oldest account. If there is none, create one, which the first key will get."""
        if not self.accounts:
            self.accounts[_UNCLAIMED] = EmulatedAccount(seed=self._seed, now=self.stamp())
        return next(iter(self.accounts.values()))

    def stamp(self, seconds: float | None = None) -> str:
        """Write a time of the loop's clock (by default now) as Mailjet does."""
        return stamp(self.moment(self.elapsed() if seconds is None else seconds))

    def moment(self, seconds: float) -> datetime:
        """Give the date of a time of the loop's clock."""
        return self.began + timedelta(seconds=seconds)

    def guid(self) -> str:
        """Make a name for one request."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def upload(self, key: str, list_id: int, body: bytes) -> int:
        """Store a CSV file, and give its DataID."""
        data_id = next(self._data_ids)
        self.uploads[data_id] = Upload(key, list_id, body)
        return data_id

    def submit(
        self,
        kind: Literal["contact", "contactslist", "csvimport"],
        key: str,
        body: bytes,
        actions: list[tuple[int, str]],
        total: int,
        **more: Any,
    ) -> EmulatedJob:
        """Put a new job in the queue."""
        now = self.elapsed()
        account = self.account(key).key
        job = EmulatedJob(
            id=next(self._job_ids), kind=kind, key=account, body=body, actions=actions, total=total, posted=now, **more
        )
        queue = self.knobs.queue_seconds
        waits = queue(job) if callable(queue) else queue
        schedule(job, self._free_slot(account, now + waits), self.knobs)
        if self.knobs.running_jobs is not None:
            heapq.heappush(self._slots[account], job.ends)
        self.jobs[job.id] = job
        heapq.heappush(self._due, (job.ends, job.id))
        return job

    def _free_slot(self, key: str, earliest: float) -> float:
        slots = self._slots.setdefault(key, [])
        busy = self.knobs.running_jobs is not None and len(slots) >= self.knobs.running_jobs
        return max(earliest, heapq.heappop(slots)) if busy else earliest

    def cancel(self, job: EmulatedJob) -> None:
        """Cancel an unfinished job now."""
        job.cancel(self.elapsed())
        heapq.heappush(self._due, (job.ends, job.id))
        self.settle()

    def settle(self) -> None:
        """End all jobs that are due."""
        now = self.elapsed()
        while self._due and self._due[0][0] <= now:
            ends, job_id = heapq.heappop(self._due)
            job = self.jobs[job_id]
            if not job.ended and job.ends == ends:
                self._finish(job)

    def _finish(self, job: EmulatedJob) -> None:
        run = CsvImport if job.kind == "csvimport" else JsonImport
        run(job, self.account(job.key), self.knobs, self.rejects, self.stamp(job.ends)).run()
        if not self.knobs.keep_rows:
            job.body = None
            self.uploads.pop(job.data_id, None)

    def find_job(self, job_id: int | None, key: str, *kinds: str) -> EmulatedJob | None:
        """Find a job of this account, of one of these kinds if any is given, that can be read now."""
        job = None if job_id is None else self.jobs.get(job_id)
        if job is None or job.key != self.account(key).key or (kinds and job.kind not in kinds):
            return None
        return job if self.visible(job) else None

    def visible(self, job: EmulatedJob) -> bool:
        """Tell whether a job can be read now: not too early, and not too late."""
        now, knobs = self.elapsed(), self.knobs
        old = job.ended and knobs.retention is not None and now > job.ends + knobs.retention
        return now >= job.posted + knobs.not_found_window and not old

    def reject(self, email: str, message: str, field: str) -> None:
        """Make jobs reject the rows of a person."""
        self.rejects[person(email)] = EmulatedError(message, field)

    def poisoned(self, body: bytes) -> int | None:
        """Give the status for a body that holds a poisoned address, None for any other body."""
        if not self.poisons:
            return None
        lowered = body.lower()
        return next((status for address, status in self.poisons.items() if address in lowered), None)
