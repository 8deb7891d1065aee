"""The records that users hold. They are frozen, and know no JSON."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, Self, TypedDict, TypeVar

import attrs
from attrs import frozen

from mjbulk.errors import JobFailed, UsageError
from mjbulk.public import public

JobKind = Literal["contact", "contactslist", "csvimport"]
Datatype = Literal["str", "int", "float", "bool", "datetime"]
Match = Literal["exact", "by_key", "ambiguous", "unmatched"]
Origin = Literal["mjbulk", "mailjet"]
Resend = Literal["safe", "never", "always"]


@public
class Action(StrEnum):
    """What becomes of a contact's subscription to a list (the guides' words)."""

    ADDFORCE = "addforce"
    """Add the contact, and subscribe it again if it had unsubscribed."""
    ADDNOFORCE = "addnoforce"
    """Add the contact, and leave its subscription status as it is."""
    REMOVE = "remove"
    """Remove the contact from the list."""
    UNSUB = "unsub"
    """Unsubscribe the contact from the list."""


ActionWord = Literal["addforce", "addnoforce", "remove", "unsub"]
ActionLike = Action | ActionWord
ListRef = int | str

_K_co = TypeVar("_K_co", covariant=True)
_V_co = TypeVar("_V_co", covariant=True)


class _Items(Protocol[_K_co, _V_co]):
    """Any mapping. A Protocol, because Mapping is invariant in its key: ``dict[int, Action]`` must be welcome."""

    def items(self) -> AbstractSet[tuple[_K_co, _V_co]]: ...


ListActions = _Items[ListRef, ActionLike]


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


@public
class RunKeywords(TypedDict, total=False):
    """The keywords of an import. ``Client.import_contacts`` says what each of them means."""

    columns: Sequence[str] | Mapping[str, str] | None
    nulls: Literal["keep", "unassign"]
    via: Literal["json", "csv"]
    run_id: str | None
    partition: str | None
    resend: Resend
    on_mismatch: Literal["unknown", "accept"]
    create_properties: bool
    types: Mapping[str, Datatype]
    max_rejected: int | None
    timeout: float | None


_MAX_ID = 2**63 - 1


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= _MAX_ID


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
        fits = all(_is_id(part) for part in numbers) and bool(job_id)
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
@frozen(kw_only=True)
class RunSpec:
    """What was asked for. A report carries it, so that its rejected rows can be sent again on the same terms."""

    lists: tuple[tuple[ListRef, Action], ...] | None
    """Lists and actions; None for no list."""
    via: Literal["json", "csv"] = "json"
    excluded: bool | None = None
    """Put people on the exclusion list (True) or take them off it (False), and read nothing but addresses."""
    columns: Mapping[str, str] | None = None
    """Source column -> ``email``, ``name`` or a property; None takes all columns."""
    nulls: Literal["keep", "unassign"] = "keep"
    resend: Resend = "safe"
    on_mismatch: Literal["unknown", "accept"] = "unknown"
    create_properties: bool = False
    types: Mapping[str, Datatype] = attrs.field(factory=dict)
    max_rejected: int | None = None
    timeout: float | None = None
    text: bool = False
    """Whether all values of the source are text, as those of CSV, and an empty one is a null."""
    repairs: bool = False
    """Whether it sends mended rows, after people had time to leave: nobody is taken off the exclusion list."""

    @classmethod
    def of(cls, lists: ListActions | None, how: Mapping[str, Any], *, excluded: bool | None = None) -> Self:
        """Check the keywords of an import.

        Raises UsageError for a wrong one.
        """
        unknown = sorted(set(how) - set(RunKeywords.__annotations__))
        if unknown:
            raise UsageError(f"unknown keyword {unknown[0]!r}")
        known = {f.name for f in attrs.fields(cls)} & set(RunKeywords.__annotations__)
        terms = {name: value for name, value in how.items() if name in known}
        columns = terms.get("columns")
        if isinstance(columns, str):
            raise UsageError("columns= takes a list of names or a mapping, not one string")
        if columns is not None:
            terms["columns"] = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
        terms["types"] = dict(terms.get("types") or {})
        spec = cls(lists=list_actions(lists), excluded=excluded, **terms)
        spec.check()
        return spec

    def check(self) -> None:
        """Raise UsageError where a word is none of those that are allowed, or two of them do not go together."""
        words = {
            "via": ("json", "csv"),
            "nulls": ("keep", "unassign"),
            "resend": ("safe", "never", "always"),
            "on_mismatch": ("unknown", "accept"),
        }
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name}= is one of {', '.join(allowed)}")
        datatypes = ("str", "int", "float", "bool", "datetime")
        if any(word not in datatypes for word in self.types.values()):
            raise UsageError(f"types= takes one of {', '.join(datatypes)} for each property")
        if self.types and not self.create_properties:
            raise UsageError("types= says how properties are created: it needs create_properties=True")
        if self.via == "csv" and self.excluded is None and (self.lists is None or len(self.lists) != 1):
            raise UsageError("the CSV way takes exactly one list; the JSON way takes any number")
        if self.via == "csv" and self.nulls == "unassign":
            raise UsageError("the CSV way cannot unassign a property: an empty cell leaves it alone")
        if not isinstance(self.create_properties, bool):
            raise UsageError("create_properties= is True or False")
        most, seconds = self.max_rejected, self.timeout
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise UsageError("max_rejected= is a number of rows, 0 or more")
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and not (number and 0 < seconds < math.inf):
            raise UsageError("timeout= is a number of seconds above 0")


def repair_spec(spec: RunSpec) -> RunSpec:
    """Give the terms on which rejected rows of a run go again: without the caller's word nobody is subscribed who may
    have left meanwhile.

    Raises UsageError where that leaves nothing to do.
    """
    if spec.resend == "always":
        return spec
    if spec.excluded is False:
        raise UsageError(
            "mended rows could take people off the exclusion list who were put on it meanwhile: include_contacts with "
            'resend="always" says that they may'
        )
    mild = {Action.ADDFORCE: Action.ADDNOFORCE}
    lists = None if spec.lists is None else tuple((ref, mild.get(action, action)) for ref, action in spec.lists)
    return attrs.evolve(spec, lists=lists, repairs=True)


def list_actions(lists: ListActions | None) -> tuple[tuple[ListRef, Action], ...] | None:
    """Check what was said of lists.

    Raises UsageError for a word that is no action, or a list that can be none.
    """
    if lists is None:
        return None
    if not hasattr(lists, "items"):
        raise UsageError("lists= is a mapping of lists to actions, as in {42: 'addnoforce'}")
    pairs = tuple((list_ref(ref), action_of(word)) for ref, word in lists.items())
    if not pairs:
        raise UsageError("lists= is empty: say None for no list")
    return pairs


def list_ref(ref: ListRef) -> ListRef:
    """Give a list's ID as an int, or its address or name as a word.

    Raises UsageError for what can be neither.
    """
    if isinstance(ref, str) and ref.isascii() and ref.isdigit():
        ref = int(ref) if _is_id(ref) else 0
    number = isinstance(ref, int) and not isinstance(ref, bool) and 0 < ref <= _MAX_ID
    if not number and not (isinstance(ref, str) and ref.strip()):
        raise UsageError("a list is a number above 0, an address or a name")
    return ref


def action_of(word: ActionLike) -> Action:
    """Give the action of a word.

    Raises UsageError for any other word.
    """
    try:
        return Action(word)
    except ValueError:
        raise UsageError(f"an action is one of {', '.join(Action)}") from None


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
    timezone_offset: int = 0
    """Hours, -12 to 12."""
    field_names: Sequence[str]
    """The columns in their order: ``email`` and names of properties."""

    def __attrs_post_init__(self) -> None:
        """Check what the guides say."""
        whole = isinstance(self.timezone_offset, int) and not isinstance(self.timezone_offset, bool)
        if not whole or not -12 <= self.timezone_offset <= 12:
            raise UsageError("timezone_offset is a whole number of hours from -12 to 12")
        if isinstance(self.field_names, str) or not self.field_names:
            raise UsageError("field_names are the names of the columns, in their order")


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


EXCLUSIONS = ("excludemarketing", "includemarketing")


def check_method(method: str, *, has_list: bool) -> str:
    """Give the word of a csvimport's method.

    Raises UsageError for any other word, and where a list is missing or, for the exclusion list, must not be given.
    """
    if method in EXCLUSIONS:
        if has_list:
            raise UsageError(f"{method} is for the whole account: it takes no list")
        return method
    if not has_list:
        raise UsageError(f"{method!r} needs a list")
    return action_of(method).value  # type: ignore[arg-type]  # this is where the word is checked
