"""Bodies, put together from rows that are encoded one by one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.frame import Frame, contacts_frame, csv_frame, list_contacts_frame
from mjbulk.terms import Action

LAW = settings(derandomize=True, deadline=None, max_examples=150)

ROWS = st.lists(st.binary(max_size=8), max_size=6)
FRAMES = st.sampled_from(
    [
        contacts_frame(None),
        contacts_frame([(42, Action.ADDNOFORCE), (7, Action.UNSUB)]),
        list_contacts_frame(Action.REMOVE),
        csv_frame(b"email\n"),
        csv_frame(b""),
    ]
)


@LAW
@given(FRAMES, ROWS)
def test_a_size_is_told_to_the_byte(frame: Frame, rows: list[bytes]) -> None:
    """What size() says before a body is put together is what body() has."""
    assert frame.size(len(rows), sum(map(len, rows))) == len(frame.body(rows))


@pytest.mark.parametrize(
    ("frame", "body"),
    [
        (contacts_frame(None), {"Contacts": [{"Email": "a"}, {"Email": "b"}]}),
        (contacts_frame([]), {"Contacts": [{"Email": "a"}, {"Email": "b"}]}),
        (
            contacts_frame([(42, Action.ADDNOFORCE), (7, Action.UNSUB)]),
            {
                "ContactsLists": [{"ListID": 42, "Action": "addnoforce"}, {"ListID": 7, "Action": "unsub"}],
                "Contacts": [{"Email": "a"}, {"Email": "b"}],
            },
        ),
        (
            list_contacts_frame(Action.ADDFORCE),
            {"Action": "addforce", "Contacts": [{"Email": "a"}, {"Email": "b"}]},
        ),
    ],
)
def test_a_frame_makes_json(frame: Frame, body: Any) -> None:
    """A frame around encoded rows is the body of its call."""
    assert json.loads(frame.body([b'{"Email":"a"}', b'{"Email":"b"}'])) == body


def test_a_csv_frame_is_a_header() -> None:
    """On the CSV way a body is a header and records that end their lines themselves."""
    assert csv_frame(b"email\n").body([b"a@b.de\n", b"c@d.de\n"]) == b"email\na@b.de\nc@d.de\n"
