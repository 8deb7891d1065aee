"""The records of a journal: what was sent and what is known of it. They let a run go on after its process has ended.

The rules. A run has one `RunRecord`. Each of its chunks has a `ChunkRecord`; chunks are numbered from 1 without a gap,
and the record has the range of the chunk's rows and a digest of them. The entries of a chunk are sent in one part, or
in several if the chunk was halved. Each part has a `PartRecord`, which goes through these states:

========  ===========================================================  ===============================================
state     what is on disk before anything else happens                 after a crash
========  ===========================================================  ===============================================
unsent    the part; none of its entries was applied                    it is sent
sending   the intent to send it, before the first byte leaves          in doubt: it is retried only if that is harmless
watched   the job that took it, before the job is polled               the job is watched again
halved    two other parts, which have its entries                      the other parts count, this one does not
settled   its outcome, before that is counted                          it is skipped, and keeps its outcome
========  ===========================================================  ===============================================

The run of an ingester is of a kind of its own. It has no source, and it may last for weeks: so when a chunk of it has
ended, its counts are added to those of the run, and its records are deleted. Numbers of such chunks have gaps.

Records that wait are written together, in one transaction. A record holds numbers, digests, words of mjbulk and, with
addresses masked, words of Mailjet; never a contact, a value or a key. Each record has a check sum. A journal with a
record that does not match its check sum is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal

import attrs
import orjson
from attrs import frozen

from mjbulk.errors import JournalRefused, UsageError
from mjbulk.journal.info import PartState
from mjbulk.models import UNSPECIFIED, Match, Origin, Rejection
from mjbulk.terms import Action, RunSpec

FORMAT = 2
"""The version of the tables that are written. `mjbulk.journal.formats` reads those of an earlier version."""
Command = Literal["stop", "resume"]


# Records: mjbulk.journal.tables defines how they are stored


@frozen(kw_only=True)
class RunRecord:
    """One run, or one partition of it."""

    run: int
    """Its number: `number_of` its account, run_id and partition."""
    run_id: str
    partition: str = ""
    account: str
    """A fingerprint of the API key."""
    spec: str
    """Its terms, as JSON."""
    source: str = ""
    """Where its rows can be read again, as JSON; empty if that is not known."""
    targets: str = ""
    """Its lists by their IDs, as JSON."""
    created: str
    """When it began, in RFC 3339."""
    whole: bool = False
    """Whether the source was read to its end, and each of its rows is in a chunk or was refused."""
    rows: int = 0
    """How many rows were read so far. Those of a run that was stopped stay counted."""
    closed: bool = False
    """Whether the process that had the run has written how it ended. Its first write makes this False."""
    requests: int = 0
    milliseconds: int = 0
    cause: str = ""
    """Why it stopped early, with addresses masked."""
    reading: str = ""
    """How its source was read, as JSON."""
    fence: int = 0
    """The number of the process that has opened it last: a new one each time. A process with another number no longer
    holds it. The journal itself writes it."""
    kind: Literal["", "ingester"] = ""
    """Empty for the run of a source. In the run of an ingester, ``rows`` and the counts below are those of the chunks
    whose records were deleted, and of rows that mjbulk refused."""
    accepted: int = 0
    rejected: int = 0
    superseded: int = 0
    unknown: int = 0


@frozen(kw_only=True)
class ChunkRecord:
    """One chunk: written when it is cut."""

    run: int
    number: int
    first: int
    """Its first fresh row, which is one that was never held; ``last`` + 1 if all of its rows were held."""
    last: int
    """Its last fresh row; if it has none, the last one of the chunks before it. Its window ends here."""
    rows: int
    """How many rows. Rows between them that mjbulk refused are not counted."""
    entries: int
    digest: str
    shape: str = ""
    """How its rows differ from its window, and which of them were merged. `mjbulk.journal.shape` encodes it."""

    def whole(self) -> "PartRecord":
        """Give the chunk as one part, as it is before it is sent."""
        return PartRecord(run=self.run, chunk=self.number, first=0, end=self.entries, rows=self.rows)


@frozen(kw_only=True)
class PartRecord:
    """Entries of a chunk that are sent together: those from ``first`` to ``end`` (exclusive)."""

    run: int
    chunk: int
    first: int
    end: int
    rows: int
    """How many rows its entries stand for."""
    state: PartState = "unsent"
    attempts: int = 0
    """How often the intent to send it was written."""
    data_id: int | None = None
    """The ID of the data that was uploaded for a csvimport. Data has no effect before a csvimport names it."""
    job: str = ""
    overtaken: bool = False
    """Whether a later row of one of its people was sent while it was in doubt."""
    accepted: int = 0
    rejected: int = 0
    superseded: int = 0
    unknown: int = 0
    cause: str = ""
    """Why rows are unknown, or which counts do not agree. If the part is not settled: why the process has given it up.
    Its job has ended and the rejections wait for the rows, or its answer was lost and no job of it was found."""

    @property
    def indexes(self) -> slice:
        """Which entries of the chunk it has."""
        return slice(self.first, self.end)


@frozen(kw_only=True)
class RejectionRecord:
    """One rejection. Rows that mjbulk refused are in chunk 0, and the number of each is its row."""

    run: int
    chunk: int
    first: int
    """The first entry of its part."""
    number: int
    row: int | None = None
    candidates: str = ""
    """Ranges of rows, as JSON."""
    field: str | None = None
    message: str = attrs.field(repr=False)
    match: str
    origin: str
    code: str = ""
    """Empty if it is unspecified."""


@frozen(kw_only=True)
class CommandRecord:
    """What another process wants from the process that has the run open."""

    run: int
    number: int
    command: Command
    created: str
    """In RFC 3339."""


@frozen(kw_only=True)
class NoteRecord:
    """A text about an account, under a name: what its jobs have taught."""

    account: str
    name: str
    text: str


@frozen(kw_only=True)
class EndedChunk:
    """Says that the records of a chunk are to be deleted, after the records that are written with it. It is not
    stored.
    """

    run: int
    number: int


Record = RunRecord | ChunkRecord | PartRecord | RejectionRecord | CommandRecord | NoteRecord | EndedChunk


def run_of(record: Record) -> int | None:
    """Give the run of a record; None for one that is of no run."""
    return None if isinstance(record, NoteRecord) else record.run


def check_sum(values: Mapping[str, Any]) -> str:
    """Give the check sum of a record: of its values by their names on disk, without values that are the default.

    So a record has the same check sum before and after a column is added to its table.
    """
    return hash_of(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))


def hash_of(data: bytes) -> str:
    """Give the short hash that serves as a check sum."""
    return blake2b(data, digest_size=8).hexdigest()


def number_of(account: str, run_id: str, partition: str) -> int:
    """Give the number of a run of an account. The same names have the same number in every journal.

    Raises UsageError for a name that a database could not store.
    """
    for name in (run_id, partition):
        if not isinstance(name, str) or "\0" in name or not name.isprintable():
            raise UsageError("run_id= and partition= are texts without control characters")
    return number_of_name(f"{account}\0{run_id}\0{partition}")


def number_of_name(name: str) -> int:
    """Give the number of a name, which fits into every database."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) >> 1


def fingerprint(public_key: str) -> str:
    """Give the name of an account in a journal. The key cannot be derived from it."""
    return blake2b(public_key.encode(), digest_size=12, person=b"mjbulk account").hexdigest()


_ADDRESS = re.compile(r'"[^"@]*"@[^\s<>()\[\],;:"\'@]+|[^\s<>()\[\],;:"\'@][^\s<>()\[\],;:"@]*@[^\s<>()\[\],;:"\'@]+')
"""An e-mail address, also with a local part in quotes. An apostrophe belongs to it, except at its beginning."""


def mask(text: str) -> str:
    """Mask the addresses in a text, and replace what a database could not store."""
    return _ADDRESS.sub("***@***", text.replace("\0", "\ufffd").encode("utf-8", "replace").decode())


# Terms


_SPEC_ON_DISK = {
    "lists": "lists",
    "via": "via",
    "excluded": "excluded",
    "columns": "columns",
    "nulls": "nulls",
    "resend": "resend",
    "on_mismatch": "on_mismatch",
    "create_properties": "create_properties",
    "types": "types",
    "max_rejected": "max_rejected",
    "timeout": "timeout",
    "text": "text",
    "repairs": "repairs",
    "timezone": "timezone",
    "date_format": "date_format",
}
"""The fields of a spec by their names on disk, which never change."""
_TERMS = (
    "lists",
    "via",
    "excluded",
    "columns",
    "nulls",
    "create_properties",
    "types",
    "timezone",
    "date_format",
)
"""What has to be the same whenever a run goes on. The caller may change the other keywords."""


def encode_spec(spec: RunSpec) -> str:
    """Give the terms of a run as JSON. Raises UsageError for names that are not texts."""
    try:
        return orjson.dumps({name: getattr(spec, of) for name, of in _SPEC_ON_DISK.items()}).decode()
    except TypeError:
        raise UsageError("the names in lists=, columns= and types= are texts") from None


def decode_spec(text: str) -> RunSpec:
    """Give the terms of a run from their JSON."""
    found = orjson.loads(text)
    if found["lists"] is not None:
        found["lists"] = tuple((ref, Action(word)) for ref, word in found["lists"])
    return RunSpec(**{_SPEC_ON_DISK[name]: value for name, value in found.items()})


def check_terms(run: RunRecord, asked: RunRecord) -> None:
    """Raise JournalRefused if the terms of a run are not those that it was begun with."""
    before, now = decode_spec(run.spec), decode_spec(asked.spec)
    for name in _TERMS:
        if _meaning(before, name) != _meaning(now, name):
            raise JournalRefused(f"run {run.run_id!r} was begun with another {name}=: take a new run_id for new terms")


def _meaning(spec: RunSpec, name: str) -> Any:
    """Give a term so that two with the same meaning are equal: the order of lists has no meaning."""
    term = getattr(spec, _SPEC_ON_DISK[name])
    return dict(term) if name == "lists" and term is not None else term


# Rejections


def record_of(rejection: Rejection, run: int, chunk: int, first: int, number: int) -> RejectionRecord:
    """Make the record of a rejection, without the address and the data of its row."""
    return RejectionRecord(
        run=run,
        chunk=chunk,
        first=first,
        number=number,
        row=rejection.row,
        candidates=orjson.dumps(list(_ranges(rejection.candidates))).decode() if rejection.candidates else "",
        field=None if rejection.field is None else mask(rejection.field),
        message=mask(rejection.message),
        match=rejection.match,
        origin=rejection.origin,
        code="" if rejection.code == UNSPECIFIED else rejection.code,
    )


def rejection_of(record: RejectionRecord) -> Rejection:
    """Make the rejection of a record. Its address and its data are not known."""
    match: Match = record.match  # type: ignore[assignment]  # one of the words that record_of wrote
    origin: Origin = record.origin  # type: ignore[assignment]
    ranges = orjson.loads(record.candidates) if record.candidates else ()
    return Rejection(
        row=record.row,
        candidates=tuple(row for first, last in ranges for row in range(first, last + 1)),
        field=record.field,
        code=record.code or UNSPECIFIED,
        message=record.message,
        match=match,
        origin=origin,
    )


def _ranges(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = rows[0]
    for row in rows[1:]:
        if row != last + 1:
            yield first, last
            first = row
        last = row
    yield first, last


def damaged(what: str) -> JournalRefused:
    """Give the error for a journal that is damaged."""
    return JournalRefused(
        f"the journal is damaged ({what}): restore a copy of it, or take a new one with a new run_id, after you have "
        "seen at Mailjet what was sent"
    )
