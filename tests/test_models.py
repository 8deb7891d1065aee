"""The records that users hold."""

import math
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk import models
from mjbulk.errors import JobFailed, UsageError
from mjbulk.models import (
    COUNT_NAMES,
    Action,
    Contact,
    ContactInfo,
    ContactsList,
    Counts,
    ImportOptions,
    Job,
    JobRef,
    Progress,
    Property,
    Rejection,
    RunKeywords,
    RunSpec,
    Subscription,
    Unsettled,
    action_of,
    check_method,
    list_actions,
    list_ref,
    repair_spec,
)

LAW = settings(derandomize=True, deadline=None, max_examples=200)
IDS = st.integers(min_value=1, max_value=2**63 - 1)
REFS = st.one_of(
    st.builds(JobRef, st.sampled_from(["contact", "csvimport"]), IDS),
    st.builds(JobRef, st.just("contactslist"), IDS, IDS),
)


# Jobs


@LAW
@given(REFS)
def test_str_and_parse_are_inverse(ref: JobRef) -> None:
    """JobRef.parse(str(ref)) is ref, whatever its kind and its IDs."""
    assert JobRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("contact:113", JobRef("contact", 113)),
        ("contactslist:42/113", JobRef("contactslist", 113, 42)),
        ("csvimport:7", JobRef("csvimport", 7)),
        (" csvimport:7\n", JobRef("csvimport", 7)),
        ("contact:9223372036854775807", JobRef("contact", 2**63 - 1)),
    ],
)
def test_a_job_is_read(text: str, ref: JobRef) -> None:
    """The three forms are read, with blanks around them."""
    assert JobRef.parse(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "113",
        "contact",
        "contact:",
        "contact:0",
        "contact:-1",
        "contact:+1",
        "contact: 1",
        "contact:1.0",
        "contact:1_0",
        "contact:１１３",
        "contact:113x",
        "contact:42/113",
        "contact:/113",
        "contactslist:113",
        "contactslist:/113",
        "contactslist:42/",
        "contactslist:0/113",
        "contactslist:42//113",
        "contactslist:1/42/113",
        "contactslist:my list/113",
        "Contact:113",
        "batchjob:113",
        "contact:9223372036854775808",
        f"contact:{'9' * 5000}",
        "somebody@example.org",
    ],
)
def test_what_is_no_job(text: str) -> None:
    """Anything else is a UsageError that does not repeat what was given: it may be an address."""
    with pytest.raises(UsageError) as caught:
        JobRef.parse(text)
    assert str(caught.value).startswith("this is no job: write contact:ID")


@pytest.mark.parametrize(
    ("status", "error", "rejections", "ok", "raises"),
    [
        ("Completed", "", 0, True, False),
        (" COMPLETED ", "", 0, True, False),
        ("Completed", "property not defined", 0, False, False),
        ("Completed", "", 1, False, False),
        ("Error", "", 0, False, True),
        ("Abort", "", 0, False, True),
        ("Importing", "", 0, False, True),
        ("", "", 0, False, True),
    ],
)
def test_when_a_job_is_ok(status: str, error: str, rejections: int, *, ok: bool, raises: bool) -> None:
    """A job is ok when it completed without error and rejections; raise_for_status looks at the status alone."""
    ref = JobRef("contact", 1)
    rejected = [Rejection(row=None, message="")] * rejections
    job = Job(ref=ref, status=status, error=error, rejections=rejected)
    assert job.ok is ok
    if raises:
        with pytest.raises(JobFailed) as caught:
            job.raise_for_status()
        assert caught.value.job is job
    else:
        assert job.raise_for_status() is job


# Nobody's data in a repr

ADDRESS = "somebody@example.org"


@pytest.mark.parametrize(
    "record",
    [
        Contact(ADDRESS, name=ADDRESS, properties={"x": ADDRESS}, excluded=True),
        Rejection(row=1, email=ADDRESS, message=ADDRESS, data={"email": ADDRESS}),
        Job(
            ref=JobRef("contact", 1),
            status="Error",
            error=ADDRESS,
            rejections=[Rejection(row=None, message=ADDRESS)],
        ),
        ContactInfo(id=1, email=ADDRESS, name=ADDRESS),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_repr_shows_nobody(record: object) -> None:
    """The repr of what holds personal data shows numbers and words of ours."""
    assert ADDRESS not in repr(record)
    assert ADDRESS not in str(record)
    assert type(record).__name__ in repr(record)


def test_a_repr_is_of_use() -> None:
    """What is nobody's data is shown."""
    assert repr(Rejection(row=7, message="x", field="age")) == (
        "Rejection(row=7, candidates=(), field='age', match='exact', origin='mailjet')"
    )
    assert "rejections=<0>" in repr(Job(ref=JobRef("contact", 1), status="Completed"))


# Counts


def test_counts_are_plain_data() -> None:
    """as_dict has the six counts, in their order, and a Progress no more than that."""
    counts: dict[str, Any] = {"rows": 21, "accepted": 1, "rejected": 2, "superseded": 3, "unknown": 4, "not_sent": 5}
    assert list(COUNT_NAMES) == list(counts)
    assert Counts(**counts).as_dict() == counts
    progress = Progress(**counts, jobs={"Completed": 1}, requests=9)
    assert progress.as_dict() == counts
    assert progress.settled == 15


@pytest.mark.parametrize(
    "record",
    [
        Contact(ADDRESS, name="S", properties={"x": 1}),
        JobRef("contactslist", 1, 2),
        Rejection(row=1, email=ADDRESS, message="x", data={"email": ADDRESS}),
        Unsettled(rows=range(1, 3), cause="x", job=JobRef("contact", 1)),
        Counts(rows=1),
        Progress(rows=1, jobs={"Completed": 1}),
        RunSpec(lists=((1, Action.REMOVE),)),
        Job(ref=JobRef("contact", 1), status="Completed"),
        ImportOptions(datetime_format="dd/mm/yyyy", field_names=["email"]),
        ContactsList(id=1, name="a", address="b", created=datetime(2026, 1, 1, tzinfo=UTC)),
        Property(id=1, name="a", datatype="int"),
        Subscription(list_id=1),
        ContactInfo(id=1, email=ADDRESS),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_are_frozen_and_can_be_pickled(record: Any) -> None:
    """No field of a record can be set, and it comes out of a pickle as it went in."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, attrs.fields(type(record))[0].name, None)
    assert pickle.loads(pickle.dumps(record)) == record


# Lists and actions


@pytest.mark.parametrize(("ref", "meant"), [(42, 42), ("42", 42), ("weekly", "weekly"), ("٤٢", "٤٢"), ("4 2", "4 2")])
def test_a_list_is_a_number_or_a_word(ref: int | str, meant: int | str) -> None:
    """Digits are an ID, any other word is an address or a name."""
    assert list_ref(ref) == meant
    assert type(list_ref(ref)) is type(meant)


@pytest.mark.parametrize("ref", [0, -1, "0", "", "  ", True, False, None, 4.2, b"42", 2**63, "9" * 5000])
def test_what_can_be_no_list(ref: Any) -> None:
    """Zero, booleans, nothing, and numbers that are no ID are refused."""
    with pytest.raises(UsageError) as caught:
        list_ref(ref)
    assert "a list is a number above 0" in str(caught.value)


@pytest.mark.parametrize("word", [*Action, *(str(action) for action in Action)])
def test_each_action_has_its_word(word: str) -> None:
    """An Action and its word are the same."""
    assert action_of(word) is Action(word)  # type: ignore[arg-type]  # any of the words


@pytest.mark.parametrize("word", ["AddForce", "add", "", None, 1, True, []])
def test_what_is_no_action(word: Any) -> None:
    """Any other word is refused, and the error says which there are."""
    with pytest.raises(UsageError) as caught:
        action_of(word)
    assert "addforce, addnoforce, remove, unsub" in str(caught.value)


def test_lists_are_pairs_in_their_order() -> None:
    """lists= keeps its order, and None is no list."""
    assert list_actions(None) is None
    assert list_actions({7: "unsub", "42": Action.ADDFORCE, "news": "remove"}) == (
        (7, Action.UNSUB),
        (42, Action.ADDFORCE),
        ("news", Action.REMOVE),
    )


@pytest.mark.parametrize("lists", [{}, [], 42, "42", [42], {42}])
def test_lists_have_to_be_said(lists: Any) -> None:
    """An empty mapping and what is no mapping are wrong usage."""
    with pytest.raises(UsageError) as caught:
        list_actions(lists)
    assert "lists= is" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "has_list"),
    [("addforce", True), ("remove", True), ("excludemarketing", False), ("includemarketing", False)],
)
def test_methods_that_fit(method: str, *, has_list: bool) -> None:
    """An action needs a list, the exclusion list needs none."""
    assert check_method(method, has_list=has_list) == method


@pytest.mark.parametrize(
    ("method", "has_list", "problem"),
    [
        ("addforce", False, "needs a list"),
        ("excludemarketing", True, "it takes no list"),
        ("duplicate-override", True, "an action is one of"),
    ],
)
def test_methods_that_do_not_fit(method: str, problem: str, *, has_list: bool) -> None:
    """A method without its list, or with one that it must not have, is refused before it is sent."""
    with pytest.raises(UsageError) as caught:
        check_method(method, has_list=has_list)
    assert problem in str(caught.value)


# The keywords of an import


def test_keywords_become_terms() -> None:
    """What is said is kept, the rest has its default, and a list of columns is a mapping of them to themselves."""
    spec = RunSpec.of({1: "remove"}, {"columns": ["email", "age"], "run_id": "r", "max_rejected": 0, "timeout": 5})
    assert spec == RunSpec(
        lists=((1, Action.REMOVE),), columns={"email": "email", "age": "age"}, max_rejected=0, timeout=5
    )
    assert RunSpec.of(None, {"columns": {"Mail": "email"}}).columns == {"Mail": "email"}
    assert RunSpec.of(None, {}, excluded=True).excluded is True
    assert RunSpec.of(None, {}) == RunSpec(lists=None)


GOOD: list[tuple[Any, dict[str, Any]]] = [
    ({1: "addforce"}, {"via": "csv"}),
    (None, {"nulls": "unassign", "resend": "always", "on_mismatch": "accept"}),
    (None, {"create_properties": True, "types": {"age": "int"}}),
    (None, {"max_rejected": None, "timeout": None}),
    (None, {"timeout": 0.5}),
]


@pytest.mark.parametrize(("lists", "how"), GOOD)
def test_keywords_that_fit(lists: Any, how: Mapping[str, Any]) -> None:
    """Every word that is allowed is taken as it is said."""
    spec = RunSpec.of(lists, how)
    assert {name: getattr(spec, name) for name in how} == how


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"vai": "csv"}, "unknown keyword 'vai'"),
        ({"excluded": True}, "unknown keyword 'excluded'"),
        ({"lists": {}}, "unknown keyword 'lists'"),
        ({"via": "xml"}, "via= is one of json, csv"),
        ({"via": None}, "via= is one of json, csv"),
        ({"nulls": "drop"}, "nulls= is one of keep, unassign"),
        ({"resend": True}, "resend= is one of safe, never, always"),
        ({"on_mismatch": "ignore"}, "on_mismatch= is one of unknown, accept"),
        ({"columns": "email"}, "columns= takes a list of names or a mapping, not one string"),
        ({"types": {"age": "int"}}, "it needs create_properties=True"),
        ({"types": {"age": "integer"}, "create_properties": True}, "types= takes one of str, int"),
        ({"create_properties": "false"}, "create_properties= is True or False"),
        ({"create_properties": 1}, "create_properties= is True or False"),
        ({"via": "csv"}, "takes exactly one list"),
        ({"max_rejected": -1}, "max_rejected= is a number of rows"),
        ({"max_rejected": True}, "max_rejected= is a number of rows"),
        ({"max_rejected": 1.5}, "max_rejected= is a number of rows"),
        ({"max_rejected": "5"}, "max_rejected= is a number of rows"),
        ({"timeout": 0}, "timeout= is a number of seconds above 0"),
        ({"timeout": -1.0}, "timeout= is a number of seconds above 0"),
        ({"timeout": math.nan}, "timeout= is a number of seconds above 0"),
        ({"timeout": math.inf}, "timeout= is a number of seconds above 0"),
        ({"timeout": True}, "timeout= is a number of seconds above 0"),
        ({"timeout": "5"}, "timeout= is a number of seconds above 0"),
    ],
)
def test_keywords_that_are_wrong(how: Mapping[str, Any], problem: str) -> None:
    """A wrong keyword is refused in a sentence that names it."""
    with pytest.raises(UsageError) as caught:
        RunSpec.of(None, how)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("lists", "how", "problem"),
    [
        ({1: "remove", 2: "remove"}, {"via": "csv"}, "takes exactly one list"),
        ({1: "remove"}, {"via": "csv", "nulls": "unassign"}, "cannot unassign a property"),
    ],
)
def test_what_the_csv_way_cannot(lists: Any, how: Mapping[str, Any], problem: str) -> None:
    """The CSV way has one list, and no way to unassign a property."""
    with pytest.raises(UsageError) as caught:
        RunSpec.of(lists, how)
    assert problem in str(caught.value)


def test_the_exclusion_list_needs_no_list_on_the_csv_way() -> None:
    """People who are put on the exclusion list by CSV go onto no other list."""
    assert RunSpec.of(None, {"via": "csv"}, excluded=False).lists is None


def test_every_keyword_has_its_term() -> None:
    """Each keyword of an import is a term of its spec, except the names of the run."""
    terms = {f.name for f in attrs.fields(RunSpec)}
    assert set(RunKeywords.__annotations__) - terms == {"run_id", "partition"}


@pytest.mark.parametrize("offset", [-12, 0, 12])
def test_offsets_that_mailjet_knows(offset: int) -> None:
    """An offset is a whole number of hours from -12 to 12."""
    options = ImportOptions(datetime_format="dd/mm/yyyy", timezone_offset=offset, field_names=("email", "born"))
    assert options.timezone_offset == offset


@pytest.mark.parametrize("offset", [-13, 13, 1.5, True, "2", None])
def test_offsets_that_it_does_not_know(offset: Any) -> None:
    """Any other offset is refused."""
    with pytest.raises(UsageError) as caught:
        ImportOptions(datetime_format="dd/mm/yyyy", timezone_offset=offset, field_names=("email",))
    assert "timezone_offset is a whole number" in str(caught.value)


@pytest.mark.parametrize("names", ["email", "", (), []])
def test_field_names_are_a_list_of_names(names: Any) -> None:
    """One string, or none at all, is no list of names."""
    with pytest.raises(UsageError) as caught:
        ImportOptions(datetime_format="dd/mm/yyyy", field_names=names)
    assert "field_names are the names of the columns" in str(caught.value)


def test_actions_are_the_four_of_the_guides() -> None:
    """There are four actions, and two methods for the exclusion list."""
    assert sorted(Action) == ["addforce", "addnoforce", "remove", "unsub"]
    assert models.EXCLUSIONS == ("excludemarketing", "includemarketing")


def test_a_repair_forces_nobody() -> None:
    """Its terms are the run's own, but that addforce becomes addnoforce; nobody is taken off the exclusion list."""
    forced = RunSpec(lists=((1, Action.ADDFORCE), (2, Action.UNSUB)), nulls="unassign")
    assert repair_spec(forced) == attrs.evolve(forced, lists=((1, Action.ADDNOFORCE), (2, Action.UNSUB)), repairs=True)
    for spec in (attrs.evolve(forced, resend="always"), RunSpec(lists=None), RunSpec(lists=None, excluded=True)):
        assert repair_spec(spec) == attrs.evolve(spec, repairs=spec.resend != "always")
    with pytest.raises(UsageError, match="resend"):
        repair_spec(RunSpec(lists=None, excluded=False))
