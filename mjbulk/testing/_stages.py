"""How a background job moves from stage to stage, and what it shows in each.

The stages Allocated (a csvimport: Upload), Prepare, Importing, Completed, Error, Abort are documented (FACTS 2.3, 5.5);
how long each takes is a guess (FACTS 2.10). A job has all its effects at once, when its import ends. If two unfinished
jobs hold the same person, the job that ends last wins.
"""

import attrs

from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._knobs import Knobs


def schedule(job: EmulatedJob, start: float, knobs: Knobs) -> None:
    """Decide when a job leaves the queue, begins to import, and ends."""
    seconds = knobs.import_seconds
    job.started = start
    job.imports = start + knobs.prepare_seconds
    job.ends = job.imports + (seconds(job) if callable(seconds) else seconds)
    job.share = knobs.progress


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
    """Give what the answers say about a job now, lies included."""
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
