"""The terms of a run: the keywords of an import, its lists and their actions. All of them are checked here."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, Self, TypedDict, TypeVar, get_args
from zoneinfo import ZoneInfo, available_timezones

import attrs
from attrs import frozen
from attrs.validators import and_, deep_mapping, in_, le, optional

from mjbulk.errors import UsageError
from mjbulk.likely import likely
from mjbulk.models import MAX_ID, is_id
from mjbulk.public import public
from mjbulk.validators import BOOL, NOT_NEGATIVE_INT, POSITIVE, POSITIVE_INT, Validator, checked, fits

Datatype = Literal["str", "int", "float", "bool", "datetime"]
Resend = Literal["safe", "never", "always"]


@public
class Action(StrEnum):
    """What becomes of a contact's subscription to a list (the guides' words: FACTS 1.3)."""

    ADDFORCE = "addforce"
    """Add the contact, and subscribe it again if it had unsubscribed."""
    ADDNOFORCE = "addnoforce"
    """Add the contact, and leave its subscription status as it is."""
    REMOVE = "remove"
    """Remove the contact from the list."""
    UNSUB = "unsub"
    """Unsubscribe the contact from the list."""


ActionWord = Literal["addforce", "addnoforce", "remove", "unsub"]
"""An action as its word: `Action` says what each does."""
ActionLike = Action | ActionWord
"""An action, or its word."""
ListRef = int | str
"""A list by its number, its address, or its name if no other list has that."""
_K_co = TypeVar("_K_co", covariant=True)
_V_co = TypeVar("_V_co", covariant=True)


class _Items(Protocol[_K_co, _V_co]):
    """Any mapping. It is a Protocol because Mapping is invariant in its key, and ``dict[int, Action]`` has to fit."""

    def items(self) -> AbstractSet[tuple[_K_co, _V_co]]: ...


ListActions = _Items[ListRef, ActionLike]
"""Lists with their actions, as in ``{42: "addnoforce"}``."""
EXCLUSIONS = ("excludemarketing", "includemarketing")


@public
class RunTerms(TypedDict, total=False):
    """How rows are read and sent. ``Client.import_contacts`` says what each of them means."""

    columns: Sequence[str] | Mapping[str, str] | None
    """Source columns to take, or a mapping of source columns to ``email``, ``name`` or a property. None: all."""
    nulls: Literal["keep", "unassign"]
    """What an empty value does: ``keep`` leaves its property alone, ``unassign`` empties it."""
    via: Literal["json", "csv"]
    """``json``: contact/managemanycontacts. ``csv``: CSVData and csvimport, for one list."""
    resend: Resend
    """What is retried after a lost answer: ``safe``: where twice does no harm; ``never``; ``always``."""
    on_mismatch: Literal["unknown", "accept"]
    """What rows are where Mailjet's counts and its error file disagree: ``unknown``, or ``accept``."""
    create_properties: bool
    """Whether properties are created that the account does not have."""
    types: Mapping[str, Datatype]
    """The types of properties to create, by their names; ``str`` for all others."""
    timezone: str | None
    """The IANA name of the zone of dates and times without one."""
    date_format: str | None
    """The form of strptime in which texts of datetime properties are read. None: RFC 3339."""


@public
class RunKeywords(RunTerms, total=False):
    """The keywords of an import. ``Client.import_contacts`` says what each of them means."""

    run_id: str | None
    """The name of the run, within its account. None: a random one."""
    partition: str | None
    """The name of a part, if several workers share the run."""
    max_rejected: int | None
    """The run stops when more rows than this are rejected. None: no limit."""
    timeout: float | None
    """Seconds from the call on, after which the run stops. None: no limit."""


def _one_of(*words: str) -> Validator:
    return checked(in_(words), f"{{}}= is one of {', '.join(words)}")


def _is_zone(_: object, __: object, name: Any) -> None:
    """Raise UsageError if there is no such zone."""
    if name is None:
        return
    try:
        ZoneInfo(name)
    except Exception:  # noqa: BLE001  # a missing zone, a folder of zones, a name that is a path: each raises its own
        missing = "" if available_timezones() else ", and this system has none of them: pip install tzdata"
        raise UsageError(f"timezone= is the IANA name of a zone, such as 'Europe/Paris'{missing}") from None


def _is_date_format(_: object, __: object, form: Any) -> None:
    """Raise UsageError if nothing can be read in this form."""
    if form is None:
        return
    try:
        datetime.strptime(datetime(2000, 1, 2, tzinfo=UTC).strftime(form), form)  # noqa: DTZ007  # only tried
        usable = "%" in form
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise UsageError("date_format= is a form of strptime, such as '%d/%m/%Y %H:%M'")


_DATATYPES = checked(
    deep_mapping(value_validator=in_(get_args(Datatype))),
    f"{{}}= takes one of {', '.join(get_args(Datatype))} for each property",
)
_ID = and_(POSITIVE_INT, le(MAX_ID))


@public
@frozen(kw_only=True)
class RunSpec:
    """The terms of a run. Its report has them too, so that its rejected rows can be retried on the same terms."""

    lists: tuple[tuple[ListRef, Action], ...] | None
    """Lists and actions; None for no list."""
    via: Literal["json", "csv"] = attrs.field(default="json", validator=_one_of("json", "csv"))
    """``json``: contact/managemanycontacts. ``csv``: CSVData and csvimport, for one list."""
    excluded: bool | None = None
    """True puts people on the exclusion list, False takes them off it; both read only addresses. None does neither."""
    columns: Mapping[str, str] | None = None
    """Source column -> ``email``, ``name`` or a property; None takes all columns."""
    nulls: Literal["keep", "unassign"] = attrs.field(default="keep", validator=_one_of("keep", "unassign"))
    """What an empty value does: ``keep`` leaves its property alone, ``unassign`` empties it."""
    resend: Resend = attrs.field(default="safe", validator=_one_of(*get_args(Resend)))
    """What is retried after a lost answer: ``safe``: where twice does no harm; ``never``; ``always``."""
    on_mismatch: Literal["unknown", "accept"] = attrs.field(default="unknown", validator=_one_of("unknown", "accept"))
    """What rows are where Mailjet's counts and its error file disagree: ``unknown``, or ``accept``."""
    create_properties: bool = attrs.field(default=False, validator=checked(BOOL, "{}= is True or False"))
    """Whether properties are created that the account does not have."""
    types: Mapping[str, Datatype] = attrs.field(factory=dict, validator=_DATATYPES)
    """The types of properties to create, by their names; ``str`` for all others."""
    max_rejected: int | None = attrs.field(
        default=None, validator=checked(optional(NOT_NEGATIVE_INT), "{}= is a number of rows, 0 or more")
    )
    """The run stops when more rows than this are rejected. None: no limit."""
    timeout: float | None = attrs.field(
        default=None, validator=checked(optional(POSITIVE), "{}= is a number of seconds above 0")
    )
    """Seconds from the call on, after which the run stops. None: no limit."""
    timezone: str | None = attrs.field(default=None, validator=_is_zone)
    """The zone of dates and times that name none."""
    date_format: str | None = attrs.field(default=None, validator=_is_date_format)
    """How dates and times are read that are text."""
    text: bool = False
    """Whether all values of the source are text, as in CSV, and an empty one is a null."""
    repairs: bool = False
    """Whether it retries rejected rows: people may have left meanwhile, so nobody is taken off the exclusion list."""

    @classmethod
    def of(cls, lists: ListActions | None, how: Mapping[str, Any], *, excluded: bool | None = None) -> Self:
        """Make the terms of the keywords of an import. Raises UsageError for a wrong keyword."""
        unknown = sorted(set(how) - set(RunKeywords.__annotations__))
        if unknown:
            raise UsageError(f"unknown keyword {unknown[0]!r}{_instead(unknown[0])}")
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
        """Raise UsageError if two keywords do not go together."""
        if self.types and not self.create_properties:
            raise UsageError("types= says how properties are created: it needs create_properties=True")
        if self.via == "csv" and self.excluded is None and (self.lists is None or len(self.lists) != 1):
            raise UsageError("the CSV way takes exactly one list; the JSON way takes any number")
        if self.via == "csv" and self.nulls == "unassign":
            raise UsageError("the CSV way cannot unassign a property: an empty cell leaves it alone")


def _instead(word: str) -> str:
    """Say which keyword was meant, or where others belong."""
    if (meant := likely(word, RunKeywords.__annotations__, share=0.85)) is not None:
        return f" (did you mean {meant!r}?)"
    return (
        "; a journal and settings such as concurrency= are those of the client, and encoding=, delimiter= and the like "
        "are those of csv_source()"
    )


def repair_spec(spec: RunSpec) -> RunSpec:
    """Give the terms on which rejected rows of a run are retried.

    People may have left since the run began. They are not subscribed again unless the caller has said so, by
    ``resend="always"``. Raises UsageError if nothing remains to be done.
    """
    if spec.resend == "always":
        return spec
    if spec.excluded is False:
        raise UsageError(
            "corrected rows could take people off the exclusion list who were put on it meanwhile: include_contacts "
            'with resend="always" allows that'
        )
    mild = {Action.ADDFORCE: Action.ADDNOFORCE}
    lists = None if spec.lists is None else tuple((ref, mild.get(action, action)) for ref, action in spec.lists)
    return attrs.evolve(spec, lists=lists, repairs=True)


def list_actions(lists: ListActions | None) -> tuple[tuple[ListRef, Action], ...] | None:
    """Give lists and their actions as pairs. Raises UsageError for a word that is not an action, and for an impossible
    list.
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
    """Give a list's ID as an int, or its address or name as a word. Raises UsageError for anything else."""
    if isinstance(ref, str) and ref.isascii() and ref.isdigit():
        ref = int(ref) if is_id(ref) else 0
    if not fits(_ID, ref) and not (isinstance(ref, str) and ref.strip()):
        raise UsageError("a list is a number above 0, an address or a name")
    return ref


def action_of(word: ActionLike) -> Action:
    """Give the action of a word. Raises UsageError for any other word."""
    try:
        return Action(word)
    except ValueError:
        raise UsageError(f"an action is one of {', '.join(Action)}") from None


def check_method(method: str, *, has_list: bool) -> str:
    """Give the word of a csvimport's method (FACTS 5.2).

    Raises UsageError for any other word, for an action without a list, and for a method of the exclusion list with one.
    """
    if method in EXCLUSIONS:
        if has_list:
            raise UsageError(f"{method} is for the whole account: it takes no list")
        return method
    if not has_list:
        raise UsageError(f"{method!r} needs a list")
    return action_of(method).value  # type: ignore[arg-type]  # this is where the word is checked


def harmless_to_retry(actions: Iterable[Action], *, excludes: bool, resend: Resend) -> bool:
    """Say whether a chunk may be retried when it is not known whether it was applied.

    ``addnoforce`` and an update without a list converge: applied twice, they leave the same state as applied once
    (FACTS 1.3).
    ``addforce``, ``remove``, ``unsub`` and changes of the exclusion list may undo what a person chose in between: these
    are retried only with ``resend="always"``.
    """
    if resend != "safe":
        return resend == "always"
    return not excludes and all(action is Action.ADDNOFORCE for action in actions)
