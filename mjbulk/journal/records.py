"""The journal: what was sent and what is known of it, so that a run goes on after its process has ended.

The rules. A run is a row of `RunRecord`; its chunks are a `ChunkRecord` each, numbered from 1 without a gap, with the
range of its rows and a digest of what they were; the entries of a chunk go out in one part, or in several where it was
halved, and each part walks through these states:

========  ===========================================================  ================================================
state     what is on disk before anything else happens                 after a crash
========  ===========================================================  ================================================
unsent    nothing of it was applied, for certain                       it is sent
sending   the intent: written before the first byte leaves             in doubt: sent again only where that is harmless
watched   the job that took it: written before the job is asked for    the job is watched again
halved    two other parts have its entries                             they count, it does not
settled   the outcome: written before it is counted                    it is skipped, its outcome stands
========  ===========================================================  ================================================

What waits is written together, in one transaction. A record holds numbers, digests and words of ours or, with addresses
masked, of Mailjet's; never a contact, a value or a key. Each carries a check sum, and what does not add up is refused.
"""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import orjson
from attrs import frozen

from mjbulk.errors import JournalRefused, UsageError
from mjbulk.journal.info import PartState
from mjbulk.models import Match, Origin, Rejection
from mjbulk.terms import Action, RunSpec

FORMAT = 1
"""The version of what is written. A journal of another one is refused."""


# Records: mjbulk.journal.tables says how they are stored


@frozen(kw_only=True)
class RunRecord:
    """One run, or one partition of it."""

    run: int
    """Its number: `number_of` its names."""
    run_id: str
    partition: str = ""
    account: str
    """A fingerprint of the API key."""
    spec: str
    """What was asked for, as JSON."""
    source: str = ""
    """Where its rows can be read again, as JSON; empty where nobody knows."""
    targets: str = ""
    """The lists by their IDs, as JSON."""
    created: str
    """When it began, in RFC 3339."""
    whole: bool = False
    """Whether the source was read to its end."""
    rows: int = 0
    """How many rows it had, once it was."""
    settled: bool = False
    """Whether nothing more can be done, or not without its source."""
    requests: int = 0
    milliseconds: int = 0


@frozen(kw_only=True)
class ChunkRecord:
    """One chunk: written when it is cut."""

    run: int
    number: int
    first: int
    """Its first row."""
    last: int
    rows: int
    """How many rows; those that were refused here lie in between and do not count."""
    entries: int
    digest: str

    def whole(self) -> "PartRecord":
        """Give the one part that it is before it was sent."""
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
    """How often it was about to be sent."""
    data_id: int | None = None
    """What was uploaded on the CSV way: it has no effect before a csvimport names it."""
    job: str = ""
    overtaken: bool = False
    """Whether a later row of one of its people went out while it was in doubt."""
    accepted: int = 0
    rejected: int = 0
    superseded: int = 0
    unknown: int = 0
    cause: str = ""
    """Why rows are unknown, or what does not agree."""

    @property
    def indexes(self) -> slice:
        """Its entries."""
        return slice(self.first, self.end)


@frozen(kw_only=True)
class RejectionRecord:
    """One rejection. Those of rows that were refused here stand under chunk 0, numbered by their rows."""

    run: int
    chunk: int
    first: int
    """The part, by its first entry."""
    number: int
    row: int | None = None
    candidates: str = ""
    """Ranges of rows, as JSON."""
    field: str | None = None
    message: str
    match: str
    origin: str


@frozen(kw_only=True)
class NoteRecord:
    """Something that was learned of an account."""

    account: str
    name: str
    text: str


Record = RunRecord | ChunkRecord | PartRecord | RejectionRecord | NoteRecord


def check_sum(values: Sequence[Any]) -> str:
    """Give the check sum of a record's values."""
    return blake2b(orjson.dumps(values), digest_size=8).hexdigest()


def number_of(run_id: str, partition: str) -> int:
    """Give the number of a run: the same name has the same one, in every journal.

    Raises UsageError for a name that no database could keep.
    """
    for name in (run_id, partition):
        if not isinstance(name, str) or "\0" in name or not name.isprintable():
            raise UsageError("run_id= and partition= are texts without control characters")
    return int.from_bytes(blake2b(f"{run_id}\0{partition}".encode(), digest_size=8).digest()) >> 1


def fingerprint(public_key: str) -> str:
    """Give the form in which a journal knows an account: the key cannot be found from it."""
    return blake2b(public_key.encode(), digest_size=12, person=b"mjbulk account").hexdigest()


_ADDRESS = re.compile(r'"[^"@]*"@[^\s<>()\[\],;:"\'@]+|[^\s<>()\[\],;:"\'@][^\s<>()\[\],;:"@]*@[^\s<>()\[\],;:"\'@]+')
"""Also with a local part in quotes. An apostrophe belongs to the local part, unless it begins it."""


def mask(text: str) -> str:
    """Take addresses out of a text, and what no database could keep."""
    return _ADDRESS.sub("***@***", text.replace("\0", "\ufffd").encode("utf-8", "replace").decode())


# What was asked for


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
}
"""The fields of a spec by their names on disk, which stay."""
_TERMS = ("lists", "via", "excluded", "columns", "nulls", "create_properties", "types")
"""What must be the same whenever a run goes on; the other keywords are the caller's to change."""


def encode_spec(spec: RunSpec) -> str:
    """Write down what was asked for. Raises UsageError for names that cannot be."""
    try:
        return orjson.dumps({name: getattr(spec, of) for name, of in _SPEC_ON_DISK.items()}).decode()
    except TypeError:
        raise UsageError("the names in lists=, columns= and types= are texts") from None


def decode_spec(text: str) -> RunSpec:
    """Read what was asked for."""
    found = orjson.loads(text)
    if found["lists"] is not None:
        found["lists"] = tuple((ref, Action(word)) for ref, word in found["lists"])
    return RunSpec(**{_SPEC_ON_DISK[name]: value for name, value in found.items()})


def check_terms(run: RunRecord, asked: RunRecord) -> None:
    """Raise JournalRefused where a run cannot go on as it is asked for now."""
    if run.account != asked.account:
        raise JournalRefused(f"run {run.run_id!r} belongs to another account: take another run_id")
    before, now = decode_spec(run.spec), decode_spec(asked.spec)
    for name in _TERMS:
        if _meaning(before, name) != _meaning(now, name):
            raise JournalRefused(f"run {run.run_id!r} was begun with another {name}=: take a new run_id for new terms")


def _meaning(spec: RunSpec, name: str) -> Any:
    """Give a term so that two that mean the same are equal: in which order lists are named means nothing."""
    term = getattr(spec, _SPEC_ON_DISK[name])
    return dict(term) if name == "lists" and term is not None else term


# Rejections


def record_of(rejection: Rejection, run: int, chunk: int, first: int, number: int) -> RejectionRecord:
    """Write down a rejection: its row, not its data."""
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
    )


def rejection_of(record: RejectionRecord) -> Rejection:
    """Read a rejection: its address and its data are not known."""
    match: Match = record.match  # type: ignore[assignment]  # what was written down
    origin: Origin = record.origin  # type: ignore[assignment]
    ranges = orjson.loads(record.candidates) if record.candidates else ()
    return Rejection(
        row=record.row,
        candidates=tuple(row for first, last in ranges for row in range(first, last + 1)),
        field=record.field,
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
    """Give the error for a journal that cannot be trusted."""
    return JournalRefused(
        f"the journal is damaged ({what}): restore a copy of it, or take a new one with a new run_id, after you have "
        "seen at Mailjet what was sent"
    )
