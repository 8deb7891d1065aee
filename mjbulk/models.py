"""The records that users get and give. They are frozen, and have no code for JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal, Protocol, Self

import attrs
from attrs import frozen
from attrs.validators import and_, ge, instance_of, le, min_len, not_

from mjbulk.discreet import discreet
from mjbulk.errors import JobFailed, UsageError
from mjbulk.public import public
from mjbulk.validators import INT, checked

JobKind = Literal["contact", "contactslist", "csvimport"]
Match = Literal["exact", "by_key", "ambiguous", "unmatched"]
Origin = Literal["mjbulk", "mailjet"]


@public
class SupportsRow(Protocol):
    """A row: a dict, an asyncpg Record, a SQLAlchemy RowMapping."""

    def keys(self) -> Iterable[str]:
        """Give the names of the fields."""

    def __getitem__(self, key: str, /) -> Any: ...


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[Any]


class _Attrs(Protocol):
    __attrs_attrs__: ClassVar[Any]


class _NamedTuple(Protocol):
    def _asdict(self) -> Any: ...


class _Pydantic(Protocol):
    def model_dump(self) -> Any: ...


class _Msgspec(Protocol):
    __struct_fields__: ClassVar[Any]


class _Mapped(Protocol):
    """An object of SQLAlchemy."""

    __mapper__: ClassVar[Any]


class _SqlRow(Protocol):
    """A Row of SQLAlchemy."""

    @property
    def _mapping(self) -> Any: ...


class _Model(Protocol):
    """An object of Django or peewee."""

    _meta: ClassVar[Any]


@public
class SupportsCursor(Protocol):
    """A cursor of a database (PEP 249), or a result: tuples whose names are known."""

    def __iter__(self) -> Iterator[Any]: ...

    @property
    def description(self) -> Any:
        """A sequence for each column, whose first item is its name."""


@public
class SupportsArrow(Protocol):
    """Anything with the Arrow C stream interface, such as tables of pandas, polars, pyarrow and DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@public
@frozen
class Contact:
    """One contact, with the fields that Mailjet takes."""

    email: str = attrs.field(repr=False)
    """The address, by which Mailjet knows a contact."""
    name: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """The contact's Name; None leaves it unchanged."""
    properties: Mapping[str, object] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Values of properties by their names. The account has to have these properties (``Client.properties``)."""
    excluded: bool | None = attrs.field(default=None, kw_only=True)
    """Whether the contact is on the exclusion list; None leaves that unchanged."""


Row = SupportsRow | Contact | _Dataclass | _Attrs | _NamedTuple | _Pydantic | _Msgspec | _Mapped | _SqlRow | _Model
"""Whatever has named fields."""
MAX_ID = 2**63 - 1


def is_id(text: str) -> bool:
    """Tell whether a text is the number of a list or a job."""
    return text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= MAX_ID


@public
@frozen
class JobRef:
    """The reference to a background job, which finds it at any time. ``JobRef.parse(str(ref))`` gives ``ref``."""

    kind: JobKind
    """The resource that took the contacts, and that shows the job."""
    id: int
    """Mailjet's JobID, or the ID of a csvimport."""
    list_id: int | None = None
    """The list of a ``contactslist`` job, for which Mailjet needs both IDs."""

    @classmethod
    @discreet
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


UNSPECIFIED = "unspecified"
"""The code of a rejection that has none, as those that earlier versions wrote down."""


@public
@frozen(kw_only=True)
class Rejection:
    """One row that was refused, here or by Mailjet."""

    row: int | None
    """Its number in the source, from 1. None if the error is unmatched or ambiguous, or if the rows of the job are not
    known here."""
    candidates: Sequence[int] = ()
    """The rows that it may be, if ``match`` is ``ambiguous``."""
    email: str | None = attrs.field(default=None, repr=False)
    """The address that was given."""
    field: str | None = None
    """The column, or Mailjet's field, that is at fault, if that is known."""
    message: str = attrs.field(repr=False)
    """Why, in the words of mjbulk or of Mailjet."""
    code: str = UNSPECIFIED
    """Why, as a word that stays: ``address.invalid``, ``value.type``, ``mailjet.MJ08``, ..."""
    match: Match = "exact"
    """How the row was found. ``exact``: by its address. ``by_key``: by an address elsewhere in the error.
    ``ambiguous``: one of several rows. ``unmatched``: not at all."""
    origin: Origin = "mailjet"
    """``mjbulk`` refused the row, and never sent it; or ``mailjet`` refused it."""
    data: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """The row that was given, also with columns that were not sent. None if the rows are not known here."""
    merged: tuple[int, int] | None = attrs.field(default=None, repr=False, eq=False)
    """The first and the last row of its contact, if several rows were sent as one contact: all of them were rejected
    with it."""


@public
@frozen(kw_only=True)
class Finding:
    """Something about a source that may surprise, though no row is refused for it."""

    code: str
    """What it is, as a word that stays: ``value.whole_float``, ``value.unix_time``, ..."""
    column: str | None = None
    """The column in which it was found; None if it is about the source as a whole."""
    count: int = 1
    """How many rows show it."""
    first_row: int | None = None
    """The number of the first of them."""
    message: str
    """What was found, and what is made of it, in a sentence without any value of the source."""


@public
@frozen(kw_only=True)
class Unsettled:
    """Rows that are unknown or were not sent, and why."""

    rows: Sequence[range]
    """Their numbers, ascending. A note on counts that do not agree, whose rows have outcomes, names none."""
    cause: str
    """Why, in a sentence."""
    job: JobRef | None = None
    """The job that took them, if it is known. It can be watched again."""


@public
@frozen(kw_only=True)
class Counts:
    """The books of a run: every row has exactly one outcome, and the outcomes add up to ``rows``."""

    rows: int = 0
    """Rows that were read from the source."""
    accepted: int = 0
    """Rows that Mailjet has: their job completed, and its counts agree."""
    rejected: int = 0
    """Rows that mjbulk or Mailjet refused. The rejections say why."""
    superseded: int = 0
    """Rows in whose place a later row of the same person, in the same chunk, was accepted."""
    unknown: int = 0
    """Rows that were sent, and whose outcome is not known."""
    not_sent: int = 0
    """Rows that were read, and never sent."""

    def summary(self) -> str:
        """Give the counts in a line, without personal data."""
        others = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in COUNT_NAMES[1:] if getattr(self, name)]
        return f"{self.rows} row{'' if self.rows == 1 else 's'}: {', '.join(others) or 'none'}"

    def as_dict(self) -> dict[str, Any]:
        """Give the counts as plain data, for JSON."""
        return {name: getattr(self, name) for name in COUNT_NAMES}


COUNT_NAMES = tuple(f.name for f in attrs.fields(Counts))


def summary_of_run(counts: Counts, *, jobs: int, seconds: float) -> str:
    """Give the figures of a run in a line, without personal data: for its report and for the log."""
    return f"{counts.summary()} in {jobs} job{'' if jobs == 1 else 's'}, {seconds:.1f} s"


@public
@frozen(kw_only=True)
class Progress(Counts):
    """A snapshot of a run. Rows that were read and have no outcome yet count in ``rows`` only."""

    jobs: Mapping[str, int] = attrs.field(factory=dict)
    """How many jobs have which status, in Mailjet's words."""
    requests: int = 0
    """How many requests were sent, with polls and retries."""
    rate: float = 0.0
    """Rows a second that got their outcome by the work of this process, averaged over its time."""
    eta: float | None = None
    """Seconds until the rows that were read will be settled, as likely as not: by the forecasts for their jobs, and by
    how soon rows and requests go through. None where nothing can be said yet; 0 at the end."""
    held: int = 0
    """Rows that wait for a job with an earlier row of their person. They count as read, and have no outcome yet."""
    waiting_for: str | None = None
    """Why nothing moves, in a sentence without personal data. None if something has happened within the last second, or
    the run has ended."""
    stalled: Sequence[JobRef] = ()
    """Jobs that have not moved for half an hour or longer. That is not an error: they are still watched."""

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON; ``stalled`` jobs as texts."""
        figures = {name: getattr(self, name) for name in ("requests", "rate", "eta", "held", "waiting_for")}
        return {**super().as_dict(), "jobs": dict(self.jobs), **figures, "stalled": [str(ref) for ref in self.stalled]}

    @property
    def settled(self) -> int:
        """How many rows have their outcome."""
        return self.accepted + self.rejected + self.superseded + self.unknown + self.not_sent


@public
class Rejections(Iterable[Rejection], Protocol):
    """Rejected rows. They can be iterated any number of times, also after the client has closed."""

    def __iter__(self) -> Iterator[Rejection]: ...
    def __len__(self) -> int: ...
    def page(self, *, after: int = 0, limit: int = 100) -> Sequence[Rejection]:
        """Give at most ``limit`` rejections, from after the first ``after`` of them, in the order of iteration."""
        return list(islice(self, after, after + limit))


class FewRejections(tuple[Rejection, ...]):
    """Rejections that are in memory."""

    __slots__ = ()

    def page(self, *, after: int = 0, limit: int = 100) -> Sequence[Rejection]:
        """Give some of them."""
        return self[after : after + limit]


@public
@frozen(kw_only=True)
class Job:
    """A background job, as Mailjet showed it last."""

    ref: JobRef
    """Its reference, by which it can be found again."""
    status: str
    """Mailjet's own word: Allocated, Upload, Prepare, Importing, Completed, Error, Abort, or a word of the future."""
    count: int = 0
    """How many contacts the job has processed, according to Mailjet."""
    error: str = attrs.field(default="", repr=False)
    """What went wrong with the job as a whole, according to Mailjet."""
    rejections: Rejections = attrs.field(default=FewRejections(), repr=lambda them: f"<{len(them)}>")
    """The errors in its error file, when it has ended."""
    ended: bool = False
    """Whether it has ended, well or not."""

    @property
    def ok(self) -> bool:
        """Whether it completed and rejected nothing."""
        return self.status.strip().casefold() == "completed" and not self.rejections and not self.error

    def raise_for_status(self) -> Self:
        """Give the job itself, or raise JobFailed if its status is not Completed."""
        if self.status.strip().casefold() != "completed":
            raise JobFailed(self)
        return self


@public
@frozen(kw_only=True)
class ImportOptions:
    """How a csvimport reads dates (FACTS 5.3). The CSV then has no header row: ``field_names`` replace it.

    Raises UsageError for an offset that Mailjet does not know, and for field names that are not a list of names.
    """

    datetime_format: str
    """A format with ``yy`` (or ``yyyy``), ``mm``, ``dd``, ``hh``, ``nn`` (minutes) and ``ss``. Dates have ``-``, ``/``
    or ``.`` in between, times ``:``."""
    timezone_offset: int = attrs.field(
        default=0, validator=checked(and_(INT, ge(-12), le(12)), "{} is a whole number of hours from -12 to 12")
    )
    """Hours, -12 to 12."""
    field_names: Sequence[str] = attrs.field(
        validator=checked(and_(not_(instance_of(str)), min_len(1)), "{} are the names of the columns, in their order")
    )
    """The columns in their order: ``email``, and names of properties."""
