"""The DATA API: CSV uploads in, error files out."""

from mjbulk.testing._answers import EmulatedAnswer, source_not_found
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._rules import whole_number

_UPLOAD_TYPES = ("text/plain", "application/octet-stream")


def upload_csv(ask: Ask) -> EmulatedAnswer:
    """Answer POST DATA/contactslist/{ID}/CSVData/text:plain: 200 and ``{ "ID": n }`` (recorded: FACTS 4.1)."""
    found = ask.account.usable_list(whole_number(ask.route.id))
    if found is None or ask.route.mime not in _UPLOAD_TYPES:
        raise Refused(source_not_found(ask.route.mime or "text/plain"))
    data_id = ask.world.upload(ask.account.key, found.id, ask.body)
    return EmulatedAnswer(200, f'{{ "ID": {data_id} }}'.encode(), reason="OK")


def json_error(ask: Ask) -> EmulatedAnswer:
    """Answer GET DATA/batchjob/{JobID}/JSONError/application:json/LAST; its content is a guess (FACTS 3.1, 3.2)."""
    fits = ask.route.mime == "application/json" and ask.route.extra == "last"
    return _error_file(ask, fits, "contact", "contactslist")


def csv_error(ask: Ask) -> EmulatedAnswer:
    """Answer GET DATA/BatchJob/{ID}/CSVError/text:csv (documented: FACTS 6.1). That /LAST works here too is a guess."""
    return _error_file(ask, ask.route.mime == "text/csv" and ask.route.extra in {"", "last"}, "csvimport")


def _error_file(ask: Ask, fits: bool, *kinds: str) -> EmulatedAnswer:  # noqa: FBT001 - whether the path names this kind of file
    job = ask.world.find_job(whole_number(ask.route.id), ask.key, *kinds) if fits else None
    content = _content(ask, job) if job else None
    if content is None:
        raise Refused(source_not_found(ask.route.mime or "text/plain"))
    share = ask.world.knobs.cut_error_file
    return EmulatedAnswer(200, content if share is None else content[: int(len(content) * share)], ask.route.mime, "OK")


def _content(ask: Ask, job: EmulatedJob) -> bytes | None:
    knobs = ask.world.knobs
    early = ask.world.elapsed() < job.ends + knobs.error_file_delay
    return None if knobs.hide_errors or not job.ended or early else job.error_file


DATA_ROUTES: Handlers = {
    "contactslist/csvdata": {"POST": upload_csv},
    "batchjob/jsonerror": {"GET": json_error},
    "batchjob/csverror": {"GET": csv_error},
}
