"""The records that users hold. They are frozen, and know no JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, Self

import attrs
from attrs import frozen
from attrs.validators import and_, ge, instance_of, le, min_len, not_

from mjbulk.errors import JobFailed, UsageError
from mjbulk.public import public
from mjbulk.validators import INT, checked

JobKind = Literal["contact", "contactslist", "csvimport"]
Match = Literal["exact", "by_key", "ambiguous", "unmatched"]
Origin = Literal["mjbulk", "mailjet"]


@public
class SupportsRow(Protocol):
    """A row: a dict, an asyncpg Record, a SQLAlchemy RowMapping."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, key: str, /) -> Any: ...


@public
class SupportsArrow(Protocol):
    """Whatever speaks the Arrow C stream interface: tables of pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@public
@frozen
class Contact:
    """One contact, as Mailjet takes it."""

    email: str = attrs.field(repr=False)
    """The address. It is the key of a contact at Mailjet."""
    name: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """The contact's Name; None leaves it as it is."""
    properties: Mapping[str, object] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Values of properties by their names; they must be defined (``Client.properties``)."""
    excluded: bool | None = attrs.field(default=None, kw_only=True)
    """Whether the contact is on the exclusion list; None leaves that as it is."""


Row = SupportsRow | Contact
MAX_ID = 2**63 - 1


def is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= MAX_ID


@public
@frozen
class JobRef:
    """Which background job: enough to find it again at any time. ``str(ref)`` and ``JobRef.parse`` are inverse."""

    kind: JobKind
    """Which resource took the contacts, and so answers for the job."""
    id: int
    """Mailjet's JobID, or the ID of a csvimport."""
    list_id: int | None = None
    """The list of a ``contactslist`` job: Mailjet wants both ids."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``contact:113``, ``contactslist:42/113`` or ``csvimport:7``.

        Raises UsageError for anything else.
        """
        kind, _, ids = text.strip().partition(":")
        list_id, slash, job_id = ids.rpartition("/")
        wanted = {"contact": False, "contactslist": True, "csvimport": False}
        numbers = [part for part in (list_id, job_id) if part]
        fits = all(is_id(part) for part in numbers) and bool(job_id)
        if wanted.get(kind) is not bool(slash) or bool(slash) is not bool(list_id) or not fits:
            raise UsageError("this is no job: write contact:ID, contactslist:LIST/ID or csvimport:ID")
        return cls(kind, int(job_id), int(list_id) if list_id else None)  # type: ignore[arg-type]  # kind was looked up

    def __str__(self) -> str:
        return f"{self.kind}:{f'{self.list_id}/' if self.list_id is not None else ''}{self.id}"


@public
@frozen(kw_only=True)
class Rejection:
    """One row that was refused, here or by Mailjet."""

    row: int | None
    """Its number in the source, from 1; None where it is unmatched or ambiguous, or the job's rows are not known
    here."""
    candidates: Sequence[int] = ()
    """The rows that it may be, where ``match`` is ``ambiguous``."""
    email: str | None = attrs.field(default=None, repr=False)
    """The address as it was given."""
    field: str | None = None
    """The column or Mailjet's field that is to blame, where that was said."""
    message: str = attrs.field(repr=False)
    """Why, in the words of mjbulk or of Mailjet."""
    match: Match = "exact"
    """How sure it is that this row is the one: by its address, by something weaker, one of several, none at all."""
    origin: Origin = "mailjet"
    """``mjbulk``: refused here, never sent. ``mailjet``: refused there."""
    data: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """The row as it was given, with the columns that were not sent; None where the rows are not known here."""


@public
@frozen(kw_only=True)
class Unsettled:
    """Rows of which nobody can say what became of them, or which were not sent, and why."""

    rows: range
    """Their numbers. Rows in it that were rejected, here or there, are counted as rejected."""
    cause: str
    """Why, in a sentence."""
    job: JobRef | None = None
    """The job that has them, where one is known: it can be watched again."""


@public
@frozen(kw_only=True)
class Counts:
    """The books of a run: every row has exactly one outcome, and they add up to ``rows``."""

    rows: int = 0
    """Rows that were read from the source."""
    accepted: int = 0
    """Mailjet has them: their job completed, and its counts agree."""
    rejected: int = 0
    """Refused, here or by Mailjet; the rejections say why."""
    superseded: int = 0
    """A later row of the same person in the same chunk was accepted in their place."""
    unknown: int = 0
    """Sent, and nobody can say what became of them."""
    not_sent: int = 0
    """Read, and never sent."""

    def as_dict(self) -> dict[str, Any]:
        """Give the counts as plain data, for JSON."""
        return {name: getattr(self, name) for name in COUNT_NAMES}


COUNT_NAMES = tuple(f.name for f in attrs.fields(Counts))


@public
@frozen(kw_only=True)
class Progress(Counts):
    """A snapshot of a run. What was read and has no outcome yet is in none of the outcomes."""

    jobs: Mapping[str, int] = attrs.field(factory=dict)
    """How many jobs are in which status, by Mailjet's words."""
    requests: int = 0
    """Requests that were sent, polls and repetitions included."""
    rate: float = 0.0
    """Rows a second that got their outcome, on average since the start."""
    eta: float | None = None
    """Seconds until the rows that were read will be settled, as likely as not: by the forecasts for their jobs, and at
    this rate where they have none; None where nothing can be said."""
    stalled: Sequence[JobRef] = ()
    """Jobs that have not moved for half an hour and more. That is no error: they are watched on."""

    @property
    def settled(self) -> int:
        """How many rows have their outcome."""
        return self.accepted + self.rejected + self.superseded + self.unknown + self.not_sent


@public
class Rejections(Iterable[Rejection], Protocol):
    """Rejected rows: iterated any number of times, and readable after the client has closed."""

    def __iter__(self) -> Iterator[Rejection]: ...
    def __len__(self) -> int: ...


@public
@frozen(kw_only=True)
class Job:
    """A background job as Mailjet last showed it."""

    ref: JobRef
    """Where to find it again."""
    status: str
    """Mailjet's own word: Allocated, Upload, Prepare, Importing, Completed, Error, Abort, and what it may invent."""
    count: int = 0
    """How many contacts it says that it has processed."""
    error: str = attrs.field(default="", repr=False)
    """What it says went wrong with the job as a whole."""
    rejections: Rejections = attrs.field(default=(), repr=lambda them: f"<{len(them)}>")
    """What its error file says, once it has ended."""
    ended: bool = False
    """Whether it has ended, well or not."""

    @property
    def ok(self) -> bool:
        """Whether it completed and rejected nothing."""
        return self.status.strip().casefold() == "completed" and not self.rejections and not self.error

    def raise_for_status(self) -> Self:
        """Give the job itself, or raise JobFailed if it ended in anything else than Completed."""
        if self.status.strip().casefold() != "completed":
            raise JobFailed(self)
        return self


@public
@frozen(kw_only=True)
class ImportOptions:
    """How a csvimport reads dates. The CSV then goes without its header row: ``field_names`` stand for it.

    Raises UsageError for an offset that Mailjet does not know.
    """

    datetime_format: str
    """Of ``yy`` (or ``yyyy``), ``mm``, ``dd``, ``hh``, ``nn`` (minutes), ``ss``; dates with ``-``, ``/`` or ``.``,
    times with ``:``."""
    timezone_offset: int = attrs.field(
        default=0, validator=checked(and_(INT, ge(-12), le(12)), "{} is a whole number of hours from -12 to 12")
    )
    """Hours, -12 to 12."""
    field_names: Sequence[str] = attrs.field(
        validator=checked(and_(not_(instance_of(str)), min_len(1)), "{} are the names of the columns, in their order")
    )
    """The columns in their order: ``email`` and names of properties."""


@public
@frozen(kw_only=True)
class ContactsList:
    """One list of the account."""

    id: int
    name: str
    address: str
    """The unique word by which Mailjet knows the list too."""
    subscribers: int | None = None
    deleted: bool = False
    created: datetime | None = None


@public
@frozen(kw_only=True)
class Property:
    """One contact property of the account."""

    id: int
    name: str
    datatype: str
    """``str``, ``int``, ``float``, ``bool`` or ``datetime``."""
    namespace: str = "static"
    """``static`` or ``historic``; only static ones can be set in bulk."""


@public
@frozen(kw_only=True)
class Subscription:
    """One list that a contact is on."""

    list_id: int
    active: bool | None = None
    unsubscribed: bool | None = None
    subscribed_at: datetime | None = None


@public
@frozen(kw_only=True)
class ContactInfo:
    """One contact of the account."""

    id: int
    email: str = attrs.field(repr=False)
    name: str = attrs.field(default="", repr=False)
    excluded: bool | None = None
    """Whether the contact is on the exclusion list."""
    created: datetime | None = None
