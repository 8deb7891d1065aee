"""Replies of Mailjet, decoded to records or errors.

A reply is read by its body and never by its content type (FACTS 9.14). Mailjet sends JSON as text/csv, HTML from its
proxy (FACTS 9.10), numbers and booleans as strings (FACTS 9.2), and ``""`` for a missing value (FACTS 2.7); keys are
read in any case (FACTS 1.10). A field that a record needs is converted strictly: ``true``, ``3.9`` and full-width
digits are no numbers.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import attrs
import orjson
from attrs import field, frozen

from mjbulk.resources import ContactInfo, ContactsList, Property, Subscription

if TYPE_CHECKING:
    import cattrs

MAX_ID = 2**63 - 1
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}\Z")
_CODE = re.compile(r"\bMJ[0-9][0-9]\b")


ErrorForm = Literal["object", "nothing", "page"]
"""What the body of a refusal is: an object of JSON, as Mailjet's API sends it; nothing; or anything else, for example
the page of a proxy."""


class UnreadableReply(ValueError):
    """A body is not what this reply has to be. The message says what is wrong and never quotes the body."""


@frozen(kw_only=True)
class JobReply:
    """The state of a job of any kind in one reply (FACTS 2.2, 5.4). None means that the reply does not say."""

    status: str = ""
    count: int | None = None
    current: int | None = None
    errcount: int | None = None
    error: str = field(default="", repr=False)
    error_file: str = field(default="", repr=False)
    job_start: datetime | None = None
    job_end: datetime | None = None
    id: int | None = None
    data_id: int | None = None


@frozen(kw_only=True)
class ErrorReply:
    """What Mailjet says when it refuses a request."""

    form: ErrorForm
    """What the body is."""
    code: str | None
    """Mailjet's own code, such as MJ08 (FACTS 9.4)."""
    text: str = field(repr=False)
    """ErrorMessage and ErrorInfo in one text, whatever their shape; for HTML the text without tags."""
    lists: Mapping[int, str] = field(factory=dict, repr=False)
    """What it says about single lists, by list ID."""


def decode_job_id(body: bytes) -> int:
    """Read the JobID of a managemanycontacts POST (FACTS 1.7).

    Raises UnreadableReply if there is no usable one; the request was applied nevertheless.
    """
    row = _first_row(body)
    job_id = _int(row.get("jobid", row.get("id")))
    if job_id is None or not 0 < job_id <= MAX_ID:
        raise UnreadableReply("the reply names no job")
    return job_id


def decode_data_id(body: bytes) -> int:
    """Read the DataID of an upload: ``{ "ID": n }`` without an envelope (FACTS 4.1). Raises UnreadableReply."""
    reply = _json(body)
    data_id = _int(reply.get("id")) if isinstance(reply, dict) else None
    if data_id is None or not 0 < data_id <= MAX_ID:
        raise UnreadableReply("the reply names no data")
    return data_id


def decode_job(body: bytes) -> JobReply:
    """Read the state of a job. Raises UnreadableReply."""
    return _job_of(_first_row(body))


def _job_of(row: dict[str, Any]) -> JobReply:
    said = {key: _text(row.get(key)) for key in ("error", "errorfile")}
    return _structure({**row, **said}, JobReply)


def decode_jobs(body: bytes) -> list[JobReply]:
    """Read a page of csvimport or batchjob. Raises UnreadableReply."""
    return [_job_of(row) for row in _rows(body)]


def decode_lists(body: bytes) -> list[ContactsList]:
    """Read a page of contactslist. Raises UnreadableReply."""
    return [_structure(row, ContactsList) for row in _rows(body)]


def decode_contact(body: bytes) -> ContactInfo | None:
    """Read one contact, or None from an empty body, as a 304 has (FACTS 9.7). Raises UnreadableReply."""
    return _structure(_first_row(body), ContactInfo) if body else None


def decode_subscriptions(body: bytes) -> list[Subscription]:
    """Read a page of getcontactslists. Raises UnreadableReply."""
    return [_structure(row, Subscription) for row in _rows(body)]


def decode_contact_data(body: bytes) -> dict[str, Any]:
    """Read the values of one contact by casefolded property name. Raises UnreadableReply."""
    data = _first_row(body).get("data")
    if not isinstance(data, list):
        raise UnreadableReply("the reply has no list of properties")
    items = [_lower(item) for item in data if isinstance(item, dict)]
    return {name.casefold(): item.get("value") for item in items if isinstance(name := item.get("name"), str)}


def decode_batchjob(body: bytes) -> dict[str, Any]:
    """Read a batchjob as Mailjet shows it, with keys in Mailjet's spelling (FACTS 7.1). Raises UnreadableReply."""
    _first_row(body)
    reply = orjson.loads(_without_bom(body))
    row: dict[str, Any] = [value for key, value in reply.items() if key.casefold() == "data"][-1][0]
    return row


def decode_properties(body: bytes) -> list[Property]:
    """Read a page of contactmetadata. Raises UnreadableReply."""
    return [_structure(row, Property) for row in _rows(body)]


def decode_error(body: bytes) -> ErrorReply:
    """Read the body of a refusal: JSON of several shapes (FACTS 9.3), HTML, or nothing. Never raises."""
    text = body.decode("utf-8", "replace")
    try:
        reply = _json(body)
    except UnreadableReply:
        reply = None
    if isinstance(reply, dict):
        said = [_text(reply.get(key)) for key in ("errormessage", "errorinfo")]
        text = ": ".join(part for part in said if part) or text
    else:
        text = " ".join(re.sub(r"<[^>]*>", " ", text[:4096]).split())
    code = _CODE.search(text)
    form: ErrorForm = "object" if isinstance(reply, dict) else "page" if body.strip() else "nothing"
    return ErrorReply(form=form, code=code[0] if code else None, text=text[:65536], lists=_list_errors(reply))


def _list_errors(reply: Any) -> dict[int, str]:
    """Find what is said about single lists: ErrorInfo has it, or ErrorMessage (FACTS 1.8)."""
    errors = {}
    for key in ("errorinfo", "errormessage") if isinstance(reply, dict) else ():
        info = _lower(reply.get(key))
        items = info.get("contactslists") if isinstance(info, dict) else None
        for item in map(_lower, items if isinstance(items, list) else ()):
            if isinstance(item, dict) and (number := _or_none(_int, item.get("listid"))) is not None:
                errors[number] = _text(item.get("error"))
    return errors


def _text(value: Any) -> str:
    """Give a text as it is and anything else as JSON."""
    if not value:
        return ""
    try:
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "(too many levels to be read)"


def _lower(value: Any) -> Any:
    """Casefold the keys of an object: Mailjet writes them in any case."""
    if isinstance(value, dict):
        return {key.casefold(): item for key, item in value.items()}
    return value


def _json(body: bytes) -> Any:
    try:
        return _lower(orjson.loads(_without_bom(body)))
    except orjson.JSONDecodeError:
        raise UnreadableReply("the reply is no JSON") from None


def _without_bom(body: bytes) -> bytes:
    return body.removeprefix(b"\xef\xbb\xbf")


def _rows(body: bytes) -> list[dict[str, Any]]:
    reply = _json(body)
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise UnreadableReply("the reply has no list of data")
    return [_lower(row) for row in data]


def _first_row(body: bytes) -> dict[str, Any]:
    rows = _rows(body)
    if len(rows) != 1:
        raise UnreadableReply("the reply has no data" if not rows else "the reply has the data of several things")
    return rows[0]


def _int(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _DIGITS.match(value.strip()):
        return int(value)
    raise UnreadableReply("something else stands where a number should be")


def _bool(value: Any) -> bool | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    word = {"true": True, "false": False}.get(value.strip().casefold()) if isinstance(value, str) else None
    if word is None:
        raise UnreadableReply("something else stands where true or false should be")
    return word


def _str(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise UnreadableReply("something else stands where a text should be")


def decode_time(value: Any) -> datetime | None:
    """Read a timestamp (FACTS 2.7): ISO 8601, in UTC if it has no zone, or Unix seconds.

    Gives None for anything else, and for the year 1, by which a server means "never".
    """
    if isinstance(value, str) and not _DIGITS.match(value):
        try:
            stamp = datetime.fromisoformat(value)
        except ValueError:
            return None
        if stamp.year == 1:
            return None
        return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    try:
        seconds = _int(value)
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (UnreadableReply, OverflowError, ValueError, OSError):
        return None


_T = TypeVar("_T")
_ALIASES = {
    JobReply: {"error_file": "errorfile", "job_start": "jobstart", "job_end": "jobend", "data_id": "dataid"},
    ContactInfo: {"excluded": "isexcludedfromcampaigns", "created": "createdat"},
    Subscription: {"active": "isactive", "unsubscribed": "isunsub"},
    ContactsList: {"subscribers": "subscribercount", "deleted": "isdeleted", "created": "createdat"},
}


@cache
def converter() -> "cattrs.Converter":
    """Make what makes records of rows. Its library is loaded here, which takes a while: see `mjbulk.run.loading`."""
    import cattrs  # noqa: PLC0415  # see above
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415

    made = cattrs.Converter(detailed_validation=False)
    made.register_structure_hook(int, lambda value, _: _needed(_int(value)))
    made.register_structure_hook(bool, lambda value, _: bool(_bool(value)))
    made.register_structure_hook(str, lambda value, _: _str(value))
    made.register_structure_hook_func(lambda cls: cls == (int | None), lambda value, _: _or_none(_int, value))
    made.register_structure_hook_func(lambda cls: cls == (bool | None), lambda value, _: _or_none(_bool, value))
    made.register_structure_hook_func(lambda cls: cls == (datetime | None), lambda value, _: decode_time(value))
    for cls in (JobReply, ContactsList, Property, ContactInfo, Subscription):
        names = _ALIASES.get(cls, {})
        renames = {f.name: override(rename=names.get(f.name, f.name.replace("_", ""))) for f in attrs.fields(cls)}
        made.register_structure_hook(cls, make_dict_structure_fn(cls, made, **cast("Any", renames)))
    return made


def _or_none(read: Callable[[Any], _T], value: Any) -> _T | None:
    """Read an optional field, None if that fails: a record must not be lost for a field that it can do without."""
    try:
        return read(value)
    except UnreadableReply:
        return None


def _needed(number: int | None) -> int:
    if number is None:
        raise UnreadableReply("a number is missing")
    return number


def _structure(row: Mapping[str, Any], cls: type[_T]) -> _T:
    try:
        return converter().structure(row, cls)
    except KeyError:
        raise UnreadableReply("a field is missing") from None
