"""The records that users hold."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.errors import JobFailed, UsageError
from mjbulk.models import (
    COUNT_NAMES,
    Contact,
    Counts,
    FewRejections,
    ImportOptions,
    Job,
    JobRef,
    Progress,
    Rejection,
    Rejections,
    Unsettled,
)
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.resources import ContactInfo, ContactsList, Property, Subscription
from mjbulk.terms import Action, RunSpec

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
    rejected = FewRejections([Rejection(row=None, message="")] * rejections)
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
            rejections=FewRejections([Rejection(row=None, message=ADDRESS)]),
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
        "Rejection(row=7, candidates=(), field='age', code='unspecified', match='exact', origin='mailjet')"
    )
    assert "rejections=<0>" in repr(Job(ref=JobRef("contact", 1), status="Completed"))


# Counts


def test_counts_are_plain_data() -> None:
    """as_dict has the six counts, in their order; that of a Progress has all of it."""
    counts: dict[str, Any] = {"rows": 21, "accepted": 1, "rejected": 2, "superseded": 3, "unknown": 4, "not_sent": 5}
    assert list(COUNT_NAMES) == list(counts)
    assert Counts(**counts).as_dict() == counts
    progress = Progress(**counts, jobs={"Completed": 1}, requests=9, stalled=(JobRef("contact", 7),))
    assert json.loads(json.dumps(progress.as_dict())) == {
        **counts, "jobs": {"Completed": 1}, "requests": 9, "rate": 0.0, "eta": None, "held": 0, "waiting_for": None,
        "stalled": ["contact:7"],
    }  # fmt: skip
    assert {*progress.as_dict()} == {f.name for f in attrs.fields(Progress)}
    assert progress.settled == 15


@pytest.mark.parametrize(
    "record",
    [
        Contact(ADDRESS, name="S", properties={"x": 1}),
        JobRef("contactslist", 1, 2),
        Rejection(row=1, email=ADDRESS, message="x", data={"email": ADDRESS}),
        Unsettled(rows=(range(1, 3),), cause="x", job=JobRef("contact", 1)),
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


# Dates in a csvimport


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


class Given(Rejections):
    """Rejections as a caller may have them."""

    def __init__(self, rejections: list[Rejection]) -> None:
        self.them = rejections

    def __iter__(self) -> Iterator[Rejection]:
        return iter(self.them)

    def __len__(self) -> int:
        return len(self.them)


@pytest.mark.parametrize("kind", [FewRejections, Given, RejectionStore])
def test_pages_of_rejections(kind: Any) -> None:
    """A page has the rejections after a number of them, in their order."""
    them = [Rejection(row=number, message="no") for number in range(1, 3001)]
    made = kind(them)
    for after, limit in ((0, 100), (0, 1), (999, 2), (1000, 1001), (2999, 5), (3000, 5), (4000, 5)):
        assert list(made.page(after=after, limit=limit)) == them[after : after + limit]
    assert list(made.page()) == them[:100]
