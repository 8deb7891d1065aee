"""Replies as Mailjet sends them."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.mailjet import replies
from mjbulk.mailjet.replies import ErrorReply, JobReply, UnreadableReply
from mjbulk.resources import ContactInfo, ContactsList, Property, Subscription

LAW = settings(derandomize=True, deadline=None, max_examples=150)
ADDRESS = "somebody@example.org"


# Replies that name something


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        (b'{ "Count" : 1, "Data" : [{ "JobID" : 113869785 }], "Total" : 1 }', 113869785),
        (b'\xef\xbb\xbf{"Data":[{"JobID":1070309282}]}', 1070309282),
        (b'{"DATA":[{"jobid":" 35800 "}]}', 35800),
        (b'{"Data":[{"ID":7}]}', 7),
        (b'{"Data":[{"JobID":9223372036854775807}]}', 2**63 - 1),
    ],
)
def test_a_job_id_is_read(body: bytes, job_id: int) -> None:
    """A JobID is a number or its digits, under a key of any case."""
    assert replies.decode_job_id(body) == job_id


NO_IDS = ["0", "-1", '"0"', '""', "null", "true", "false", "3.9", "1e3", '"1e3"', '"３５"', "[]", "{}", '"abc"']
NO_IDS += ["9223372036854775808", "1" + "0" * 30, '"' + "9" * 25 + '"', "1" * 5000]


@pytest.mark.parametrize("value", NO_IDS, ids=lambda value: value[:24])
def test_what_is_no_id(value: str) -> None:
    """A value that is no JobID or DataID, or that no request could carry, makes the reply unreadable."""
    with pytest.raises(UnreadableReply):
        replies.decode_job_id(b'{"Data":[{"JobID":%s}]}' % value.encode())
    with pytest.raises(UnreadableReply):
        replies.decode_data_id(b'{"ID":%s}' % value.encode())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "no JSON"),
        (b"<html><body>ok</body></html>", "no JSON"),
        (b'{"Data":[{"JobID":1}', "no JSON"),
        (b'{"Data":[{"JobID":NaN}]}', "no JSON"),
        ('{"Data":[{"JobID":1}]}'.encode("utf-16"), "no JSON"),
        (b'{"Data":[{"JobID":"\xff"}]}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no list of data"),
        (b'"x"', "no list of data"),
        (b"7", "no list of data"),
        (b"null", "no list of data"),
        (b"{}", "no list of data"),
        (b'{"Data":null}', "no list of data"),
        (b'{"Data":{"JobID":1}}', "no list of data"),
        (b'{"Data":[1]}', "no list of data"),
        (b'{"Data":[]}', "the reply has no data"),
        (b'{"Data":[{"JobID":1},{"JobID":2}]}', "several things"),
        (b'{"Data":[{}]}', "names no job"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_replies_that_name_no_job(body: bytes, problem: str) -> None:
    """A reply that is cut, empty, of another shape or no JSON is unreadable, and the error says why."""
    with pytest.raises(UnreadableReply) as caught:
        replies.decode_job_id(body)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("body", "data_id"),
    [(b'{ "ID": 2 }', 2), (b'{"id":"98765432123456780"}', 98765432123456780), (b'\xef\xbb\xbf{"Id":3}', 3)],
)
def test_a_data_id_is_read(body: bytes, data_id: int) -> None:
    """The reply of an upload is an ID without an envelope."""
    assert replies.decode_data_id(body) == data_id


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'"2"', b"<html>", b'{"Data":[{"ID":2}]}'])
def test_replies_that_name_no_data(body: bytes) -> None:
    """Any other reply of an upload is unreadable."""
    with pytest.raises(UnreadableReply):
        replies.decode_data_id(body)


# The state of a job


def job_body(**fields: Any) -> bytes:
    return orjson.dumps({"Count": 1, "Data": [fields], "Total": 1})


def test_a_contact_job_is_read() -> None:
    """The reply of managemanycontacts, as the guides show it."""
    body = b"""{"Count":1,"Data":[{"ContactsLists":[{"ListID":987654321,"Action":"addnoforce"}],"Count":"1",
     "Error":"","ErrorFile":"","JobEnd":"2018-01-01T00:00:00","JobStart":"","Status":"Completed"}],"Total":1}"""
    assert replies.decode_job(body) == JobReply(status="Completed", count=1, job_end=datetime(2018, 1, 1, tzinfo=UTC))


def test_a_csvimport_is_read() -> None:
    """The reply of csvimport has more figures, and no error text."""
    body = job_body(
        AliveAt="2026-01-01T00:00:00Z", ContactsListID=42, Count=3, Current="2", DataID=98765433, Errcount=1,
        ErrTreshold=0, ID=7, ImportOptions="", JobEnd="", JobStart="2026-01-01T00:00:00+02:00", Method="addforce",
        RequestAt="", Status="Importing",
    )  # fmt: skip
    assert replies.decode_job(body) == JobReply(
        status="Importing",
        count=3,
        current=2,
        errcount=1,
        job_start=datetime(2025, 12, 31, 22, tzinfo=UTC),
        id=7,
        data_id=98765433,
    )


def test_a_batchjob_is_read() -> None:
    """A batchjob has Unix times, keys of its own case, and zeros for what is not set (mailjet-gem, 2021-06-28)."""
    body = b"""{ "Count" : 1, "Data" : [{ "AliveAt" : 1624877107, "APIKeyID" : 1643971, "Blocksize" : 0, "Count" : 1,
    "Current" : 0, "DataID" : 0, "Errcount" : 0, "ErrTreshold" : 0, "ID" : 356225669, "JobEnd" : 1624877107,
    "JobStart" : 1624877107, "JobType" : "Send newsletter", "Method" : "Unknown", "RefId" : 44098, "RequestAt" : 0,
    "Status" : "Completed", "Throttle" : 0 }], "Total" : 1 }"""
    assert replies.decode_job(body) == JobReply(
        status="Completed",
        count=1,
        current=0,
        errcount=0,
        job_start=datetime(2021, 6, 28, 10, 45, 7, tzinfo=UTC),
        job_end=datetime(2021, 6, 28, 10, 45, 7, tzinfo=UTC),
        id=356225669,
        data_id=0,
    )
    assert replies.decode_batchjob(body)["RefId"] == 44098


@pytest.mark.parametrize(
    "body",
    [b'{"Data":[],"DATA":[{"RefID":1}]}', b'\xef\xbb\xbf{"data":[{"RefID":1}]}', b'{"Data":7,"data":[{"RefID":1}]}'],
)
def test_a_batchjob_keeps_its_spelling(body: bytes) -> None:
    """A batchjob keeps Mailjet's spelling, also behind a byte order mark and with a key that occurs twice."""
    assert replies.decode_batchjob(body) == {"RefID": 1}


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("1", 1), (" 12 ", 12), ("+5", 5), (-1, -1), (0, 0), ("", None), (None, None), (True, None), (False, None),
        (3.9, None), (3.0, None), ("3.9", None), ("true", None), ("１２", None), ("1_0", None), ([1], None),
        ("9" * 30, None),
    ],
)  # fmt: skip
def test_a_number_is_never_made_up(value: Any, count: int | None) -> None:
    """A count is an int or its ASCII digits; anything else counts as missing, and the other fields are read."""
    assert replies.decode_job(job_body(Status="Completed", Count=value)) == JobReply(status="Completed", count=count)


@pytest.mark.parametrize(("value", "error"), [
    ("", ""), (None, ""), ([], ""), ({}, ""), (False, ""), (0, ""),
    ("property not defined", "property not defined"), (["x"], '["x"]'), ({"a": 1}, '{"a":1}'), (7, "7"),
])  # fmt: skip
def test_an_error_of_any_shape_is_a_text(value: Any, error: str) -> None:
    """Error and ErrorFile become texts, whatever their shape; a missing one becomes an empty text."""
    reply = replies.decode_job(job_body(Status="Error", Error=value, ErrorFile=value))
    assert (reply.error, reply.error_file) == (error, error)


def test_an_error_of_many_levels() -> None:
    """An error that is nested deeper than JSON can be written is still an error."""
    deep = b"[" * 300 + b"]" * 300
    reply = replies.decode_job(b'{"Data":[{"Status":"Error","Error":' + deep + b"}]}")
    assert reply.error == "(too many levels to be read)"
    assert replies.decode_error(b'{"ErrorInfo":' + deep + b"}").text == reply.error


@pytest.mark.parametrize("status", ["Completed", "In Progress", " completed ", "", "Saving"])
def test_a_status_is_kept(status: str) -> None:
    """A status is Mailjet's own word, also one that is not known yet."""
    assert replies.decode_job(job_body(Status=status)).status == status


@pytest.mark.parametrize("status", [7, True, ["Completed"], {"x": 1}, 1.5])
def test_a_status_is_a_text(status: Any) -> None:
    """A reply whose status is not a text is unreadable."""
    with pytest.raises(UnreadableReply) as caught:
        replies.decode_job(job_body(Status=status))
    assert "where a text should be" in str(caught.value)


def test_no_status_is_an_empty_one() -> None:
    """A status that is missing or null is empty: the job has not ended."""
    assert replies.decode_job(job_body()) == JobReply()
    assert replies.decode_job(job_body(Status=None)) == JobReply()


def test_a_repr_of_a_reply_has_no_text_of_the_server() -> None:
    """What Mailjet wrote is not in the repr of a reply."""
    shown = repr(replies.decode_job(job_body(Status="Error", Error=ADDRESS, ErrorFile=f"https://x/{ADDRESS}", Count=3)))
    assert "somebody" not in shown
    assert "count=3" in shown
    refusal = replies.decode_error(orjson.dumps({"ErrorMessage": f"MJ08 {ADDRESS}"}))
    assert repr(refusal) == "ErrorReply(form='object', code='MJ08')"


NO_TIMES: list[Any] = ["", 0, "0", None, True, 1.5, [], {}, "yesterday", "2018-13-01T00:00:00", 10**15, -(10**18)]
NO_TIMES += ["0001-01-01T00:00:00Z", "9" * 19, "２０１８-01-01"]


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2020-11-06T13:38:49Z", datetime(2020, 11, 6, 13, 38, 49, tzinfo=UTC)),
        ("2018-01-01T00:00:00", datetime(2018, 1, 1, tzinfo=UTC)),
        (
            "2018-01-01T00:00:00.123+02:00",
            datetime(2018, 1, 1, microsecond=123000, tzinfo=timezone(timedelta(hours=2))),
        ),
        (1624877107, datetime(2021, 6, 28, 10, 45, 7, tzinfo=UTC)),
        ("1624877107", datetime(2021, 6, 28, 10, 45, 7, tzinfo=UTC)),
        *((value, None) for value in NO_TIMES),
    ],
)
def test_times(value: Any, time: datetime | None) -> None:
    """A time is ISO with or without a zone, or a Unix number; anything else counts as missing."""
    assert replies.decode_time(value) == time


# Pages


def test_lists_are_read() -> None:
    """A page of lists, as recorded, with numbers and booleans as strings as well."""
    body = b"""{ "Count" : 2, "Data" : [{ "Address" : "twkgdlfxg", "CreatedAt" : "2020-11-06T13:38:49Z", "ID" : 38778,
    "IsDeleted" : false, "Name" : "Test List", "SubscriberCount" : 0 },
    {"Address":"x","CreatedAt":"","ID":"2","IsDeleted":"True","Name":null}], "Total" : 2 }"""
    assert replies.decode_lists(body) == [
        ContactsList(
            id=38778,
            name="Test List",
            address="twkgdlfxg",
            subscribers=0,
            created=datetime(2020, 11, 6, 13, 38, 49, tzinfo=UTC),
        ),
        ContactsList(id=2, name="", address="x", deleted=True),
    ]
    assert replies.decode_lists(b'{ "Count" : 0, "Data" : [], "Total" : 0 }') == []


def test_properties_are_read() -> None:
    """A page of properties, in the recorded spelling and in the documented one."""
    body = b"""{"Data":[{ "Datatype" : "str", "ID" : 67391, "Name" : "firstname", "NameSpace" : "static" },
    {"DataType":"int","ID":1,"Name":"age"}]}"""
    assert replies.decode_properties(body) == [
        Property(id=67391, name="firstname", datatype="str"),
        Property(id=1, name="age", datatype="int"),
    ]


def test_a_contact_is_read() -> None:
    """A contact, as recorded; an empty body is the answer to a change that changed nothing."""
    body = b"""{"Data":[{ "CreatedAt" : "2021-06-20T09:20:44Z", "Email" : "hidden@email.com", "ID" : 254509966,
    "IsExcludedFromCampaigns" : false, "LastActivityAt" : "", "Name" : "" }]}"""
    assert replies.decode_contact(body) == ContactInfo(
        id=254509966, email="hidden@email.com", excluded=False, created=datetime(2021, 6, 20, 9, 20, 44, tzinfo=UTC)
    )
    assert replies.decode_contact(b"") is None


def test_subscriptions_are_read() -> None:
    """A page of getcontactslists, as recorded; a missing field is None."""
    body = b"""{"Data":[{ "IsActive" : true, "IsUnsub" : "false", "ListID" : 32964,
    "SubscribedAt" : "2020-10-22T08:04:45Z" }, {"ListID":1,"IsActive":"","IsUnsub":"perhaps"}]}"""
    assert replies.decode_subscriptions(body) == [
        Subscription(
            list_id=32964,
            active=True,
            unsubscribed=False,
            subscribed_at=datetime(2020, 10, 22, 8, 4, 45, tzinfo=UTC),
        ),
        Subscription(list_id=1),
    ]


@pytest.mark.parametrize(
    ("decode", "row", "problem"),
    [
        (replies.decode_lists, {"Name": "a", "Address": "b"}, "a field is missing"),
        (replies.decode_lists, {"ID": "", "Name": "a", "Address": "b"}, "a number is missing"),
        (replies.decode_lists, {"ID": True, "Name": "a", "Address": "b"}, "where a number should be"),
        (replies.decode_lists, {"ID": 1, "Name": 7, "Address": "b"}, "where a text should be"),
        (replies.decode_lists, {"ID": 1, "Name": "a", "Address": "b", "IsDeleted": 7}, "where true or false should be"),
        (replies.decode_lists, {"ID": 1, "Name": "a", "Address": "b", "IsDeleted": "no"}, "where true or false"),
        (replies.decode_properties, {"ID": 1, "Name": "a"}, "a field is missing"),
        (replies.decode_subscriptions, {"ListID": 1.5}, "where a number should be"),
        (replies.decode_contact, {"ID": 1}, "a field is missing"),
        (replies.decode_contact, {"ID": 1, "Email": None, "IsExcludedFromCampaigns": 3}, None),
    ],
)
def test_what_a_record_needs_is_strict(decode: Callable[[bytes], Any], row: Any, problem: str | None) -> None:
    """A record without a field that it needs is unreadable; an optional field may have any shape."""
    if problem is None:
        assert decode(job_body(**row)).excluded is None
        return
    with pytest.raises(UnreadableReply) as caught:
        decode(job_body(**row))
    assert problem in str(caught.value)
    assert str(row.get("Name")) != str(caught.value)


# Refusals


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (b"", ErrorReply(form="nothing", code=None, text="")),
        (
            b'{ "ErrorInfo" : "", "ErrorMessage" : "Object not found", "StatusCode" : 404 }',
            ErrorReply(form="object", code=None, text="Object not found"),
        ),
        (
            b"""{"ErrorInfo":"MJ08 Property Name is invalid: MJ04 Value must have at least length 1",
            "ErrorMessage":"Object properties invalid","StatusCode":400}""",
            ErrorReply(
                form="object",
                code="MJ08",
                text="Object properties invalid: MJ08 Property Name is invalid: MJ04 Value must have at least length 1",
            ),
        ),
        (
            b'{"ErrorInfo":{"Email":"MJ08 Property email is invalid","Action":"Invalid action: "}}',
            ErrorReply(
                form="object",
                code="MJ08",
                text='{"Email":"MJ08 Property email is invalid","Action":"Invalid action: "}',
            ),
        ),
        (
            b"<html><body><h1>413 Request Entity Too Large</h1></body></html>",
            ErrorReply(form="page", code=None, text="413 Request Entity Too Large"),
        ),
        (b" \n", ErrorReply(form="nothing", code=None, text="")),
        (b"{}", ErrorReply(form="object", code=None, text="{}")),
        (b"[1, 2]", ErrorReply(form="page", code=None, text="[1, 2]")),
        (b"\xff\xfe", ErrorReply(form="page", code=None, text="��")),
        (b'\xef\xbb\xbf{"ErrorMessage":"x"}', ErrorReply(form="object", code=None, text="x")),
        ('{"ErrorMessage":"MJ٠٨ XMJ08 MJ081"}'.encode(), ErrorReply(form="object", code=None, text="MJ٠٨ XMJ08 MJ081")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_a_refusal_says(body: bytes, reply: ErrorReply) -> None:
    """A refusal is read whatever its shape; a code is MJ and two digits."""
    assert replies.decode_error(body) == reply


@pytest.mark.parametrize("key", ["ErrorInfo", "ErrorMessage"])
def test_what_is_said_of_single_lists(key: str) -> None:
    """Errors of single lists are found in ErrorInfo, as recorded, and in ErrorMessage, as documented."""
    items = [{"ListID": "123", "Action": "addnoforce", "Error": "invalid or deleted"}, {"ListID": 5}, {"x": 1}, 7]
    reply = replies.decode_error(orjson.dumps({key: {"contactslists": items}}))
    assert reply.lists == {123: "invalid or deleted", 5: ""}
    assert replies.decode_error(orjson.dumps({key: {"ContactsLists": 7}})).lists == {}


def test_a_long_refusal_is_cut() -> None:
    """The text of a refusal is bounded, and only the beginning of an HTML page is read."""
    assert len(replies.decode_error(orjson.dumps({"ErrorMessage": "x" * 100_000})).text) == 65536
    assert len(replies.decode_error(b"<" * 100_000).text) == 4096


# Anything at all

SCALARS = [None, True, False, 0, 1, -1, 3.9, 1e300, 10**30, float("nan"), "", "0", "7", "Completed", "x\u2028é", "true"]
VALUES = st.sampled_from([*SCALARS, [], {}, [1], {"x": 1}, [{"ListID": 1}, 2], {"ContactsLists": [{"ListID": "x"}]}])
KEYS = ["ID", "JobID", "Status", "Count", "Errcount", "Error", "ErrorFile", "JobEnd", "CreatedAt", "ListID", "IsUnsub"]
KEYS += ["Name", "Address", "Email", "Datatype", "IsDeleted", "ErrorInfo", "ErrorMessage", "DATA", "data"]
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=12)
ENVELOPES = st.lists(OBJECTS, max_size=2).map(lambda rows: {"Data": rows})
BODIES = st.one_of(
    st.binary(max_size=40), st.one_of(VALUES, OBJECTS, ENVELOPES).map(lambda value: json.dumps(value).encode())
)
DECODERS: list[Callable[[bytes], Any]] = [
    replies.decode_job_id,
    replies.decode_data_id,
    replies.decode_job,
    replies.decode_lists,
    replies.decode_properties,
    replies.decode_contact,
    replies.decode_subscriptions,
    replies.decode_batchjob,
]


@LAW
@given(body=BODIES)
def test_a_body_is_read_or_unreadable(body: bytes) -> None:
    """Any bytes are a reply, or they are unreadable: nothing else is raised. Reading a refusal raises nothing."""
    for decode in DECODERS:
        with suppress(UnreadableReply):
            decode(body)
    assert isinstance(replies.decode_error(body), ErrorReply)


@LAW
@given(row=OBJECTS)
def test_figures_are_numbers_that_were_told(row: dict[str, Any]) -> None:
    """A figure of a job is an int, and the reply has it as a number or in digits."""
    try:
        reply = replies.decode_job(json.dumps({"Data": [row]}).encode())
    except UnreadableReply:
        return
    for name, figure in (("Count", reply.count), ("Errcount", reply.errcount)):
        value: Any = row.get(name)
        told = isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdigit()
        assert figure == (int(value) if told and abs(int(value)) < 2**63 else -1 if value == -1 else None)
        assert not isinstance(figure, bool)


def test_contact_data_are_names_and_values() -> None:
    """Values of a contact are found by their names; a reply without them is unreadable."""
    row = {"ContactID": 1, "Data": [{"Name": "city", "Value": "Graz"}]}
    assert replies.decode_contact_data(orjson.dumps({"Count": 1, "Data": [row], "Total": 1})) == {"city": "Graz"}
    for broken in ({"ContactID": 1, "Data": "none"}, {"ContactID": 1}):
        with pytest.raises(replies.UnreadableReply):
            replies.decode_contact_data(orjson.dumps({"Count": 1, "Data": [broken], "Total": 1}))
