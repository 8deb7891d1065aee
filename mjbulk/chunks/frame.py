"""The bytes of a body before, between and after its encoded rows.

Rows are encoded one by one and joined later, so that the size of a body is known to the byte before it is built.
"""

from collections.abc import Sequence

import orjson
from attrs import frozen

from mjbulk.discreet import Hidden
from mjbulk.terms import Action


@frozen
class Frame:
    """The bytes of a body before, between and after its encoded rows."""

    head: bytes
    between: bytes
    tail: bytes

    def size(self, rows: int, row_bytes: int) -> int:
        """Give the size in bytes of a body with this number of rows."""
        return len(self.head) + len(self.tail) + row_bytes + max(rows - 1, 0) * len(self.between)

    def body(self, rows: Sequence[bytes]) -> Hidden:
        """Join encoded rows into a body."""
        pieces = list(rows) or [b""]  # joined at once: a large body is not in memory more often than it has to be
        pieces[0] = self.head + pieces[0]
        pieces[-1] += self.tail
        return Hidden(self.between.join(pieces))


def contacts_frame(lists: Sequence[tuple[int, Action]] | None) -> Frame:
    """Make the frame for contact/managemanycontacts (FACTS 1.1)."""
    actions = [{"ListID": list_id, "Action": action.value} for list_id, action in lists or ()]
    head = b'{"ContactsLists":' + orjson.dumps(actions) + b',"Contacts":[' if actions else b'{"Contacts":['
    return Frame(head, b",", b"]}")


def list_contacts_frame(action: Action) -> Frame:
    """Make the frame for contactslist/{ID}/managemanycontacts (FACTS 1.1)."""
    return Frame(b'{"Action":' + orjson.dumps(action.value) + b',"Contacts":[', b",", b"]}")


def csv_frame(header: bytes) -> Frame:
    """Make the frame for an upload: a header, or nothing if the import's options name the fields. Records bring their
    own line ends.
    """
    return Frame(header, b"", b"")
