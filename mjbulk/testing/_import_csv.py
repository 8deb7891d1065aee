"""The end of a csvimport: one synchronous pass reads its file, and rejects or applies each line.

The rules of the header, the texts of a failed import and the error cells are documented or observed (FACTS 4.4,
4.6, 6.2, 6.3). The texts "Too many columns at line" and "Could not convert value" are guesses, modelled on the known
ones.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import orjson

from mjbulk.testing._errorfiles import csv_error_file
from mjbulk.testing._import_json import JobError, Rejected, set_properties
from mjbulk.testing._jobs import EmulatedError, EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._rules import BAD_ADDRESS, convert, datetime_reader, fold_keys, is_address, person
from mjbulk.testing._state import EmulatedAccount, EmulatedProperty

OPTION_KEYS = ("DateTimeFormat", "TimezoneOffset", "FieldNames")
_EXCLUSIONS = {"excludemarketing": True, "includemarketing": False}


@attrs.frozen
class _CsvColumn:
    """A column of the file. ``defined`` is the property that it sets, None for the address."""

    name: str
    defined: EmulatedProperty | None
    read: Callable[[str], Any]


def records(text: str) -> Iterator[str]:
    """Split a CSV text into its records, unchanged but without their line ends; a quoted field may hold line ends."""
    pending: list[str] = []
    quotes = 0
    for line in io.StringIO(text, newline=""):
        quotes += line.count('"')
        if pending or quotes % 2:
            pending.append(line)
            if quotes % 2:
                continue
            line = "".join(pending)  # noqa: PLW2901 - the record is all lines since its first quote
            pending = []
        quotes = 0
        if bare := line.rstrip("\r\n"):
            yield bare
    if pending:
        yield "".join(pending).rstrip("\r\n")


def fields(record: str) -> list[str]:
    """Split a record into its cells. Raises Rejected if it is no CSV record."""
    if '"' not in record:
        return record.split(",")
    try:
        return next(csv.reader(io.StringIO(record, newline="")))
    except csv.Error as error:
        raise Rejected("Could not convert value") from error


class CsvImport:
    """One pass over the lines of one file."""

    def __init__(
        self, job: EmulatedJob, account: EmulatedAccount, knobs: Knobs, rejects: Mapping[str, EmulatedError], now: str
    ) -> None:
        self._job, self._account, self._knobs, self._rejects, self._now = job, account, knobs, rejects, now
        self._options = fold_keys(orjson.loads(job.import_options or "{}"), OPTION_KEYS)
        self._names: list[str] = []
        self._columns: list[_CsvColumn] = []
        self._email = 0
        self._lines: list[str] = []
        self._seen: set[str] = set()

    def run(self) -> None:
        """Set the job's outcomes, errors, status and error file, and change the account."""
        job = self._job
        try:
            self._lines = list(records(self._text()))
            self._read_header()
        except JobError as error:
            job.status, job.error = "Error", str(error)
            job.outcomes = ["skipped"] * len(self._lines)
            job.errors = {0: EmulatedError(str(error))}
            job.error_file = csv_error_file(self._names, [(self._lines[0] if self._lines else "", job.errors[0])])
            return
        job.total, job.status = len(self._lines), "Completed"
        self._take_lines()
        if job.errors:
            failing = ((self._lines[index], error) for index, error in sorted(job.errors.items()))
            job.error_file = csv_error_file(self._names, failing)

    def _text(self) -> str:
        body = self._job.body or b""
        if not body.strip() or _is_json_string(body):
            raise JobError("List index (0) out of bounds")
        return body.decode("utf-8", "surrogateescape")

    def _read_header(self) -> None:
        given = self._options.get("FieldNames")
        first = fields(self._lines[0]) if self._lines else []
        if given is not None:
            self._names = [str(name) for name in given]
        elif len(first) == 1 and is_address(first[0]):
            self._names = ["email"]
        else:
            self._names = first
            del self._lines[:1]
        lowered = [name.casefold() for name in self._names]
        if "email" not in lowered:
            raise JobError("Email column not found")
        if len(set(lowered)) < len(lowered) or "" in lowered:
            raise JobError("Bad header count")
        self._email = lowered.index("email")
        self._columns = self._create_columns()

    def _create_columns(self) -> list[_CsvColumn]:
        """Read the header, and make unknown names properties of type string, ``name`` included (documented)."""
        account = self._account
        new = [n for n in self._names if n.casefold() not in account.properties and n.casefold() != "email"]
        if len(account.properties) + len(new) + 1 > self._knobs.property_limit:
            raise JobError(f"Number of contact properties exceeds the limit of {self._knobs.property_limit}")
        for name in new:
            account.create_property(name)
        return [self._column(name) for name in self._names]

    def _column(self, name: str) -> _CsvColumn:
        if name.casefold() == "email":
            return _CsvColumn("email", None, str)
        defined = self._account.properties[name.casefold()]
        options = self._options
        if defined.datatype == "datetime" and options.get("DateTimeFormat"):
            return _CsvColumn(
                defined.name,
                defined,
                datetime_reader(str(options["DateTimeFormat"]), int(options.get("TimezoneOffset") or 0)),
            )
        return _CsvColumn(defined.name, defined, lambda cell: convert(cell, defined.datatype))

    def _take_lines(self) -> None:
        job, knobs = self._job, self._knobs
        stop = job.stop_after if job.stop_after is not None else knobs.abort_after
        for index, line in enumerate(self._lines):
            if (stop is not None and index >= stop) or self._too_many_errors():
                own = job.stop_after is None and bool(knobs.abort_error)
                job.status, job.error = ("Error", knobs.abort_error) if own else (knobs.aborted_word, "")
                break
            try:
                self._take(line)
                job.outcomes.append("applied")
            except Rejected as rejected:
                job.errors[index] = rejected.error
                job.outcomes.append("rejected")
        else:
            if job.stop_after is not None:
                job.status = knobs.aborted_word
        job.outcomes += ["skipped"] * (len(self._lines) - len(job.outcomes))

    def _too_many_errors(self) -> bool:
        job = self._job
        if not job.err_treshold:
            return False
        share = 1.0 if self._knobs.err_treshold == "count" else len(self._lines) / 100
        return len(job.errors) > job.err_treshold * share

    def _take(self, line: str) -> None:
        cells = fields(line)
        if len(cells) != len(self._columns):
            raise Rejected("Too few columns at line" if len(cells) < len(self._columns) else "Too many columns at line")
        email = cells[self._email]
        if not is_address(email):
            raise Rejected(BAD_ADDRESS, "email")
        if (key := person(email)) in self._seen:
            raise Rejected("Duplicated email", "email")
        if error := self._rejects.get(key):
            raise Rejected(error.message, error.field)
        values = self._values(cells)
        self._seen.add(key)
        self._apply(email, values)

    def _values(self, cells: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for column, cell in zip(self._columns, cells, strict=True):
            if column.defined is None:
                continue
            if not cell:
                if self._knobs.csv_empty_cell == "clear":
                    values[column.name] = None
                continue
            try:
                values[column.name] = column.read(cell)
            except ValueError:
                raise Rejected("Could not convert value", column.name) from None
        return values

    def _apply(self, email: str, values: dict[str, Any]) -> None:
        who = self._account.person(email, self._now)
        set_properties(who, values)
        who.touch(self._now)
        if (excluded := _EXCLUSIONS.get(self._job.method)) is not None:
            who.exclude(excluded, self._now)
        for list_id, action in self._job.actions:
            who.act(list_id, action, self._now)


def _is_json_string(body: bytes) -> bool:
    """Tell whether the CSV was sent as a JSON string (observed: such an import fails, FACTS 4.3)."""
    bare = body.strip()
    if not (bare.startswith(b'"') and bare.endswith(b'"') and b"\\" in bare) or b"\n" in bare:
        return False
    try:
        return isinstance(orjson.loads(bare), str)
    except ValueError:
        return False
