"""What the experiments have seen, as it came. It is private: addresses and IDs are in it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from attrs import define, field, frozen

from mjbulk.check._findings import ASSUMED
from mjbulk.jobs.forecast import finished
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobRef
from mjbulk.outcomes.error_file import parse
from mjbulk.outcomes.settle import announces_errors, match_errors

_QUIET = 10.0
"""A job with an unknown status has ended when it tells an end, and nothing changes for so many seconds."""
_RUNNING = ("allocated", "upload", "prepare", "importing", "in progress", "pending", "saving")


@frozen(kw_only=True)
class Look:
    """One answer about a job."""

    at: float
    """Seconds after the job was posted."""
    row: Mapping[str, Any] = field(repr=False)
    """As it came, keys in lower case."""
    reply: JobReply = field(repr=False)


@define(kw_only=True)
class Trail:
    """All that was seen of one job, from its POST on. Seconds count from there."""

    ref: JobRef = field(repr=False)
    rows: Sequence[str] = field(repr=False)
    """The addresses that were sent."""
    bad: int = 0
    """How many of them, the last ones, Mailjet has to refuse."""
    posted: Mapping[str, Any] = field(repr=False)
    """The answer to its POST."""
    began: float
    """When that came, by the loop's clock."""
    looks: list[Look] = field(factory=list)
    missed: int = 0
    """How often it answered 404 before it was found."""
    file: bytes | None = field(default=None, repr=False)
    file_at: float | None = None
    """When the error file was there."""

    @property
    def end(self) -> Look | None:
        """The first look at which it had ended, or None."""
        words = ASSUMED.terminal_statuses
        known = next((look for look in self.looks if finished(look.reply.status, words)), None)
        return known or self._quiet_end()

    def _quiet_end(self) -> Look | None:
        last = self.looks[-1].reply if self.looks else JobReply()
        strange = last.status.strip().casefold() not in (*_RUNNING, "")
        same = [*takewhile(lambda look: look.reply == last, reversed(self.looks))]
        return same[-1] if strange and last.job_end and same[0].at - same[-1].at >= _QUIET else None

    @property
    def running(self) -> Sequence[Look]:
        """The looks before its end."""
        end = self.end
        return [look for look in self.looks if end is None or look.at < end.at]

    @property
    def last(self) -> JobReply:
        """The newest answer."""
        return self.looks[-1].reply

    @property
    def failed(self) -> bool:
        """Whether the newest answer tells another end than Completed."""
        return self.last.status.strip().casefold() != "completed"

    @property
    def announced(self) -> bool:
        """Whether the newest answer tells of an error file."""
        return announces_errors(self.last)

    @property
    def named(self) -> set[str]:
        """The addresses of which its error file speaks, as an import would read it."""
        entries = parse(self.file or b"", csv_file=self.ref.kind == "csvimport").entries
        return {self.rows[place] for matched in match_errors(entries, self.rows) for place in matched.places}

    @property
    def counts_lag(self) -> float:
        """For how long Count was another than the last one that was seen, after the end of a job that has ended."""
        end = self.end or self.looks[-1]
        same = [*takewhile(lambda look: look.reply.count == self.last.count, reversed(self.looks))]
        return max(same[-1].at - end.at, 0.0)

    @property
    def file_lag(self) -> float | None:
        """For how long after its end its error file was not there; None where it never was."""
        end = self.end
        return None if end is None or self.file_at is None else self.file_at - end.at

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be seen of a job that has ended."""
        if self.failed:
            return self.file is not None or not self.last.error_file
        all_counted = (self.last.count or 0) >= len(self.rows)
        return all_counted and (self.file is not None or not (self.bad or self.announced))


@frozen
class Probe:
    """What was sent larger and larger."""

    taken: int
    """The largest size that went through."""
    refused: int | None = None
    """The one that did not."""
    how: str = ""
    """What happened to that."""


@define(kw_only=True)
class Evidence:
    """What the experiments have seen."""

    origin: str
    trails: dict[str, Trail] = field(factory=dict)
    """By the experiment: json, csv, undeclared, twice, case, treshold, abort."""
    problems: dict[str, str] = field(factory=dict)
    """Why an experiment came to no end."""
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
    """The key under which it stands what is wrong with a list."""
    retained: tuple[float, bool] | None = None
    """So many seconds after its end a job and its error file were there, or not."""
    job_type: str = ""
    """What batchjob calls a JSON job."""
    headers: set[str] = field(factory=set)
    """Names of headers that speak of limits, in lower case."""
    throttled: int = 0
    """How often it was answered 429."""
    answers: int = 0
    sizes: Probe | None = None
    """Bytes of an upload."""
    most_rows: Probe | None = None
    """Rows of a JSON request."""

    def ended(self, name: str) -> Trail | None:
        """Give the job of an experiment, if it has ended."""
        trail = self.trails.get(name)
        return trail if trail and trail.end else None

    def all_ended(self, names: Iterable[str]) -> dict[str, Trail]:
        """Give the jobs of these experiments that have ended."""
        return {name: trail for name in names if (trail := self.ended(name))}

    def why(self, name: str) -> str:
        """Say why an experiment shows nothing."""
        missing = "its job did not end in time" if name in self.trails else "it was not tried"
        return self.problems.get(name, missing)
