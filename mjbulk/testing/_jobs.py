"""Background jobs: how one moves from stage to stage, and what it shows meanwhile.

The stages Allocated (a csvimport: Upload), Prepare, Importing, Completed, Error, Abort are documented; how long each
takes is a guess. A job's effects come all at once, when its import ends: of two unfinished jobs with one person the one
that ends last wins.
"""

from collections.abc import Callable
from typing import Any, Literal

import attrs
import orjson

from mjbulk.testing._knobs import Knobs
from mjbulk.testing._rules import fold_keys

ROW_KEYS = ("Email", "Name", "IsExcludedFromCampaigns", "Properties")
_ROW_KEY_SET = frozenset(ROW_KEYS)
Outcome = Literal["pending", "applied", "rejected", "superseded", "skipped"]


@attrs.frozen
class RowError:
    """Why a row was rejected; ``field`` may be empty."""

    message: str
    field: str = ""


@attrs.define(eq=False, kw_only=True)
class EmulatedJob:
    """What was submitted, and what truly became of it, whatever the answers say."""

    id: int
    kind: Literal["contact", "contactslist", "csvimport"]
    key: str
    """The API key whose account it belongs to."""
    actions: list[tuple[int, str]]
    """List ID and action, for each list; for an exclusion by CSV empty."""
    total: int
    """Rows submitted; of a csvimport an estimate until it has ended."""
    posted: float
    """Loop time of the POST; `started`, `imports` and `ends` are loop times as well."""
    body: bytes | None = attrs.field(repr=False)
    started: float = 0.0
    imports: float = 0.0
    ends: float = 0.0
    share: Callable[["EmulatedJob", float], float] | None = attrs.field(default=None, repr=False)
    """`Knobs.progress`, as it was when the job began."""
    status: str = ""
    """The last word: Completed, Error or `Knobs.aborted_word`; empty until then."""
    outcomes: list[Outcome] = attrs.field(factory=list, repr=False)
    """One for each row, in order: applied, rejected, superseded (a later row of the person won), skipped."""
    errors: dict[int, RowError] = attrs.field(factory=dict, repr=False)
    """The rejected rows by index."""
    error: str = ""
    """The error of the job as a whole."""
    error_file: bytes | None = attrs.field(default=None, repr=False)
    stop_after: int | None = None
    """How many rows were done when somebody cancelled it."""
    method: str = ""
    data_id: int = 0
    list_id: int = 0
    err_treshold: int = 0
    import_options: str = ""

    @property
    def ended(self) -> bool:
        """Whether its effects are there and its status is the last one."""
        return bool(self.status)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The contacts that were submitted, keys in Mailjet's case; none of a csvimport, or where they were dropped."""
        if self.body is None or self.kind == "csvimport":
            return []
        rows = fold_keys(orjson.loads(self.body), ("Contacts",))["Contacts"]
        return [fold_keys(row, ROW_KEYS) if _is_strange(row) else row for row in rows]

    @property
    def applied(self) -> int:
        """How many rows had their effect."""
        return self.outcomes.count("applied")

    @property
    def done(self) -> int:
        """How many rows were looked at, whatever came of them."""
        return len(self.outcomes) - self.outcomes.count("skipped")

    def schedule(self, start: float, knobs: Knobs) -> None:
        """Lays down when it leaves the queue, begins to import, and ends."""
        seconds = knobs.import_seconds
        self.started = start
        self.imports = start + knobs.prepare_seconds
        self.ends = self.imports + (seconds(self) if callable(seconds) else seconds)
        self.share = knobs.progress

    def cancel(self, now: float) -> None:
        """Ends it now; what was done by now stays done."""
        self.stop_after, self.ends = self.progress(now), now

    def progress(self, now: float) -> int:
        """How many rows are done while it is Importing."""
        if now <= self.imports:
            return 0
        worked = (now - self.imports) / max(self.ends - self.imports, 1e-9)
        done = worked if self.share is None else self.share(self, min(worked, 1.0))
        return min(self.total, int(self.total * done))


def _is_strange(row: Any) -> bool:
    """Whether a row has keys that are not in Mailjet's case."""
    return isinstance(row, dict) and not row.keys() <= _ROW_KEY_SET


@attrs.frozen(kw_only=True)
class Sight:
    """What a job shows at one moment."""

    status: str
    count: int
    current: int
    errcount: int
    error: str
    error_file: bool
    started: float | None
    ended: float | None


def look(job: EmulatedJob, now: float, knobs: Knobs) -> Sight:
    """What the answers say about a job now, lies included."""
    if not job.ended:
        done = job.progress(now)
        return Sight(
            status=_stage(job, now, knobs),
            count=job.total if job.kind == "csvimport" and knobs.csv_count == "detected" else done,
            current=done,
            errcount=0,
            error="",
            error_file=False,
            started=job.started if now >= job.started else None,
            ended=None,
        )
    errors = 0 if knobs.hide_errors else len(job.errors)
    return Sight(
        status=job.status,
        count=_final_count(job, now, knobs),
        current=job.done,
        errcount=max(0, errors + knobs.wrong_errcount) if errors or knobs.wrong_errcount else 0,
        error=job.error,
        error_file=job.error_file is not None and not knobs.hide_errors,
        started=min(job.started, job.ends),
        ended=job.ends,
    )


def _stage(job: EmulatedJob, now: float, knobs: Knobs) -> str:
    if now < job.started:
        return "Upload" if job.kind == "csvimport" else "Allocated"
    return "Prepare" if now < job.imports else knobs.running_word


def _final_count(job: EmulatedJob, now: float, knobs: Knobs) -> int:
    if job.status == "Error" and knobs.half_count_on_error:
        return job.total // 2
    if job.kind == "csvimport" and knobs.csv_count == "detected":
        count = job.total
    else:
        rejected = job.outcomes.count("rejected")
        count = job.done - (0 if knobs.count_includes_rejected or job.kind == "csvimport" else rejected)
    return count // 2 if job.status == "Completed" and now < job.ends + knobs.count_lag else count
