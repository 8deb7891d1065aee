"""batchjob: jobs of all kinds."""

from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, invalid, unchanged
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._fpjson import shown
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._paging import Listing, at_least, at_most, equals, page
from mjbulk.testing._rest_account import API_KEY_ID
from mjbulk.testing._rest_jobs import aborted, alive, check_status, known_job, mine, start_import, unix
from mjbulk.testing._stages import look

_CSV_JOB = "Contact list import csv"
_LISTING = Listing(
    filters={
        "apikey": equals("APIKeyID"),
        "data": equals("DataID"),
        "jobtype": equals("JobType"),
        "method": equals("Method"),
        "refid": equals("RefId"),
        "status": equals("Status"),
        "minjobstart": at_least("JobStart"),
        "maxjobstart": at_most("JobStart"),
        "minjobend": at_least("JobEnd"),
        "maxjobend": at_most("JobEnd"),
        "minrequestat": at_least("RequestAt"),
        "maxrequestat": at_most("RequestAt"),
    },
    sorts={"ID": True},
)
_NO_FILTERS = Listing(sorts={"ID": True})
_KEYS = (
    *("AliveAt", "APIKey", "APIKeyID", "APIKeyALT", "Blocksize", "Count", "Current", "Data", "DataID", "Errcount"),
    *("ErrTreshold", "ID", "JobEnd", "JobStart", "JobType", "Method", "RefId", "RequestAt", "Status", "Throttle"),
)


def read_batchjobs(ask: Ask) -> EmulatedAnswer:
    """Answer GET batchjob[/{ID}]: jobs of all kinds, times as Unix integers (FACTS 7.1), with filters and sorting by ID
    (documented).
    """
    if ask.route.id:
        return ask.writer.data([_row(ask, known_job(ask))])
    rows = (_row(ask, job) for job in ask.world.jobs.values() if mine(ask, job))
    return page(rows, ask.query, ask.writer, _LISTING if ask.world.knobs.batchjob_filters else _NO_FILTERS)


def create_batchjob(ask: Ask) -> EmulatedAnswer:
    """Answer POST batchjob, which can start the import of an uploaded file (observed: FACTS 7.2); that the emulator
    refuses other jobs is no fact.
    """
    body = ask.fields(_KEYS, "TBatchJob")
    if shown(body.get("JobType")).casefold() != _CSV_JOB.casefold():
        raise Refused(invalid(f"The emulator plays no JobType except {_CSV_JOB}"))
    check_status(body, "Upload")
    body["ContactsListID"] = body.get("RefId")
    return ask.writer.data([_row(ask, start_import(ask, body))], status=201)


def change_batchjob(ask: Ask) -> EmulatedAnswer:
    """Answer PUT batchjob/{ID}. It is a guess that it aborts a job, as PUT csvimport does, and sets nothing else."""
    job = known_job(ask, "csvimport")
    return ask.writer.data([_row(ask, job)]) if aborted(ask, job, ask.fields(_KEYS, "TBatchJob")) else unchanged()


def _row(ask: Ask, job: EmulatedJob) -> dict[str, Any]:
    """Write a job as batchjob shows it. The JobType of a managemanycontacts job is a guess."""
    sight = look(job, ask.world.elapsed(), ask.world.knobs)
    csv = job.kind == "csvimport"
    return {
        "AliveAt": unix(ask, alive(ask, job, sight)),
        "APIKeyID": API_KEY_ID,
        "Blocksize": 0,
        "Count": sight.count,
        "Current": sight.current,
        "DataID": job.data_id,
        "Errcount": sight.errcount,
        "ErrTreshold": job.err_treshold,
        "ID": job.id,
        "JobEnd": unix(ask, sight.ended),
        "JobStart": unix(ask, sight.started),
        "JobType": _CSV_JOB if csv else ask.world.knobs.job_type,
        "Method": job.method or "Unknown",
        "RefId": job.list_id if csv else (job.actions[0][0] if job.actions else 0),
        "RequestAt": unix(ask, job.posted),
        "Status": sight.status,
        "Throttle": 0,
    }


BATCHJOB_ROUTES: Handlers = {"batchjob": {"GET": read_batchjobs, "POST": create_batchjob, "PUT": change_batchjob}}
