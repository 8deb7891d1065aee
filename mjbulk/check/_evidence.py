"""What the experiments have seen, unprocessed. It is private, because it holds addresses and IDs."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from attrs import define, field, frozen

from mjbulk.check._findings import ASSUMED
from mjbulk.jobs.track import finished
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobRef
from mjbulk.outcomes.error_file import parse
from mjbulk.outcomes.settle import announces_errors, match_errors

_QUIET = 10.0
"""Seconds: a job with an unknown status has ended if it has a JobEnd and its answers stay the same for this long."""
_RUNNING = ("allocated", "upload", "prepare", "importing", "in progress", "pending", "saving")


@frozen(kw_only=True)
class Poll:
    """One answer about a job."""

    at: float
    """Seconds after the job was posted."""
    row: Mapping[str, Any] = field(repr=False)
    """The answer unprocessed, but with its keys in lower case."""
    reply: JobReply = field(repr=False)


@define(kw_only=True)
class Trail:
    """Everything that was seen of one job. Its times are seconds since the answer to its POST."""

    ref: JobRef = field(repr=False)
    rows: Sequence[str] = field(repr=False)
    """The addresses that were sent."""
    bad: int = 0
    """How many rows Mailjet has to refuse; they are the last ones."""
    posted: Mapping[str, Any] = field(repr=False)
    """The answer to its POST."""
    began: float
    """When that answer was received, on the loop's clock."""
    polls: list[Poll] = field(factory=list)
    missed: int = 0
    """How often polls were answered with 404 before the job was found."""
    file: bytes | None = field(default=None, repr=False)
    file_at: float | None = None
    """When the error file was received."""

    @property
    def end(self) -> Poll | None:
        """The first poll after the end of the job, or None."""
        words = ASSUMED.terminal_statuses
        known = next((poll for poll in self.polls if finished(poll.reply.status, words)), None)
        return known or self._quiet_end()

    def _quiet_end(self) -> Poll | None:
        last = self.polls[-1].reply if self.polls else JobReply()
        strange = last.status.strip().casefold() not in (*_RUNNING, "")
        same = [*takewhile(lambda poll: poll.reply == last, reversed(self.polls))]
        return same[-1] if strange and last.job_end and same[0].at - same[-1].at >= _QUIET else None

    @property
    def running(self) -> Sequence[Poll]:
        """The polls before the end of the job."""
        end = self.end
        return [poll for poll in self.polls if end is None or poll.at < end.at]

    @property
    def last(self) -> JobReply:
        """The newest answer."""
        return self.polls[-1].reply

    @property
    def failed(self) -> bool:
        """Whether the newest answer has another status than Completed."""
        return self.last.status.strip().casefold() != "completed"

    @property
    def announced(self) -> bool:
        """Whether the newest answer announces an error file."""
        return announces_errors(self.last)

    @property
    def named(self) -> set[str]:
        """The addresses that its error file names, read as an import would read them."""
        errors = parse(self.file or b"", csv_file=self.ref.kind == "csvimport").errors
        return {self.rows[index] for matched in match_errors(errors, self.rows) for index in matched.indexes}

    @property
    def counts_lag(self) -> float:
        """How long after the end of the job Count still changed."""
        end = self.end or self.polls[-1]
        same = [*takewhile(lambda poll: poll.reply.count == self.last.count, reversed(self.polls))]
        return max(same[-1].at - end.at, 0.0)

    @property
    def file_lag(self) -> float | None:
        """How long after the end of the job its error file was received; None if it never was."""
        end = self.end
        return None if end is None or self.file_at is None else self.file_at - end.at

    @property
    def complete(self) -> bool:
        """Whether a job that has ended has shown everything that it can show."""
        if self.failed:
            return self.file is not None or not self.last.error_file
        all_counted = (self.last.count or 0) >= len(self.rows)
        return all_counted and (self.file is not None or not (self.bad or self.announced))


@frozen
class Probe:
    """The result of sending larger and larger bodies."""

    taken: int
    """The largest size that was accepted."""
    refused: int | None = None
    """The first size that was not."""
    how: str = ""
    """What happened to that size."""


@define(kw_only=True)
class Evidence:
    """What the experiments have seen."""

    origin: str
    trails: dict[str, Trail] = field(factory=dict)
    """Jobs by the name of their experiment: json, csv, undeclared, twice, case, treshold, abort."""
    problems: dict[str, str] = field(factory=dict)
    """Why an experiment failed, by its name."""
    taken: bool | None = None
    """Whether a row that had to be refused became a contact."""
    kept: bool | None = None
    """Whether a property survived an empty cell."""
    created: bool | None = None
    """Whether an undeclared property was created."""
    winner: str = ""
    """Which of two rows of one person in one job was applied: first or last."""
    case_matters: bool | None = None
    """Whether the name of a property in capitals is another name."""
    list_errors: str = ""
    """The key under which Mailjet says what is wrong with a list."""
    retained: tuple[float, bool] | None = None
    """Seconds since the end of a job, and whether the job and its error file could still be read then."""
    job_type: str = ""
    """The JobType of a JSON job in batchjob."""
    headers: set[str] = field(factory=set)
    """Names of headers that speak of limits, in lower case."""
    throttled: int = 0
    """How many answers were 429."""
    answers: int = 0
    sizes: Probe | None = None
    """Bytes of an upload."""
    most_rows: Probe | None = None
    """Rows of a JSON request."""

    def ended(self, name: str) -> Trail | None:
        """Give the job of an experiment, or None if it has not ended."""
        trail = self.trails.get(name)
        return trail if trail and trail.end else None

    def all_ended(self, names: Iterable[str]) -> dict[str, Trail]:
        """Give the jobs of these experiments that have ended."""
        return {name: trail for name in names if (trail := self.ended(name))}

    def why(self, name: str) -> str:
        """Say why an experiment has no result."""
        missing = "its job did not end in time" if name in self.trails else "it was not tried"
        return self.problems.get(name, missing)
