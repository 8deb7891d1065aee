"""managemanycontacts and csvimport."""

from typing import Any

import orjson

from mjbulk.testing._answers import EmulatedAnswer, error, invalid, not_found, reset, unchanged
from mjbulk.testing._ask import Ask, Handlers, Refused, is_action
from mjbulk.testing._fpjson import shown
from mjbulk.testing._import_csv import OPTION_KEYS
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._knobs import Timestamps
from mjbulk.testing._paging import Listing, page
from mjbulk.testing._rules import SUBSCRIPTION_ACTIONS, fold_keys, whole_number
from mjbulk.testing._stages import Sight, look

_SMALLINT = 32_767
_EXCLUSIONS = ("excludemarketing", "includemarketing")
_LIST_NAMES = ("ContactsListID", "ContactsList", "ContactsListALT")
_CSV_KEYS = (*_LIST_NAMES, "DataID", "Data", "Method", "ErrTreshold", "ImportOptions", "Status")
_READ_ONLY = ("AliveAt", "Count", "Current", "Errcount", "ID", "JobEnd", "JobStart", "RequestAt")
_LIMIT_TEXT = "Number of contacts exceeds maximum allowed for free accounts"


def manage_many(ask: Ask) -> EmulatedAnswer:
    """Answer POST contact/managemanycontacts: 201 and a JobID (FACTS 1.7), even if every row is bad.

    It is a guess that empty or missing Contacts give a 400, and so is its text.
    """
    if ask.route.id:
        raise Refused(not_found())
    body = ask.json(("Contacts", "ContactsLists"))
    given = body.get("ContactsLists")
    return _submit(ask, "contact", body, [] if given is None else ask.subscriptions(given))


def manage_many_of_list(ask: Ask) -> EmulatedAnswer:
    """Answer POST contactslist/{ID}/managemanycontacts; the text about a wrong Action is recorded on a similar call."""
    wanted = ask.known_list()
    body = ask.json(("Contacts", "Action"))
    action = body.get("Action", "")
    if not is_action(action):
        raise Refused(invalid({"Action": f"Invalid action: {shown(action)}"}, ask.world.knobs.refusal))
    return _submit(ask, "contactslist", body, [(wanted.id, action.casefold())])


def _submit(ask: Ask, kind: Any, body: dict[str, Any], actions: list[tuple[int, str]]) -> EmulatedAnswer:
    contacts, knobs = body.get("Contacts"), ask.world.knobs
    if not isinstance(contacts, list) or not contacts:
        empty = {"Contacts": "MJ08 Property Contacts is invalid: MJ03 A non-empty value is required"}
        raise Refused(invalid(empty, knobs.refusal))
    if knobs.max_rows is not None and len(contacts) > knobs.max_rows:
        raise Refused(reset())
    if knobs.contact_limit is not None and len(ask.account.people) + len(contacts) > knobs.contact_limit:
        raise Refused(error(400, _LIMIT_TEXT))
    job = ask.world.submit(kind, ask.key, ask.body, actions, len(contacts))
    return ask.writer.data([{"JobID": job.id}], status=201)


def managed(ask: Ask) -> EmulatedAnswer:
    """Answer GET .../managemanycontacts/{JobID}, which does not repeat the ID of the job (observed: FACTS 2.2).

    A job of a list is found only under that list (documented: it needs both IDs, FACTS 2.1).
    """
    kind = ask.route.name.partition("/")[0]
    job = ask.world.find_job(whole_number(ask.route.extra), ask.key, kind)
    if job is None or (kind == "contact" and ask.route.id):
        raise Refused(not_found())
    if kind == "contactslist" and job.actions[0][0] != ask.known_list(deleted=True).id:
        raise Refused(not_found())
    return ask.writer.data([_managed_row(ask, job)])


def _managed_row(ask: Ask, job: EmulatedJob) -> dict[str, Any]:
    sight, style = look(job, ask.world.elapsed(), ask.world.knobs), ask.world.knobs.timestamps
    lists = [{"Action": action, "ListID": number} for number, action in job.actions]
    row = {"ContactsLists": lists} if ask.world.knobs.echo_lists and lists else {}
    return row | {
        "Count": sight.count,
        "Error": sight.error,
        "ErrorFile": _error_file(ask, job) if sight.error_file else "",
        "JobEnd": _when(ask, sight.ended, style),
        "JobStart": _when(ask, sight.started, style),
        "Status": sight.status,
    }


def _error_file(ask: Ask, job: EmulatedJob) -> str:
    path = f"DATA/batchjob/{job.id}/JSONError/application:json/LAST"
    origin = {"relative": "", "root": "/v3/", "absolute": "{url}/v3/", "foreign": "https://files.example.net/v3/"}
    return origin[ask.world.knobs.error_file_form].format(url=ask.world.url) + path


def _when(ask: Ask, seconds: float | None, style: Timestamps) -> str | int:
    if style == "unix":
        return unix(ask, seconds)
    if seconds is None or style == "empty":
        return ""
    return ask.world.stamp(seconds) if style == "z" else ask.world.stamp(seconds).removesuffix("Z")


def unix(ask: Ask, seconds: float | None) -> int:
    """Write a time as Unix seconds, 0 for one that is not set."""
    return 0 if seconds is None else int(ask.world.moment(seconds).timestamp())


def create_import(ask: Ask) -> EmulatedAnswer:
    """Answer POST csvimport: 201 and the job (FACTS 5.1). Texts about wrong fields are guesses unless noted."""
    body = _import_fields(ask)
    check_status(body, "Upload")
    return ask.writer.data([_import_row(ask, start_import(ask, body))], status=201)


def _import_fields(ask: Ask) -> dict[str, Any]:
    names = (*_CSV_KEYS, *_READ_ONLY)
    return ask.fields(names, "TCSVImport") if ask.world.knobs.strict_imports else ask.json(names)


def start_import(ask: Ask, body: dict[str, Any]) -> EmulatedJob:
    """Put the import of an uploaded file in the queue, as the members of a csvimport describe it."""
    method = shown(body.get("Method", "Unknown")).casefold()
    if method not in (*SUBSCRIPTION_ACTIONS, *_EXCLUSIONS):
        raise Refused(invalid(f"MJ08 Property Method is invalid: {shown(body.get('Method', 'Unknown'))}"))
    list_id = _import_list(ask, body, method)
    data_id = whole_number(body.get("DataID", body.get("Data"))) or 0
    upload = ask.world.uploads.get(data_id)
    if upload is None or upload.key != ask.account.key:
        raise Refused(invalid("MJ08 Property DataID is invalid: MJ03 A non-empty value is required"))
    return ask.world.submit(
        "csvimport",
        ask.key,
        upload.body,
        [(list_id, method)] if list_id else [],
        max(0, upload.body.rstrip().count(b"\n")),
        method=method,
        data_id=data_id,
        list_id=list_id,
        err_treshold=_treshold(body),
        import_options=_options(body),
    )


def _import_list(ask: Ask, body: dict[str, Any], method: str) -> int:
    given = next((body[name] for name in _LIST_NAMES if body.get(name)), None)
    if method in _EXCLUSIONS:
        if given:
            text = "Exclusion of contacts from marketing campaign is a global status and can not be applied to a list"
            raise Refused(invalid(f"MJ08 Property ContactsList is invalid: {text}"))  # documented: FACTS 5.2
        return 0
    if not given:
        raise Refused(invalid("MJ08 Property ContactsList is invalid: MJ03 A non-empty value is required"))
    by_address = given == body.get("ContactsListALT") and isinstance(given, str)
    found = ask.account.usable_list(given if by_address else whole_number(given))
    if found is None:
        wrong = [{"ListID": given, "Error": f"List ID {shown(given)} is invalid or deleted"}]
        raise Refused(invalid({"ContactsLists": wrong}))
    return found.id


def _treshold(body: dict[str, Any]) -> int:
    given = body.get("ErrTreshold") or 0
    number = whole_number(given)
    if number is None or not 0 <= number <= _SMALLINT:
        raise Refused(invalid(f"MJ08 Property ErrTreshold is invalid: {shown(given)}"))
    return number


def _options(body: dict[str, Any]) -> str:
    """Check ImportOptions, which is JSON in a string (FACTS 5.3); with FieldNames the file has no header."""
    given = body.get("ImportOptions") or "{}"
    try:
        options = orjson.loads(given) if isinstance(given, str) else None
        options = fold_keys(options, OPTION_KEYS) if isinstance(options, dict) else None
    except ValueError:
        options = None
    if options is None or not _sane(options):
        raise Refused(invalid("MJ08 Property ImportOptions is invalid"))
    return str(given) if body.get("ImportOptions") else ""


def _sane(options: dict[str, Any]) -> bool:
    zone = whole_number(options.get("TimezoneOffset") or 0)
    names = options.get("FieldNames") or []
    return zone is not None and -12 <= zone <= 12 and isinstance(names, list)


def check_status(body: dict[str, Any], allowed: str) -> None:
    """Refuse a wrong Status. The text is recorded (FACTS 5.6), and misleading: it says Upload for a PUT too."""
    given = body.get("Status")
    if given is not None and shown(given).casefold() != allowed.casefold():
        raise Refused(error(400, f'Invalid value for Status: "{shown(given)}". Status can only be set to Upload'))


def read_imports(ask: Ask) -> EmulatedAnswer:
    """Answer GET csvimport[/{ID}]. The list has pages and no filters (documented: FACTS 5.7)."""
    if not ask.route.id:
        imports = [job for job in ask.world.jobs.values() if job.kind == "csvimport" and mine(ask, job)]
        return page((_import_row(ask, job) for job in imports), ask.query, ask.writer, Listing())
    return ask.writer.data([_import_row(ask, known_job(ask, "csvimport"))])


def change_import(ask: Ask) -> EmulatedAnswer:
    """Answer PUT csvimport/{ID}: only Status can be set, only to "Abort", and only before the job has ended
    (documented; the text about an ended job is a guess).
    """
    job = known_job(ask, "csvimport")
    return ask.writer.data([_import_row(ask, job)]) if aborted(ask, job, _import_fields(ask)) else unchanged()


def aborted(ask: Ask, job: EmulatedJob, body: dict[str, Any]) -> bool:
    """Cancel the job if the Status in the body says so; tell whether it did."""
    if body.get("Status") is None:
        return False
    check_status(body, "Abort")
    if job.ended:
        raise Refused(error(400, "Jobs already finished cannot be aborted"))
    ask.world.cancel(job)
    return True


def mine(ask: Ask, job: EmulatedJob) -> bool:
    """Tell whether the caller can see a job now."""
    return job.key == ask.account.key and ask.world.visible(job)


def known_job(ask: Ask, *kinds: str) -> EmulatedJob:
    """Find the job in the path; Refused with a 404 if there is none."""
    job = ask.world.find_job(whole_number(ask.route.id), ask.key, *kinds)
    if job is None:
        raise Refused(not_found())
    return job


def _import_row(ask: Ask, job: EmulatedJob) -> dict[str, Any]:
    sight, style = look(job, ask.world.elapsed(), ask.world.knobs), ask.world.knobs.csv_timestamps
    return {
        "AliveAt": _when(ask, alive(ask, job, sight), style),
        "ContactsListID": job.list_id,
        "Count": sight.count,
        "Current": sight.current,
        "DataID": job.data_id,
        "Errcount": sight.errcount,
        "ErrTreshold": job.err_treshold,
        "ID": job.id,
        "ImportOptions": job.import_options,
        "JobEnd": _when(ask, sight.ended, style),
        "JobStart": _when(ask, sight.started, style),
        "Method": job.method,
        "RequestAt": _when(ask, job.posted, style),
        "Status": sight.status,
    }


def alive(ask: Ask, job: EmulatedJob, sight: Sight) -> float | None:
    """Give the time at which the job was last at work."""
    if sight.started is None:
        return None
    return job.ends if sight.ended is not None else ask.world.elapsed()


JOB_ROUTES: Handlers = {
    "contact/managemanycontacts": {"POST": manage_many, "GET": managed},
    "contactslist/managemanycontacts": {"POST": manage_many_of_list, "GET": managed},
    "csvimport": {"POST": create_import, "GET": read_imports, "PUT": change_import},
}
