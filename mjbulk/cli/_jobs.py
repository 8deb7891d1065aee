"""``mjbulk watch`` and ``mjbulk errors``: one background job, whoever started it."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, REJECTED, UNFINISHED, on_signals, plain, say, tell
from mjbulk.cli._options import AsJson, SettingsSaid

if TYPE_CHECKING:
    from mjbulk.jobs import JobWatcher
    from mjbulk.models import Job

_JobText = Annotated[str, Parameter(name="JOB", help="contact:ID, contactslist:LIST/ID or csvimport:ID.")]


async def watch(
    job: _JobText,
    /,
    *,
    timeout: Annotated[float | None, Parameter(help="Give up watching after so many seconds.")] = None,
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Wait for the end of a background job.

    Exit status 0 if it completed and rejected nothing, 1 if it rejected rows or failed, 3 if it has not ended in time.
    """
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415

    async with Client(settings=Settings(**settings or {})) as client:
        watcher = client.watch(job)
        following = asyncio.create_task(_follow(watcher))
        with on_signals(following.cancel):
            await asyncio.wait({following}, timeout=timeout)
        ended = await _stopped(following)
        latest = watcher.latest
    say(json.dumps(_figures(job, latest)) if as_json else _line(latest) if latest else f"{job}: nothing is known")
    return _judge(job, latest, ended=ended)


async def _follow(watcher: "JobWatcher") -> None:
    show = sys.stderr.isatty()
    async for job in watcher:
        if show:
            tell(_line(job))


async def _stopped(following: "asyncio.Task[None]") -> bool:
    """Say whether the job was followed to its end. Raises what following it failed with."""
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
    return f"{job.ref}: {plain(job.status)}, {job.count} contacts, {len(job.rejections)} rejected"


def _figures(text: str, job: "Job | None") -> dict[str, object]:
    if job is None:
        return {"job": text, "status": None, "count": 0, "rejected": 0, "ok": False}
    rejected = len(job.rejections)
    return {"job": str(job.ref), "status": job.status, "count": job.count, "rejected": rejected, "ok": job.ok}


async def errors(
    job: _JobText,
    /,
    *,
    timeout: Annotated[float, Parameter(show_default=True, help="Give up after so many seconds.")] = 120.0,
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Print what a job that has ended has rejected: address, field and message, a line each.

    Exit status 0 if it completed and rejected nothing, 1 if it rejected rows or failed, 3 if it has not ended.
    """
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415

    async with Client(settings=Settings(**settings or {})) as client:
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
        say(json.dumps(row) if as_json else "\t".join(plain(value or "") for value in row.values()))
    if latest.error:
        tell(f"the job as a whole: {plain(latest.error)}")
    return DONE if latest.ok else REJECTED


async def abort(job: _JobText, /, *, settings: SettingsSaid = None) -> int:
    """Abort a csvimport (csvimport:ID). Rows that it has imported stay."""
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415
    from mjbulk.models import JobRef  # noqa: PLC0415

    async with Client(settings=Settings(**settings or {})) as client:
        say(_line(await client.abort_csvimport(JobRef.parse(job))))
    return DONE
