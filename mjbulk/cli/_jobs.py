"""``mjbulk watch``, ``errors``, ``abort`` and ``batchjob``: one background job, even if another program started it."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, REJECTED, UNFINISHED, check_target, on_signals
from mjbulk.cli._options import AsJson, SettingsSaid, client_of
from mjbulk.cli._output import note, printable, say, tell
from mjbulk.cli._progress import ReportEvery, check_every
from mjbulk.models import JobRef

if TYPE_CHECKING:
    from mjbulk.jobs.watcher import JobWatcher
    from mjbulk.models import Job

_ImportText = Annotated[str, Parameter(name="JOB", help="csvimport:ID; no other job can be aborted.")]
_JobText = Annotated[str, Parameter(name="JOB", help="contact:ID, contactslist:LIST/ID or csvimport:ID.")]


async def watch(
    job: _JobText,
    /,
    *,
    timeout: Annotated[float | None, Parameter(help="Give up watching after so many seconds.")] = None,
    as_json: AsJson = False,
    report_every: ReportEvery = 60.0,
    settings: SettingsSaid = None,
) -> int:
    """Wait for the end of a background job.

    Exit status: 0 it completed and rejected nothing; 1 it rejected rows or failed; 2 there is no such job, or the keys
    are wrong; 3 it has not ended in time, watching was interrupted, or the result could not be written.
    """
    every = check_every(report_every)
    async with client_of(settings) as client:
        watcher = client.watch(job)
        following = asyncio.create_task(_follow(watcher))
        reminding = asyncio.create_task(_remind(watcher, every))
        with on_signals(following.cancel):
            await asyncio.wait({following}, timeout=timeout)
        reminding.cancel()
        ended = await _stopped(following)
        latest = watcher.latest
    say(json.dumps(_figures(job, latest)) if as_json else _line(latest) if latest else f"{job}: nothing is known")
    return _judge(job, latest, ended=ended)


async def _follow(watcher: "JobWatcher") -> None:
    """Tell each change of a job that has not ended."""
    async for job in watcher:
        if not job.ended:
            note(_line(job))


async def _remind(watcher: "JobWatcher", every: float) -> None:
    """Tell at regular times how the job was at the last look."""
    while every:
        await asyncio.sleep(every)
        note(_line(watcher.latest) if watcher.latest else "nothing is known of the job yet")


async def _stopped(following: "asyncio.Task[None]") -> bool:
    """Stop following a job, and tell whether it was followed to its end. Raises the error of a failed poll."""
    following.cancel()
    try:
        await following
    except asyncio.CancelledError:
        return False
    return True


def _judge(text: str, job: "Job | None", *, ended: bool) -> int:
    if not ended or job is None:
        tell(f"the job goes on at Mailjet: mjbulk watch {text}")
        return UNFINISHED
    if job.ok:
        return DONE
    tell(f"it did not end well: mjbulk errors {text}")
    return REJECTED


def _line(job: "Job") -> str:
    contacts = f"{job.count} contact{'' if job.count == 1 else 's'}"
    return f"{job.ref}: {printable(job.status)}, {contacts}, {len(job.rejections)} rejected"


def _figures(text: str, job: "Job | None") -> dict[str, object]:
    if job is None:
        return {"job": text, "status": None, "count": 0, "rejected": 0, "ok": False}
    rejected = len(job.rejections)
    return {"job": str(job.ref), "status": job.status, "count": job.count, "rejected": rejected, "ok": job.ok}


async def errors(
    job: _JobText,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write the error file as Mailjet gives it to this file.")] = None,
    timeout: Annotated[float, Parameter(show_default=True, help="Give up after so many seconds.")] = 120.0,
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Print what a job that has ended has rejected: address, field and message, a line each.

    With --out the error file is not read but written, whole or not at all.

    Exit status: 0 it completed and rejected nothing, with --out the file is written; 1 it rejected rows or failed; 2
    there is no such job, with --out no error file; 3 it has not ended, or the result could not be written.
    """
    if out is not None:
        return await _save(job, out, settings)
    async with client_of(settings) as client:
        try:
            async with asyncio.timeout(timeout):
                latest = await anext(aiter(client.watch(job)))
        except TimeoutError:
            tell(f"{job}: no answer within {timeout:g} s")
            return UNFINISHED
    if not latest.ended:
        tell(f"{_line(latest)}; it has not ended: mjbulk watch {latest.ref}")
        return UNFINISHED
    for rejection in latest.rejections:
        row = {name: getattr(rejection, name) for name in ("email", "field", "message")}
        say(json.dumps(row) if as_json else "\t".join(printable(value or "") for value in row.values()))
    if latest.error:
        tell(f"the job as a whole: {printable(latest.error)}")
    return DONE if latest.ok else REJECTED


async def _save(job: str, out: Path, settings: SettingsSaid) -> int:
    check_target("--out", out)
    async with client_of(settings) as client:
        try:
            size = await client.save_error_file(job, out)
        except OSError as why:
            tell(f"{out} could not be written: {why.strerror}")
            return UNFINISHED
    say(f"{size} bytes in {out}")
    return DONE


async def abort(job: _ImportText, /, *, settings: SettingsSaid = None) -> int:
    """Abort a csvimport (csvimport:ID). Rows that it has imported stay.

    Exit status: 0 Mailjet has taken the wish to abort; 2 there is no such csvimport, or it has ended; 3 no answer, or
    the result could not be written.
    """
    async with client_of(settings) as client:
        say(_line(await client.abort_csvimport(JobRef.parse(job))))
    return DONE


async def batchjob(
    job_id: Annotated[int, Parameter(name="ID", help="The number of a job of any kind.")],
    /,
    *,
    settings: SettingsSaid = None,
) -> int:
    """Print a batchjob as Mailjet shows it, in JSON. Its fields are not documented; its times are Unix seconds.

    Exit status: 0 shown; 2 there is no such job; 3 no answer, or the result could not be written.
    """
    async with client_of(settings) as client:
        say(json.dumps(await client.batchjob(job_id), indent=2))
    return DONE
