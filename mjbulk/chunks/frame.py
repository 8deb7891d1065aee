"""What stands around the encoded rows of a body.

Rows are encoded one by one, and put together later, so that the size of a chunk is known to the byte.
"""

from collections.abc import Sequence

import orjson
from attrs import frozen

from mjbulk.models import Action


@frozen
class Frame:
    """What stands around the encoded rows of a chunk."""

    head: bytes
    between: bytes
    tail: bytes

    def size(self, rows: int, row_bytes: int) -> int:
        """How many bytes a body of so many rows has."""
        return len(self.head) + len(self.tail) + row_bytes + max(rows - 1, 0) * len(self.between)

    def body(self, rows: Sequence[bytes]) -> bytes:
        """Put a body together."""
        return b"".join((self.head, self.between.join(rows), self.tail))


def contacts_frame(lists: Sequence[tuple[int, Action]] | None) -> Frame:
    """The body of contact/managemanycontacts."""
    actions = [{"ListID": list_id, "Action": action.value} for list_id, action in lists or ()]
    head = b'{"ContactsLists":' + orjson.dumps(actions) + b',"Contacts":[' if actions else b'{"Contacts":['
    return Frame(head, b",", b"]}")


def list_contacts_frame(action: Action) -> Frame:
    """The body of contactslist/{ID}/managemanycontacts."""
    return Frame(b'{"Action":' + orjson.dumps(action.value) + b',"Contacts":[', b",", b"]}")


def csv_frame(header: bytes) -> Frame:
    """The body of an upload: a header, or none where the import's options name the fields; each record has its line
    end.
    """
    return Frame(header, b"", b"")
